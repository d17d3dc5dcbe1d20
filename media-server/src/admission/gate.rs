//! Answers publish requests, as the configuration says.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use time::OffsetDateTime;

use super::call::{CallError, Caller, Endpoint};
use super::decision::{self, Decision, Grant, Hidden};
use super::name::is_stream_name;
use super::profile::{HookSettings, ProfileHook};
use super::request::PublishRequest;

/// Who decides.
#[derive(Clone, Debug)]
pub enum Mode {
    /// Nobody: the key is the stream's name.
    Open {
        /// Ladder profile of every stream.
        profile: String,
    },
    /// A list.
    Static(Vec<StaticKey>),
    /// The control plane.
    Webhook(Endpoint),
}

/// A key of mode `static`.
#[derive(Clone)]
pub struct StaticKey {
    /// The secret that the broadcaster enters.
    pub key: String,
    /// The stream's public name.
    pub stream: String,
    /// Its ladder profile.
    pub profile: String,
    /// What its transport must be encrypted with, if that has passphrases.
    pub passphrase: Option<Hidden>,
}

impl std::fmt::Debug for StaticKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StaticKey").field("stream", &self.stream).finish_non_exhaustive()
    }
}

/// What admission goes by.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who decides.
    pub mode: Mode,
    /// This machine's name in questions.
    pub node: String,
    /// Who is asked about ladders, if anybody is.
    pub profile_hook: Option<HookSettings>,
}

/// Why admission cannot be as its settings say.
#[derive(Debug, thiserror::Error)]
pub enum AdmissionError {
    /// A key of mode `static` names what cannot be a stream.
    #[error("stream name {0:?} is not 1 to 64 of A-Z a-z 0-9 - _")]
    Stream(String),
    /// The TLS library is of no use.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// Decides about publishes. Clones share settings and connections.
#[derive(Clone)]
pub struct Admission {
    settings: Arc<ArcSwap<Inner>>,
    caller: Caller,
}

struct Inner {
    mode: InnerMode,
    node: String,
    profile_hook: Option<HookSettings>,
}

enum InnerMode {
    Open { profile: String },
    Static(Vec<(Fingerprint, Grant)>),
    Webhook(Endpoint),
}

/// Fingerprints have one length, so that comparing them says nothing about a key's own.
type Fingerprint = [u8; 32];

fn fingerprint(key: &str) -> Fingerprint {
    Sha256::digest(key.as_bytes()).into()
}

impl Admission {
    /// Ready to decide.
    pub fn new(settings: Settings) -> Result<Self, AdmissionError> {
        Ok(Self { settings: Arc::new(ArcSwap::from_pointee(settings.take()?)), caller: Caller::new()? })
    }

    /// Decides by other settings from now on; a question on its way is answered by the old ones.
    pub fn set(&self, settings: Settings) -> Result<(), AdmissionError> {
        self.settings.store(Arc::new(settings.take()?));
        Ok(())
    }

    /// May this client publish? Takes no longer than the endpoint's timeout. Cancel safe: a decision that nobody
    /// waits for changes nothing here.
    pub async fn publish(&self, request: PublishRequest) -> Decision {
        let settings = self.settings.load_full();
        match &settings.mode {
            InnerMode::Open { profile } if is_stream_name(&request.key) => {
                Decision::Allow(Grant { stream: request.key, profile: profile.clone(), ..Grant::default() })
            }
            InnerMode::Open { .. } => Decision::Deny {
                reason: "bad-name".into(),
                message: "A stream name has 1 to 64 letters, digits, '-' or '_'.".into(),
            },
            InnerMode::Static(keys) => by_list(keys, &request.key),
            InnerMode::Webhook(endpoint) => match self.ask(endpoint, &settings.node, &request).await {
                Ok(decision) => decision,
                Err(error) => {
                    tell(endpoint, &error);
                    Decision::Unreachable { error }
                }
            },
        }
    }

    /// Who is asked which ladder a source is to have, by the settings of this moment.
    pub fn profile_hook(&self) -> Option<ProfileHook> {
        let inner = self.settings.load();
        let settings = inner.profile_hook.clone()?;
        Some(ProfileHook { settings, node: inner.node.clone(), caller: self.caller.clone() })
    }

    async fn ask(
        &self,
        endpoint: &Endpoint,
        node: &str,
        request: &PublishRequest,
    ) -> Result<Decision, CallError> {
        let body = Bytes::from(request.body(node, OffsetDateTime::now_utc()));
        let id = format!("msg_{}", uuid::Uuid::now_v7().simple());
        let answer = self.caller.post(endpoint, &id, body).await?;
        Ok(decision::read(&answer)?)
    }
}

fn tell(endpoint: &Endpoint, error: &CallError) {
    let (url, remedy) = (endpoint.url.as_str(), error.remedy());
    if error.is_unreachable() {
        tracing::error!(url, %error, remedy, "control plane did not answer: publish denied");
    } else {
        tracing::error!(url, %error, remedy, "control plane gave no answer that counts: publish denied");
    }
}

/// Compares with every key of the list, so that the time taken says nothing about any of them.
fn by_list(keys: &[(Fingerprint, Grant)], key: &str) -> Decision {
    let presented = fingerprint(key);
    let mut found = None;
    for (kept, grant) in keys {
        if bool::from(kept.ct_eq(&presented)) {
            found = Some(grant);
        }
    }
    match found {
        Some(grant) => Decision::Allow(grant.clone()),
        None => {
            Decision::Deny { reason: "unknown-key".into(), message: "This stream key is not known.".into() }
        }
    }
}

impl Settings {
    fn take(self) -> Result<Inner, AdmissionError> {
        let mode = match self.mode {
            Mode::Open { profile } => InnerMode::Open { profile },
            Mode::Webhook(endpoint) => InnerMode::Webhook(endpoint),
            Mode::Static(keys) => {
                let listed = keys.into_iter().map(|StaticKey { key, stream, profile, passphrase }| {
                    if !is_stream_name(&stream) {
                        return Err(AdmissionError::Stream(stream));
                    }
                    Ok((fingerprint(&key), Grant { stream, profile, passphrase, ..Grant::default() }))
                });
                InnerMode::Static(listed.collect::<Result<_, _>>()?)
            }
        };
        Ok(Inner { mode, node: self.node, profile_hook: self.profile_hook })
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::control::{ControlPlane, Reply, endpoint, secret};
    use super::super::event::tests::client;
    use super::*;

    fn request(key: &str) -> PublishRequest {
        PublishRequest {
            session: "ses_1".into(),
            protocol: "rtmp",
            key: key.into(),
            app: "live".into(),
            query: vec![("a".into(), "b".into())],
            client: client(),
        }
    }

    fn gate(mode: Mode) -> Admission {
        Admission::new(Settings { mode, node: "origin-1".into(), profile_hook: None }).unwrap()
    }

    fn allow() -> Reply {
        Reply::Answer(200, include_bytes!("../../../fixtures/webhook/publish-allow.json").to_vec())
    }

    /// The stream that was allowed, or the reason.
    async fn outcome(gate: &Admission, key: &str) -> Result<String, String> {
        match gate.publish(request(key)).await {
            Decision::Allow(grant) => Ok(grant.stream),
            Decision::Deny { reason, .. } => Err(reason),
            Decision::Unreachable { error } => Err(format!("unreachable: {error}")),
        }
    }

    #[tokio::test]
    async fn open_takes_the_key_as_the_name_where_it_can_be_one() {
        let gate = gate(Mode::Open { profile: "source".into() });
        let Decision::Allow(grant) = gate.publish(request("ada")).await else { panic!("denied") };
        assert_eq!((grant.stream.as_str(), grant.profile.as_str()), ("ada", "source"));
        assert_eq!(outcome(&gate, "../ada").await, Err("bad-name".into()));
        assert_eq!(outcome(&gate, "").await, Err("bad-name".into()));
    }

    #[tokio::test]
    async fn a_list_knows_its_keys_and_no_other() {
        let key = |key: &str, stream: &str| StaticKey {
            key: key.into(),
            stream: stream.into(),
            profile: "default".into(),
            passphrase: None,
        };
        let gate = gate(Mode::Static(vec![key("k-one", "ada"), key("k-two", "bob")]));
        assert_eq!(outcome(&gate, "k-two").await, Ok("bob".into()));
        for wrong in ["", "k-on", "k-one ", "ada", "K-ONE"] {
            assert_eq!(outcome(&gate, wrong).await, Err("unknown-key".into()));
        }
        let bad =
            Settings { mode: Mode::Static(vec![key("k", "a b")]), node: String::new(), profile_hook: None };
        assert!(gate.set(bad).is_err());
        assert_eq!(outcome(&gate, "k-one").await, Ok("ada".into()), "the old settings stay");
    }

    #[tokio::test]
    async fn the_control_plane_is_asked_with_a_signature_and_its_answer_counts() {
        let deny = include_bytes!("../../../fixtures/webhook/publish-deny.json").to_vec();
        let mut control = ControlPlane::start([allow(), Reply::Answer(200, deny)]).await;
        let gate = gate(Mode::Webhook(control.endpoint()));
        assert_eq!(outcome(&gate, "good").await, Ok("ada".into()));
        assert_eq!(outcome(&gate, "bad").await, Err("unknown-key".into()));
        let calls = control.calls(2).await;
        let (id, timestamp) = (calls[0].header("webhook-id"), calls[0].header("webhook-timestamp"));
        assert_eq!(calls[0].header("webhook-signature"), secret().sign(id, timestamp, &calls[0].body));
        assert_ne!(id, calls[1].header("webhook-id"));
        let asked = calls[0].json();
        assert_eq!(asked["key"], "good");
        assert_eq!(asked["node"], "origin-1");
        assert_eq!(asked["query"]["a"], "b");
    }

    #[tokio::test]
    async fn anything_but_a_good_answer_denies() {
        let ok = |body: &[u8]| Reply::Answer(200, body.to_vec());
        let allowed = b"{\"allow\":true,\"stream\":\"ada\"}";
        let mut huge = b"{\"allow\":true,\"stream\":\"ada\",\"x\":\"".to_vec();
        huge.extend(vec![b'x'; 100_000]);
        huge.extend(b"\"}");
        for reply in [
            ok(b""),
            ok(b"yes"),
            ok(b"{\"allow\":true}"),
            ok(&huge),
            Reply::Answer(500, allowed.to_vec()),
            Reply::Answer(401, allowed.to_vec()),
            Reply::Answer(302, allowed.to_vec()),
            Reply::Cut,
        ] {
            let control = ControlPlane::start([reply.clone()]).await;
            let gate = gate(Mode::Webhook(control.endpoint()));
            let outcome = outcome(&gate, "k").await;
            assert!(outcome.as_ref().is_err_and(|e| e.starts_with("unreachable")), "{reply:?}: {outcome:?}");
        }
    }

    #[tokio::test]
    async fn a_control_plane_that_hangs_is_left_after_the_timeout() {
        let control = ControlPlane::start([Reply::Hang]).await;
        let gate = gate(Mode::Webhook(endpoint(control.address, Duration::from_millis(300))));
        let asked = Instant::now();
        assert_eq!(outcome(&gate, "k").await, Err("unreachable: no answer within 300ms".into()));
        assert!(asked.elapsed() < Duration::from_secs(3));
    }

    #[tokio::test]
    async fn a_control_plane_that_comes_up_meanwhile_is_asked_a_second_time() {
        let port = ControlPlane::start([]).await.address;
        let gate = gate(Mode::Webhook(endpoint(port, Duration::from_secs(5))));
        assert!(outcome(&gate, "k").await.is_err_and(|e| e.contains("no connection")), "nobody is there");
        // The first try finds nobody; 200 ms later somebody is.
        let (answer, control) = tokio::join!(outcome(&gate, "k"), async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            ControlPlane::start_at(port, [allow()]).await
        });
        assert_eq!(answer, Ok("ada".into()));
        drop(control);
    }

    #[tokio::test]
    async fn other_settings_count_for_the_next_question() {
        let gate = gate(Mode::Open { profile: "default".into() });
        assert_eq!(outcome(&gate.clone(), "ada").await, Ok("ada".into()));
        let other = Settings { mode: Mode::Static(Vec::new()), node: String::new(), profile_hook: None };
        gate.set(other).unwrap();
        assert_eq!(outcome(&gate, "ada").await, Err("unknown-key".into()));
    }
}
