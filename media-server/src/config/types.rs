//! The keys of `media-server.toml`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize, de};

use super::hook::ProfileHook;
use super::ladder::{Profile, Thumbnails, Transcode, default_profiles};
use super::webrtc::Webrtc;

/// The whole file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where everything that must outlive the process is kept.
    pub data_dir: PathBuf,
    /// Who this machine is.
    pub node: Node,
    /// How to log.
    pub log: Log,
    /// Certificate of the encrypted ports.
    pub tls: Tls,
    /// RTMP ingest.
    pub rtmp: Rtmp,
    /// SRT ingest.
    pub srt: Srt,
    /// WebRTC: WHIP and WHEP.
    pub webrtc: Webrtc,
    /// LL-HLS for viewers.
    pub http: Http,
    /// The operators' API.
    pub admin: Admin,
    /// Who may publish.
    pub admission: Admission,
    /// Who is asked which ladder a source is to have.
    pub profile_hook: ProfileHook,
    /// What publishers may do to each other.
    pub publish: Publish,
    /// The flight recorder.
    pub recorder: Recorder,
    /// Pictures of streams.
    pub thumbnails: Thumbnails,
    /// What is shown while no publisher sends.
    pub slate: Slate,
    /// Sending streams on to other servers.
    pub restream: Restream,
    /// Streams that are fetched from elsewhere.
    pub pull: Pull,
    /// Packaging.
    pub hls: Hls,
    /// Encoding.
    pub transcode: Transcode,
    /// Ladders by name.
    pub profiles: BTreeMap<String, Profile>,
}

/// `[node]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Node {
    /// Name in events and questions to the control plane; the machine's host name where absent.
    pub name: String,
}

/// `[log]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `text` or `json`.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// `[tls]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// PEM file of the certificate and its chain; no encrypted port where empty.
    pub cert_file: PathBuf,
    /// PEM file of its private key; where empty, the key is in `cert_file` too.
    pub key_file: PathBuf,
    /// Further ones, for clients that ask for their names.
    pub certificates: Vec<CertificateFiles>,
}

/// One of `tls.certificates`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateFiles {
    /// As `tls.cert_file`.
    pub cert_file: PathBuf,
    /// As `tls.key_file`.
    #[serde(default)]
    pub key_file: PathBuf,
}

/// `[rtmp]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rtmp {
    /// Where publishers connect; none where absent.
    #[serde(deserialize_with = "listen")]
    pub listen: Option<SocketAddr>,
    /// Where publishers connect by TLS (RTMPS), once `[tls]` names a certificate; none where absent.
    #[serde(deserialize_with = "listen")]
    pub tls_listen: Option<SocketAddr>,
    /// Connections at a time.
    pub max_connections: usize,
    /// Connections of one address at a time that have not published.
    pub max_pending_per_ip: usize,
    /// A connection that has not published, or a publisher that has sent no media, for so long is closed.
    pub idle_timeout_ms: u64,
    /// Longest audio or video message.
    pub max_message_bytes: usize,
}

/// `[srt]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Srt {
    /// Where publishers call (UDP); none where absent.
    #[serde(deserialize_with = "listen")]
    pub listen: Option<SocketAddr>,
    /// What is held back at least, to get lost packets again; a caller may ask for more.
    pub latency_ms: u64,
    /// What every caller must encrypt with, 10 to 79 characters; with `""` none may.
    pub passphrase: Secret,
    /// Callers at a time.
    pub max_connections: usize,
}

/// `[http]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Where players connect; none where absent.
    #[serde(deserialize_with = "listen")]
    pub listen: Option<SocketAddr>,
    /// Where players connect by TLS, once `[tls]` names a certificate; none where absent.
    #[serde(deserialize_with = "listen")]
    pub tls_listen: Option<SocketAddr>,
    /// HTTP/3 on the same port, by UDP.
    pub http3: bool,
    /// Connections at a time.
    pub max_connections: usize,
    /// Requests that wait for media at a time.
    pub max_blocked_requests: usize,
    /// Origins whose pages may play, `*` for all.
    pub cors_origins: Vec<String>,
}

/// `[admin]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Where operators and the control plane connect.
    pub listen: SocketAddr,
}

/// `[admission]`
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admission {
    /// `webhook`, `static` or `open`.
    pub mode: Mode,
    /// The control plane's endpoint for publishes and events.
    pub url: String,
    /// How long the control plane may take.
    pub timeout_ms: u64,
    /// The secret that signs requests; `""` reads `secret_file`.
    pub secret: Secret,
    /// Where the secret is kept; made where absent. `""` means `webhook.secret` in `data_dir`.
    pub secret_file: PathBuf,
    /// Ladder profile of streams in mode `open`.
    pub profile: String,
    /// The keys of mode `static`.
    pub keys: Vec<Key>,
}

/// Who decides about a publish.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The control plane.
    #[default]
    Webhook,
    /// The keys in this file.
    Static,
    /// Nobody: the key is the stream's name.
    Open,
}

/// `[[admission.keys]]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// The secret that the broadcaster enters.
    pub key: Secret,
    /// The public name of the stream.
    pub stream: String,
    /// Its ladder profile.
    #[serde(default = "default_profile")]
    pub profile: String,
    /// What its SRT callers must encrypt with; `[srt] passphrase` where it is empty.
    #[serde(default)]
    pub passphrase: Secret,
}

/// Text that is never shown.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_empty() { "\"\"" } else { "[hidden]" })
    }
}

/// `[publish]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Publish {
    /// What a newcomer meets whose key is live.
    pub policy: Policy,
    /// What a publisher may send, audio and video, where admission says nothing of it.
    pub max_bitrate: Bitrate,
}

/// `[recorder]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recorder {
    /// Seconds of each publisher that are kept; 0 records nothing.
    pub seconds: u64,
    /// Memory that they may take, for each publisher.
    pub max_bytes: usize,
    /// Repairs within ten seconds that have them saved; 0 for never.
    pub storm: u64,
}

/// `[slate]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Slate {
    /// A picture or a video; the last picture is held where empty.
    pub file: PathBuf,
    /// It is shown once nobody has sent for so long.
    pub after_ms: u64,
}

/// `[pull]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pull {
    /// Which stream comes from where.
    pub sources: Vec<PullSource>,
    /// One that is fetched on demand is let go when nobody has wanted it for so long.
    pub idle_ms: u64,
}

/// One of `pull.sources`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PullSource {
    /// The stream's public name.
    pub stream: String,
    /// `srt://HOST:PORT?streamid=…`, `rtmp://HOST/APP/KEY`, `udp://ADDRESS:PORT`, `https://…m3u8`
    /// or `file:///…`.
    pub url: Secret,
    /// Its ladder profile.
    #[serde(default = "default_profile")]
    pub profile: String,
    /// When it is fetched.
    #[serde(default)]
    pub start: PullStart,
}

/// When a source is fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PullStart {
    /// All the time.
    #[default]
    Always,
    /// While somebody wants to see it.
    OnDemand,
}

/// `[restream]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Restream {
    /// Which stream goes where.
    pub targets: Vec<PushTarget>,
    /// PEM file of authorities that are trusted besides the public ones.
    pub ca_file: PathBuf,
}

/// One of `restream.targets`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PushTarget {
    /// The public name of the stream, `*` for every one.
    pub stream: String,
    /// `rtmp://HOST/APP/KEY`, `rtmps://`, or `srt://HOST:PORT?streamid=…`.
    pub url: Secret,
}

/// What a newcomer meets whose key is live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// It is refused.
    #[default]
    Reject,
    /// It replaces the publisher.
    Takeover,
}

/// `[hls]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hls {
    /// Nominal part length.
    pub part_ms: u64,
    /// Segment length aimed at: the GOP nearest to it.
    pub segment_ms: u64,
    /// Segments in a playlist.
    pub window_segments: usize,
    /// How long a publisher may be gone and come back into the same playlists.
    pub reconnect_window_ms: u64,
    /// A publisher silent for so long gives way to a newcomer with its key.
    pub silence_ms: u64,
    /// Streams at a time.
    pub max_streams: usize,
}

/// Bits a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Bitrate(pub u32);

impl<'de> Deserialize<'de> for Bitrate {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u64),
            Text(String),
        }
        let bits = match Written::deserialize(deserializer)? {
            Written::Number(bits) => Some(bits as f64),
            Written::Text(text) => {
                let (digits, factor) = match text.trim().char_indices().last() {
                    Some((at, 'k' | 'K')) => (text.trim().get(..at), 1e3),
                    Some((at, 'm' | 'M')) => (text.trim().get(..at), 1e6),
                    _ => (Some(text.trim()), 1.0),
                };
                digits.and_then(|d| d.trim().parse::<f64>().ok()).map(|n| n * factor)
            }
        };
        match bits {
            Some(bits) if bits.is_finite() && (0.0..=f64::from(u32::MAX)).contains(&bits) => {
                Ok(Self(bits.round() as u32))
            }
            _ => Err(de::Error::custom("a bitrate is bits a second, e.g. 2800000, \"2800k\" or \"2.8M\"")),
        }
    }
}

fn default_profile() -> String {
    "default".into()
}

/// An address, or `""` for none.
pub(super) fn listen<'de, D: de::Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|_| de::Error::custom("an address is IP:PORT, e.g. \"0.0.0.0:1935\"; \"\" for none"))
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("./data"),
            node: Node::default(),
            log: Log::default(),
            tls: Tls::default(),
            rtmp: Rtmp::default(),
            srt: Srt::default(),
            webrtc: Webrtc::default(),
            http: Http::default(),
            admin: Admin::default(),
            admission: Admission::default(),
            profile_hook: ProfileHook::default(),
            publish: Publish::default(),
            recorder: Recorder::default(),
            thumbnails: Thumbnails::default(),
            slate: Slate::default(),
            restream: Restream::default(),
            pull: Pull::default(),
            hls: Hls::default(),
            transcode: Transcode::default(),
            profiles: default_profiles(),
        }
    }
}

impl Default for Node {
    fn default() -> Self {
        Self { name: host_name().to_owned() }
    }
}

/// The machine's name as one word, asked once: a machine that is renamed while it runs is the same node.
fn host_name() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let full = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let word = full.trim().split('.').next().unwrap_or_default().chars().take(64);
        let plain: String = word.map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        if plain.is_empty() { "origin-1".into() } else { plain }
    })
}

impl Tls {
    /// There is a certificate.
    pub fn is_set(&self) -> bool {
        !self.cert_file.as_os_str().is_empty() || !self.certificates.is_empty()
    }
}

impl Default for Rtmp {
    fn default() -> Self {
        Self {
            listen: Some(SocketAddr::from(([0, 0, 0, 0], 1935))),
            tls_listen: Some(SocketAddr::from(([0, 0, 0, 0], 1936))),
            max_connections: 1000,
            max_pending_per_ip: 64,
            idle_timeout_ms: 10_000,
            max_message_bytes: 8 << 20,
        }
    }
}

impl Default for Pull {
    fn default() -> Self {
        Self { sources: Vec::new(), idle_ms: 30_000 }
    }
}

impl Default for Srt {
    fn default() -> Self {
        Self {
            listen: Some(SocketAddr::from(([0, 0, 0, 0], 8890))),
            latency_ms: 120,
            passphrase: Secret::default(),
            max_connections: 1000,
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: Some(SocketAddr::from(([0, 0, 0, 0], 8080))),
            tls_listen: Some(SocketAddr::from(([0, 0, 0, 0], 8443))),
            http3: true,
            max_connections: 10_000,
            max_blocked_requests: 10_000,
            cors_origins: vec!["*".into()],
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 9600)) }
    }
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            mode: Mode::Webhook,
            url: "http://127.0.0.1:8000/internal/hooks/publish".into(),
            timeout_ms: 3000,
            secret: Secret::default(),
            secret_file: PathBuf::new(),
            profile: default_profile(),
            keys: Vec::new(),
        }
    }
}

impl Default for Hls {
    fn default() -> Self {
        Self {
            part_ms: 333,
            segment_ms: 2000,
            window_segments: 10,
            reconnect_window_ms: 20_000,
            silence_ms: 1500,
            max_streams: 500,
        }
    }
}

impl Default for Publish {
    fn default() -> Self {
        Self { policy: Policy::default(), max_bitrate: Bitrate(100_000_000) }
    }
}

impl Default for Recorder {
    fn default() -> Self {
        Self { seconds: 30, max_bytes: 32 << 20, storm: 100 }
    }
}

impl Default for Slate {
    fn default() -> Self {
        Self { file: PathBuf::new(), after_ms: 2000 }
    }
}
