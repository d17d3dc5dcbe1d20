//! Who may publish, and telling the control plane what came of it.
//!
//! `gate` answers publish requests: by the control plane (a signed webhook), by keys in the configuration, or open to
//! all. `profile` asks the control plane which ladder a source is to have. `outbox` keeps events on disk until the control plane has acknowledged them. Nothing here knows a protocol.

mod call;
#[cfg(test)]
mod control;
mod decision;
mod event;
mod gate;
mod name;
mod outbox;
mod profile;
mod profile_answer;
mod request;
mod secret;
mod text;

pub use call::{CallError, Endpoint};
pub use decision::{Decision, Grant, Hidden, Limits, Malformed, Playback, Push};
pub use event::{EventData, FindingData, HealthData, StoppedData, ThumbnailData};
pub use gate::{Admission, AdmissionError, Mode, Settings, StaticKey};
pub use name::is_stream_name;
pub use outbox::{Outbox, SharedEndpoint};
pub use profile::{HookSettings, NoProfile, ProfileHook, ProfileRequest, TrackData};
pub use profile_answer::{ProfileAnswer, UnusableAnswer};
pub use request::{Client, PublishRequest};
pub use secret::{SecretError, Secrets, load_or_create_secret};
