//! What a configuration comes to, in a few lines for `check-config`.

use std::fmt;
use std::net::SocketAddr;

use super::types::{Config, Mode};

/// A configuration in a few lines, without secrets; see [`Config::summary`].
pub struct Summary<'a>(&'a Config);

impl Config {
    /// The few lines that tell an operator whether this is what they meant.
    pub fn summary(&self) -> Summary<'_> {
        Summary(self)
    }
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = self.0;
        let place = |address: Option<SocketAddr>| address.map_or("nowhere".to_owned(), |a| a.to_string());
        writeln!(f, "data       {}", config.data_dir.display())?;
        writeln!(f, "node       {}", config.node.name)?;
        let (rtmp, http, admin) = (place(config.rtmp.listen), place(config.http.listen), config.admin.listen);
        let (srt, webrtc) = (place(config.srt.listen), place(config.webrtc.listen));
        writeln!(f, "listen     RTMP {rtmp}, SRT {srt}, WebRTC {webrtc}, HTTP {http}, admin {admin}")?;
        let admission = &config.admission;
        match admission.mode {
            Mode::Webhook => writeln!(f, "admission  by the control plane at {}", admission.url)?,
            Mode::Static => writeln!(f, "admission  by {} keys of this file", admission.keys.len())?,
            Mode::Open => writeln!(f, "admission  open: whoever reaches {rtmp} may publish")?,
        }
        let hls = &config.hls;
        writeln!(
            f,
            "packaging  parts of {} ms, segments of {} ms, {} in a playlist",
            hls.part_ms, hls.segment_ms, hls.window_segments
        )?;
        for (name, profile) in &config.profiles {
            let source = profile.passthrough.then_some("source");
            let rungs = source.into_iter().chain(profile.rungs.iter().map(|rung| rung.name.as_str()));
            writeln!(f, "profile    {name}: {}", rungs.collect::<Vec<_>>().join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::parse;

    #[test]
    fn a_summary_says_what_counts_and_no_secret() {
        let text = "[node]\nname = \"n1\"\n[rtmp]\nlisten = \"\"\n[admission]\nmode = \"static\"\n\
                    keys = [{ key = \"hush-hush\", stream = \"ada\" }]\n";
        let told = parse(text, "f").expect("valid").summary().to_string();
        for line in [
            "RTMP nowhere, SRT 0.0.0.0:8890, WebRTC 0.0.0.0:8189, HTTP 0.0.0.0:8080",
            "by 1 keys",
            "default: source, 720p, 480p",
            "source: source",
        ] {
            assert!(told.contains(line), "{line} is not in\n{told}");
        }
        assert!(!told.contains("hush"), "{told}");
    }
}
