//! The multivariant playlist and the rules on it alone.

use std::collections::BTreeSet;

use url::Url;

use super::{attributes::Attributes, findings::Findings};

/// One `EXT-X-STREAM-INF`.
#[derive(Clone, Debug)]
pub struct Variant {
    /// Its attributes.
    pub attributes: Attributes,
    /// Absolute address of its media playlist.
    pub uri: Url,
}

/// One `EXT-X-MEDIA`.
#[derive(Clone, Debug)]
pub struct Rendition {
    /// Its attributes.
    pub attributes: Attributes,
    /// Absolute address of its media playlist, where it has one of its own.
    pub uri: Option<Url>,
}

/// A multivariant playlist.
#[derive(Clone, Debug, Default)]
pub struct Multivariant {
    /// As it came.
    pub text: String,
    /// In the order of the file.
    pub variants: Vec<Variant>,
    /// In the order of the file.
    pub renditions: Vec<Rendition>,
}

impl Multivariant {
    /// Reads the text that came from `base`.
    pub fn parse(text: &str, base: &Url) -> Self {
        let mut list = Self { text: text.to_owned(), ..Self::default() };
        let mut pending = None;
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if let Some(value) = line.strip_prefix("#EXT-X-STREAM-INF:") {
                pending = Some(Attributes::parse(value));
            } else if let Some(value) = line.strip_prefix("#EXT-X-MEDIA:") {
                let attributes = Attributes::parse(value);
                let uri = attributes.get("URI").and_then(|uri| base.join(uri).ok());
                list.renditions.push(Rendition { attributes, uri });
            } else if !line.starts_with('#')
                && let (Some(attributes), Ok(uri)) = (pending.take(), base.join(line))
            {
                list.variants.push(Variant { attributes, uri });
            }
        }
        list
    }

    /// The media playlists of an audio group.
    pub fn audio_of(&self, variant: &Variant) -> Vec<&Url> {
        let Some(group) = variant.attributes.get("AUDIO") else { return Vec::new() };
        self.renditions
            .iter()
            .filter(|r| {
                r.attributes.get("TYPE") == Some("AUDIO") && r.attributes.get("GROUP-ID") == Some(group)
            })
            .filter_map(|rendition| rendition.uri.as_ref())
            .collect()
    }

    /// Every media playlist, once, variants first.
    pub fn playlists(&self) -> Vec<Url> {
        let mut seen = BTreeSet::new();
        let audio = self.renditions.iter().filter(|r| r.attributes.get("TYPE") == Some("AUDIO"));
        self.variants
            .iter()
            .map(|variant| variant.uri.clone())
            .chain(audio.filter_map(|rendition| rendition.uri.clone()))
            .filter(|uri| seen.insert(uri.clone()))
            .collect()
    }

    /// The rules that this file alone can break: R1, R61 to R64, R66 to R68, and the attributes of R43 to R45.
    pub fn judge(&self, findings: &mut Findings) {
        findings.hold(1, self.text.starts_with("#EXTM3U"), || "multivariant: no #EXTM3U".into());
        for variant in &self.variants {
            let says = |name| variant.attributes.has(name);
            let path = variant.uri.path();
            findings.hold(43, says("BANDWIDTH"), || format!("{path}: no BANDWIDTH"));
            findings.hold(44, says("AVERAGE-BANDWIDTH"), || format!("{path}: no AVERAGE-BANDWIDTH"));
            findings.hold(45, says("CODECS"), || format!("{path}: no CODECS"));
            let is_video = variant.attributes.get("CODECS").is_none_or(|codecs| !audio_only(codecs));
            if is_video {
                let both = says("RESOLUTION") && says("FRAME-RATE");
                findings.hold(68, both, || format!("{path}: RESOLUTION or FRAME-RATE is missing"));
                findings.hold(64, says("CLOSED-CAPTIONS"), || format!("{path}: no CLOSED-CAPTIONS"));
            }
            if let Some(group) = variant.attributes.get("AUDIO") {
                let there = self.renditions.iter().any(|r| r.attributes.get("GROUP-ID") == Some(group));
                findings.hold(63, there, || format!("{path}: AUDIO group {group} is not defined"));
            }
        }
        self.judge_renditions(findings);
        let scored: BTreeSet<bool> = self.variants.iter().map(|v| v.attributes.has("SCORE")).collect();
        findings.hold(66, scored.len() <= 1, || "SCORE on some variants only".into());
        let trick_play = self.text.contains("#EXT-X-I-FRAME-STREAM-INF");
        findings.hold(67, trick_play, || "no EXT-X-I-FRAME-STREAM-INF".into());
        self.judge_session_tags(findings);
    }

    fn judge_renditions(&self, findings: &mut Findings) {
        let mut defaults = BTreeSet::new();
        for rendition in &self.renditions {
            let a = &rendition.attributes;
            let complete = ["TYPE", "GROUP-ID", "NAME"].iter().all(|name| a.has(name));
            findings.hold(63, complete, || format!("EXT-X-MEDIA without TYPE, GROUP-ID or NAME: {a:?}"));
            if a.yes("DEFAULT") {
                let group = (a.get("TYPE").map(str::to_owned), a.get("GROUP-ID").map(str::to_owned));
                findings.hold(63, defaults.insert(group.clone()), || format!("two DEFAULT in {group:?}"));
            }
        }
    }

    fn judge_session_tags(&self, findings: &mut Findings) {
        let mut seen = BTreeSet::new();
        for value in self.text.lines().filter_map(|line| line.strip_prefix("#EXT-X-SESSION-DATA:")) {
            let a = Attributes::parse(value);
            let whole = a.has("DATA-ID") && a.has("VALUE") != a.has("URI");
            let key = (a.get("DATA-ID").map(str::to_owned), a.get("LANGUAGE").map(str::to_owned));
            findings.hold(62, whole && seen.insert(key), || value.to_owned());
        }
        let steering: Vec<&str> =
            self.text.lines().filter_map(|line| line.strip_prefix("#EXT-X-CONTENT-STEERING:")).collect();
        if !steering.is_empty() {
            let sound = steering.len() == 1 && Attributes::parse(steering[0]).has("SERVER-URI");
            findings.hold(61, sound, || steering.join(" | "));
        }
    }
}

fn audio_only(codecs: &str) -> bool {
    let audio = ["mp4a", "Opus", "opus", "ac-3", "ec-3", "fLaC"];
    codecs.split(',').all(|codec| audio.iter().any(|prefix| codec.trim().starts_with(prefix)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "#EXTM3U\n#EXT-X-INDEPENDENT-SEGMENTS\n\
        #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"aac\",NAME=\"main\",DEFAULT=YES,URI=\"audio/index.m3u8\"\n\
        #EXT-X-STREAM-INF:BANDWIDTH=1000,AVERAGE-BANDWIDTH=900,CODECS=\"avc1.64001f,mp4a.40.2\",\
        RESOLUTION=640x360,FRAME-RATE=30.000,AUDIO=\"aac\",CLOSED-CAPTIONS=NONE\n360p/index.m3u8\n";

    fn judged(text: &str) -> Findings {
        let mut findings = Findings::default();
        Multivariant::parse(text, &Url::parse("http://h/live/x/index.m3u8").unwrap()).judge(&mut findings);
        findings
    }

    #[test]
    fn a_sound_playlist_breaks_only_the_trick_play_rule() {
        use super::super::rule::Level;
        let findings = judged(GOOD);
        assert!(findings.broken(Level::Must).is_empty(), "{findings}");
        assert_eq!(findings.broken(Level::Should), BTreeSet::from([67]), "{findings}");
        let list = Multivariant::parse(GOOD, &Url::parse("http://h/live/x/index.m3u8").unwrap());
        assert_eq!(list.playlists().len(), 2);
        assert_eq!(list.audio_of(&list.variants[0])[0].path(), "/live/x/audio/index.m3u8");
    }

    #[test]
    fn each_fault_is_named() {
        for (from, to, rule) in [
            ("#EXTM3U", "EXTM3U", 1),
            ("AVERAGE-BANDWIDTH=900,", "", 44),
            ("AUDIO=\"aac\",CLOSED", "AUDIO=\"other\",CLOSED", 63),
            ("NAME=\"main\",", "", 63),
            ("CLOSED-CAPTIONS=NONE", "PROGRAM-ID=1", 64),
            ("FRAME-RATE=30.000,", "", 68),
            ("CODECS", "CODEX", 45),
            ("#EXT-X-INDEPENDENT-SEGMENTS", "#EXT-X-SESSION-DATA:DATA-ID=\"a\"", 62),
            ("#EXT-X-INDEPENDENT-SEGMENTS", "#EXT-X-CONTENT-STEERING:PATHWAY-ID=\"a\"", 61),
        ] {
            assert!(GOOD.contains(from));
            let findings = judged(&GOOD.replace(from, to));
            assert!(findings.is_broken(rule), "{from} -> {to}: R{rule} was not found\n{findings}");
        }
    }
}
