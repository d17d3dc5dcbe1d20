//! May this caller in: admission, its passphrase, a stream for it.

use std::sync::Arc;
use std::time::Instant;

use tokio_util::sync::CancellationToken;
use wire::srt::{Accept, Connection, Passphrase, Reject, Request};

use crate::ingest::Desk;
use crate::ingest::publishing::{Admitted, Asking, Denied, ask, begin};
use crate::live::{Link, PublishError};

/// A caller that is let in.
pub(super) struct Entered {
    pub(super) connection: Connection,
    pub(super) admitted: Admitted,
    pub(super) link: Arc<Link>,
}

/// Why a caller is turned away.
#[derive(Debug, thiserror::Error)]
pub(super) enum Turned {
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("it encrypts, and neither its key nor [srt] has a passphrase")]
    Encrypts,
    #[error("its passphrase is not that of its key, or of [srt] where its key has none")]
    Passphrase(Reject),
    #[error("the server could not check its passphrase; try again")]
    Unchecked,
}

impl Turned {
    /// What its library is told.
    pub(super) fn reject(&self) -> Reject {
        match self {
            Self::Denied(Denied::Role) => Reject::BadRequest,
            Self::Denied(Denied::Key { reason, .. }) => match reason.as_str() {
                "unknown-key" | "bad-name" => Reject::Unauthorized,
                "already-live" => Reject::Conflict,
                "over-limit" => Reject::Overload,
                _ => Reject::Forbidden,
            },
            Self::Denied(Denied::Unreachable | Denied::Profile) => Reject::Gateway,
            Self::Denied(Denied::Stream(PublishError::TooMany(_))) => Reject::Overload,
            Self::Denied(Denied::Stream(_)) => Reject::Conflict,
            Self::Encrypts => Reject::Unsecure,
            Self::Passphrase(reject) => *reject,
            Self::Unchecked => Reject::Resource,
        }
    }
}

/// Asks for everything that a caller needs. `socket` is our socket id for it, `zero` that of its
/// connection's times, `halt` is cancelled when the stream no
/// longer wants it. The passphrase is checked before a stream is touched: who has it not is nobody's publisher.
pub(super) async fn let_in(
    desk: &Desk,
    request: Arc<Request>,
    asking: Asking,
    (socket, zero): (u32, Instant),
    halt: CancellationToken,
) -> Result<Entered, Turned> {
    let allowed = ask(desk, asking).await?;
    let rules = desk.rules.load_full();
    let own = allowed.grant.passphrase.as_ref().and_then(|hidden| Passphrase::new(&hidden.0));
    let passphrase = own.or_else(|| rules.srt.passphrase.clone());
    if request.is_encrypted() && passphrase.is_none() {
        return Err(Turned::Encrypts);
    }
    let mut entropy = [0; 32];
    rand::fill(&mut entropy);
    let latency = rules.srt.latency;
    let terms = Accept { socket, latency, peer_latency: latency, passphrase, entropy };
    // A key is derived in a millisecond of work: not on the thread that others' media pass through.
    let accepted = tokio::task::spawn_blocking(move || request.accept(zero.elapsed(), &terms));
    let connection = accepted.await.map_err(|_| Turned::Unchecked)?.map_err(Turned::Passphrase)?;
    let link = Arc::new(Link::default());
    let admitted = begin(desk, allowed, Some(Arc::clone(&link)), halt).await?;
    Ok(Entered { connection, admitted, link })
}
