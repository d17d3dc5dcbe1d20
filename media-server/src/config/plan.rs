//! What a change of configuration takes, and what it means for each live stream. The first start is the change from
//! nothing.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;

use super::ladder::Encode;
use super::types::Config;
use super::webrtc::IceServer;

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Log in another way.
    SetLog,
    /// Open, move or (None) close the RTMP listener. Connections stay.
    BindRtmp(Option<SocketAddr>),
    /// Present another certificate, or none.
    SetTls,
    /// Open, move or (None) close the RTMPS listener. Connections stay.
    BindRtmps(Option<SocketAddr>),
    /// Open, move or (None) close the SRT port. Callers that publish stay.
    BindSrt(Option<SocketAddr>),
    /// Open, move or (None) close the WebRTC port. Sessions stay.
    BindWebrtc(Option<SocketAddr>),
    /// Tell WebRTC clients other addresses.
    SetWebrtc,
    /// Open, move or (None) close the public HTTP listener. Connections stay.
    BindHttp(Option<SocketAddr>),
    /// Open, move or (None) close the public HTTPS listener. Connections stay.
    BindHttps(Option<SocketAddr>),
    /// Open, move or (None) close the same port for HTTP/3. Connections stay.
    BindHttp3(Option<SocketAddr>),
    /// Open or move the admin listener.
    BindAdmin(SocketAddr),
    /// Ask another way, or with another secret, who may publish.
    SetAdmission,
    /// Take other rules for the next publish: ladders, packaging, limits.
    SetRules,
    /// Answer other origins.
    SetCors,
    /// Start and stop what is fetched.
    SetPulls,
    /// Take pictures of streams at another pace or size.
    SetThumbnails,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = |f: &mut fmt::Formatter<'_>, what, address: &Option<SocketAddr>| match address {
            Some(address) => write!(f, "listen for {what} on {address}"),
            None => write!(f, "stop listening for {what}"),
        };
        match self {
            Self::SetLog => f.write_str("set the log format"),
            Self::BindRtmp(address) => place(f, "RTMP", address),
            Self::SetTls => f.write_str("set the certificate"),
            Self::BindRtmps(address) => place(f, "RTMPS", address),
            Self::BindSrt(address) => place(f, "SRT", address),
            Self::BindWebrtc(address) => place(f, "WebRTC", address),
            Self::SetWebrtc => f.write_str("set what WebRTC clients are told"),
            Self::BindHttp(address) => place(f, "HTTP", address),
            Self::BindHttps(address) => place(f, "HTTPS", address),
            Self::BindHttp3(address) => place(f, "HTTP/3", address),
            Self::BindAdmin(address) => write!(f, "listen for admin on {address}"),
            Self::SetAdmission => f.write_str("set admission"),
            Self::SetRules => f.write_str("set the rules of the next publish"),
            Self::SetPulls => f.write_str("start and stop sources"),
            Self::SetThumbnails => f.write_str("set thumbnails"),
            Self::SetCors => f.write_str("set CORS origins"),
        }
    }
}

/// What a change means for one live stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing of it concerns this stream.
    Untouched,
    /// In force for this stream and its viewers at once.
    AppliedLive,
    /// This stream goes on as it began; its next publish follows the new file.
    AtNextPublish,
    /// It cannot be done while the daemon runs: the change is refused.
    WouldRestart,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Untouched => "untouched",
            Self::AppliedLive => "applied live",
            Self::AtNextPublish => "at next publish",
            Self::WouldRestart => "would restart",
        })
    }
}

/// A live stream, as far as a plan has to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveStream {
    /// Public name.
    pub name: String,
    /// Name of its ladder profile.
    pub profile: String,
}

/// The way from one configuration to another.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// In this order.
    pub steps: Vec<Step>,
    /// Keys whose change needs a restart.
    pub restart: Vec<&'static str>,
    /// Profiles that were changed or removed.
    profiles: BTreeSet<String>,
    packaging: bool,
    cors: bool,
}

/// The plan from `old` (nothing at the first start) to `new`.
pub fn diff(old: Option<&Config>, new: &Config) -> Plan {
    let mut plan = Plan::default();
    let changed = |same: fn(&Config, &Config) -> bool| old.is_none_or(|old| !same(old, new));
    if let Some(old) = old {
        let fixed: [(&'static str, bool); 9] = [
            ("data_dir", old.data_dir != new.data_dir),
            ("node.name", old.node != new.node),
            ("http.max_blocked_requests", old.http.max_blocked_requests != new.http.max_blocked_requests),
            ("http.max_connections", old.http.max_connections != new.http.max_connections),
            ("rtmp.max_connections", old.rtmp.max_connections != new.rtmp.max_connections),
            ("srt.max_connections", old.srt.max_connections != new.srt.max_connections),
            ("transcode.encoder", old.transcode.encoder != new.transcode.encoder),
            ("transcode.shortage", old.transcode.shortage != new.transcode.shortage),
            ("webrtc.max_sessions", old.webrtc.max_sessions != new.webrtc.max_sessions),
        ];
        plan.restart = fixed.into_iter().filter_map(|(key, moved)| moved.then_some(key)).collect();
        let names = old.profiles.keys().chain(new.profiles.keys());
        plan.profiles = names.filter(|n| old.profiles.get(*n) != new.profiles.get(*n)).cloned().collect();
        plan.packaging = old.hls != new.hls
            || old.restream != new.restream
            || old.pull.idle_ms != new.pull.idle_ms
            || old.recorder != new.recorder
            || old.slate != new.slate
            || old.publish != new.publish
            || transcode_rules(old) != transcode_rules(new)
            || rtmp_rules(old) != rtmp_rules(new)
            || srt_rules(old) != srt_rules(new);
        plan.cors = old.http.cors_origins != new.http.cors_origins;
    }
    if changed(|a, b| a.log == b.log) {
        plan.steps.push(Step::SetLog);
    }
    if changed(|a, b| a.admission == b.admission && a.profile_hook == b.profile_hook) {
        plan.steps.push(Step::SetAdmission);
    }
    if changed(|a, b| {
        a.profiles == b.profiles
            && a.hls == b.hls
            && a.restream == b.restream
            && a.pull.idle_ms == b.pull.idle_ms
            && a.recorder == b.recorder
            && a.slate == b.slate
            && a.publish == b.publish
            && transcode_rules(a) == transcode_rules(b)
            && rtmp_rules(a) == rtmp_rules(b)
            && srt_rules(a) == srt_rules(b)
    }) {
        plan.steps.push(Step::SetRules);
    }
    if changed(|a, b| a.http.cors_origins == b.http.cors_origins) {
        plan.steps.push(Step::SetCors);
    }
    if changed(|a, b| a.pull.sources == b.pull.sources) {
        plan.steps.push(Step::SetPulls);
    }
    if changed(|a, b| a.admin.listen == b.admin.listen) {
        plan.steps.push(Step::BindAdmin(new.admin.listen));
    }
    if changed(|a, b| a.http.listen == b.http.listen) {
        plan.steps.push(Step::BindHttp(new.http.listen));
    }
    if changed(|a, b| a.rtmp.listen == b.rtmp.listen) {
        plan.steps.push(Step::BindRtmp(new.rtmp.listen));
    }
    if changed(|a, b| a.srt.listen == b.srt.listen) {
        plan.steps.push(Step::BindSrt(new.srt.listen));
    }
    if changed(|a, b| a.webrtc.listen == b.webrtc.listen) {
        plan.steps.push(Step::BindWebrtc(new.webrtc.listen));
    }
    if changed(|a, b| a.thumbnails == b.thumbnails) {
        plan.steps.push(Step::SetThumbnails);
    }
    if changed(|a, b| webrtc_terms(a) == webrtc_terms(b)) {
        plan.steps.push(Step::SetWebrtc);
    }
    if changed(|a, b| a.tls == b.tls) {
        plan.steps.push(Step::SetTls);
    }
    let encrypted = |config: &Config| config.rtmp.tls_listen.filter(|_| config.tls.is_set());
    if changed(|a, b| a.rtmp.tls_listen == b.rtmp.tls_listen && a.tls.is_set() == b.tls.is_set()) {
        plan.steps.push(Step::BindRtmps(encrypted(new)));
    }
    let secure = new.http.tls_listen.filter(|_| new.tls.is_set());
    if changed(same_https) {
        plan.steps.push(Step::BindHttps(secure));
    }
    if changed(|a, b| same_https(a, b) && a.http.http3 == b.http.http3) {
        plan.steps.push(Step::BindHttp3(secure.filter(|_| new.http.http3)));
    }
    plan
}

fn same_https(a: &Config, b: &Config) -> bool {
    a.http.tls_listen == b.http.tls_listen && a.tls.is_set() == b.tls.is_set()
}

fn rtmp_rules(config: &Config) -> (u64, usize, usize) {
    (config.rtmp.idle_timeout_ms, config.rtmp.max_message_bytes, config.rtmp.max_pending_per_ip)
}

fn transcode_rules(config: &Config) -> (&str, Encode, u64) {
    let rules = &config.transcode;
    (&rules.preset, rules.encode, rules.park_after_ms)
}

fn srt_rules(config: &Config) -> (u64, &str) {
    (config.srt.latency_ms, &config.srt.passphrase.0)
}

fn webrtc_terms(config: &Config) -> (&[String], bool, &[IceServer], bool) {
    let terms = &config.webrtc;
    (&terms.advertise, terms.own_addresses, &terms.ice_servers, terms.encode)
}

impl Plan {
    /// Nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.restart.is_empty()
    }

    /// What it means for a live stream, and why.
    pub fn verdict(&self, stream: &LiveStream) -> (Verdict, String) {
        if !self.restart.is_empty() {
            let keys = self.restart.join(", ");
            return (Verdict::WouldRestart, format!("{keys} can only change by a restart of the daemon"));
        }
        if self.profiles.contains(&stream.profile) {
            return (Verdict::AtNextPublish, format!("its profile \"{}\" changed", stream.profile));
        }
        if self.packaging {
            return (Verdict::AtNextPublish, "packaging, encoder or ingest settings changed".into());
        }
        if self.cors {
            return (Verdict::AppliedLive, "other origins may play it".into());
        }
        (Verdict::Untouched, "nothing of the change concerns it".into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::load::parse;
    use super::*;

    fn config(text: &str) -> Config {
        parse(text, "test").expect("a valid configuration")
    }

    fn stream(profile: &str) -> LiveStream {
        LiveStream { name: "a".into(), profile: profile.into() }
    }

    #[test]
    fn the_first_start_is_a_change_from_nothing() {
        let plan = diff(None, &Config::default());
        assert_eq!(plan.steps.len(), 16);
        assert!(plan.restart.is_empty());
    }

    #[test]
    fn a_changed_ladder_waits_for_the_next_publish_of_its_own_streams() {
        let new =
            config("[profiles.default]\nrungs = [{ name = \"x\", height = 180, video_bitrate = \"200k\" }]");
        let plan = diff(Some(&Config::default()), &new);
        assert_eq!(plan.steps, [Step::SetRules]);
        assert_eq!(plan.verdict(&stream("default")).0, Verdict::AtNextPublish);
        assert_eq!(plan.verdict(&stream("source")).0, Verdict::Untouched);
    }

    #[test]
    fn a_moved_listener_touches_no_stream() {
        let plan = diff(Some(&Config::default()), &config("[rtmp]\nlisten = \"127.0.0.1:1999\""));
        assert_eq!(plan.steps, [Step::BindRtmp(Some(SocketAddr::from(([127, 0, 0, 1], 1999))))]);
        assert_eq!(plan.verdict(&stream("default")).0, Verdict::Untouched);
    }

    #[test]
    fn another_data_folder_would_restart() {
        let plan = diff(Some(&Config::default()), &config("data_dir = \"/elsewhere\""));
        assert_eq!(plan.verdict(&stream("source")).0, Verdict::WouldRestart);
        assert_eq!(plan.restart, ["data_dir"]);
    }

    #[test]
    fn origins_apply_live() {
        let plan = diff(Some(&Config::default()), &config("[http]\ncors_origins = [\"https://a.example\"]"));
        assert_eq!(plan.steps, [Step::SetCors]);
        assert_eq!(plan.verdict(&stream("default")).0, Verdict::AppliedLive);
    }

    /// Every key but the ladders', with another value than its default's.
    fn every_other_value() -> Vec<(String, Config)> {
        let defaults = toml::Table::try_from(Config::default()).expect("serializes");
        let keys = defaults.iter().flat_map(|(section, value)| match value {
            toml::Value::Table(_) if section == "profiles" => Vec::new(),
            toml::Value::Table(inner) => {
                inner.iter().map(|(k, v)| (section.clone(), k.clone(), v.clone())).collect()
            }
            other => vec![(String::new(), section.clone(), other.clone())],
        });
        let other = |section: &str, key: &str, value: &toml::Value| match (section, key) {
            (_, "listen" | "tls_listen") => "\"127.0.0.9:7001\"".to_owned(),
            (_, "certificates") => "[{ cert_file = \"other\" }]".to_owned(),
            (_, "keys") => "[{ key = \"k\", stream = \"s\" }]".to_owned(),
            (_, "passphrase") => "\"correct horse battery\"".to_owned(),
            (_, "secret") => "\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"".to_owned(),
            (_, "mode") => "\"open\"".to_owned(),
            (_, "format") => "\"json\"".to_owned(),
            (_, "unanswered" | "refused" | "unusable") => "\"source-only\"".to_owned(),
            (_, "policy") => "\"takeover\"".to_owned(),
            (_, "preset") => "\"fast\"".to_owned(),
            (_, "profile") => "\"source\"".to_owned(),
            ("transcode", "encode") => "\"on-demand\"".to_owned(),
            (_, "shortage") => "\"passthrough\"".to_owned(),
            (_, "encoder") => "\"openh264enc\"".to_owned(),
            (_, "url") => "\"http://other.example/\"".to_owned(),
            (_, "targets") => "[{ stream = \"*\", url = \"rtmp://h/live/key\" }]".to_owned(),
            (_, "sources") => "[{ stream = \"s\", url = \"udp://0.0.0.0:5000\" }]".to_owned(),
            (_, "max_bitrate") => "\"20M\"".to_owned(),
            ("webrtc", "advertise") => "[\"203.0.113.7\"]".to_owned(),
            ("webrtc", "ice_servers") => "[{ url = \"stun:stun.example.org\" }]".to_owned(),
            (_, "cors_origins") => "[\"https://a.example\"]".to_owned(),
            _ => match value {
                toml::Value::Boolean(yes) => (!yes).to_string(),
                toml::Value::Integer(number) => (number + 1).to_string(),
                _ => "\"other\"".to_owned(),
            },
        };
        keys.map(|(section, key, value)| {
            let header = if section.is_empty() { String::new() } else { format!("[{section}]\n") };
            let text = format!("{header}{key} = {}\n", other(&section, &key, &value));
            (format!("{section}.{key}"), config(&text))
        })
        .collect()
    }

    #[test]
    fn no_key_is_forgotten_and_no_stream_is_told_wrong() {
        for (key, new) in every_other_value() {
            let old = Config::default();
            assert_ne!(new, old, "{key}");
            let plan = diff(Some(&old), &new);
            assert!(!plan.is_empty(), "{key} changes nothing");
            let (verdict, reason) = plan.verdict(&stream("default"));
            let untouched =
                ["admission.", "profile_hook.", "log.", "tls.", "pull.sources", "thumbnails.", "webrtc."]
                    .iter()
                    .any(|it| key.starts_with(it))
                    && key != "webrtc.max_sessions"
                    || key.ends_with("listen")
                    || key == "http.http3";
            assert_eq!(verdict == Verdict::Untouched, untouched, "{key}: {reason}");
            let there_and_back = diff(Some(&new), &old);
            assert_eq!(there_and_back.steps.len(), plan.steps.len(), "{key}");
        }
    }

    proptest! {
        #[test]
        fn what_is_the_same_needs_nothing(part in 100u64..600, window in 4usize..50, port in 1u16..) {
            let text = format!("[hls]\npart_ms = {part}\nwindow_segments = {window}\n[rtmp]\nlisten = \"127.0.0.1:{port}\"\n[http]\nlisten = \"\"\n[admin]\nlisten = \"127.0.0.2:9600\"");
            let one = config(&text);
            prop_assert!(diff(Some(&one), &one.clone()).is_empty());
        }
    }
}
