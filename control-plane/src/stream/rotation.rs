//! Rotating a key: the old one dies at once, and with it the session that was admitted by it.

use super::rules::StreamKey;
use super::store::{self, KeyError};
use crate::account;
use crate::channel::store::Channel;
use crate::clock;
use crate::db::Db;
use crate::outside::media_server::{Dropped, MediaServer, MediaServerError};
use crate::secrets::keyring::KeyRing;

/// The new key, and what became of the live session.
#[derive(Debug)]
pub struct Rotated {
    /// The key in force from now on.
    pub key: StreamKey,
    /// The key's row.
    pub key_id: String,
    /// Whether the media server dropped the session of the old key. The rotation holds in either case: the old
    /// key is not admitted again.
    pub dropped: Result<Dropped, MediaServerError>,
}

/// Gives the channel a new key. `actor` is for the audit log.
pub async fn rotate(
    db: &Db,
    ring: &KeyRing,
    media_server: &MediaServer,
    channel: &Channel,
    actor: &str,
    client_ip: Option<&str>,
) -> Result<Rotated, KeyError> {
    let now = clock::now();
    let key = StreamKey::generate();
    let mut tx = db.write().await?;
    store::revoke_current(&mut tx, &channel.id, now).await?;
    let key_id = store::insert(&mut tx, ring, &channel.id, &key, now).await?.to_string();
    account::store::audit(&mut tx, actor, "stream-key.rotate", &key_id, client_ip, now).await?;
    tx.commit().await?;
    // After the commit: a publisher that reconnects in between must already be refused.
    let dropped = media_server.drop_stream(&channel.slug).await;
    match &dropped {
        Ok(outcome) => tracing::info!(stream = channel.slug, ?outcome, "stream key rotated"),
        Err(error) => {
            tracing::warn!(stream = channel.slug, %error, "stream key rotated, but a live session may go on");
        }
    }
    Ok(Rotated { key, key_id, dropped })
}
