//! Stream keys in the database.

use sqlx::{Row, SqliteConnection, SqlitePool, sqlite::SqliteRow};

use super::rules::StreamKey;
use crate::clock::Millis;
use crate::ids::KeyId;
use crate::secrets::keyring::{KeyRing, KeyRingError};

/// Why a key could not be stored or shown.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The database failed.
    #[error("database")]
    Db(#[from] sqlx::Error),
    /// The key ring does not fit what is stored.
    #[error("key ring")]
    KeyRing(#[from] KeyRingError),
}

/// A key's row: everything but the key.
#[derive(Clone, Debug)]
pub struct KeyRow {
    /// Its id.
    pub id: String,
    /// The channel that it publishes to.
    pub channel_id: String,
    /// The key's last characters.
    pub hint: String,
    /// When it was made.
    pub created_at: Millis,
    /// When a publisher was last admitted with it.
    pub last_used_at: Option<Millis>,
    sealed: Vec<u8>,
}

impl KeyRow {
    /// The key itself.
    pub fn open(&self, ring: &KeyRing) -> Result<StreamKey, KeyError> {
        let text = ring.open(&self.id, &self.sealed)?;
        StreamKey::presented(&text).ok_or(KeyError::KeyRing(KeyRingError::Unsealable))
    }
}

fn key_row(row: &SqliteRow) -> Result<KeyRow, sqlx::Error> {
    Ok(KeyRow {
        id: row.try_get("id")?,
        channel_id: row.try_get("channel_id")?,
        hint: row.try_get("hint")?,
        created_at: row.try_get("created_at")?,
        last_used_at: row.try_get("last_used_at")?,
        sealed: row.try_get("sealed")?,
    })
}

/// Adds a key to a channel that has none in force.
pub async fn insert(
    db: &mut SqliteConnection,
    ring: &KeyRing,
    channel_id: &str,
    key: &StreamKey,
    now: Millis,
) -> Result<KeyId, KeyError> {
    let id = KeyId::generate();
    sqlx::query(
        "INSERT INTO stream_keys (id, channel_id, fingerprint, sealed, hint, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(id.to_string())
    .bind(channel_id)
    .bind(ring.fingerprint(key.expose()).as_slice())
    .bind(ring.seal(&id.to_string(), key.expose())?)
    .bind(key.hint())
    .bind(now)
    .execute(db)
    .await?;
    Ok(id)
}

/// Revokes the channel's key, for ever.
pub async fn revoke_current(
    db: &mut SqliteConnection,
    channel_id: &str,
    now: Millis,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE stream_keys SET revoked_at = $1 WHERE channel_id = $2 AND revoked_at IS NULL")
        .bind(now)
        .bind(channel_id)
        .execute(db)
        .await?;
    Ok(())
}

/// The channel's key in force.
pub async fn current(db: &SqlitePool, channel_id: &str) -> Result<Option<KeyRow>, sqlx::Error> {
    let row = sqlx::query("SELECT * FROM stream_keys WHERE channel_id = $1 AND revoked_at IS NULL")
        .bind(channel_id)
        .fetch_optional(db)
        .await?;
    row.as_ref().map(key_row).transpose()
}

/// What admission needs to know of a presented key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The key's row.
    pub key_id: String,
    /// The key was revoked.
    pub revoked: bool,
    /// The channel's slug.
    pub slug: String,
    /// The owner's account is neither suspended nor banned.
    pub owner_active: bool,
}

/// Whose key this is.
pub async fn find_holder(
    db: &mut SqliteConnection,
    ring: &KeyRing,
    key: &StreamKey,
) -> Result<Option<Holder>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT stream_keys.id, stream_keys.revoked_at IS NOT NULL AS revoked, channels.slug, users.status
         FROM stream_keys
         JOIN channels ON channels.id = stream_keys.channel_id
         JOIN users ON users.id = channels.owner_id
         WHERE stream_keys.fingerprint = $1",
    )
    .bind(ring.fingerprint(key.expose()).as_slice())
    .fetch_optional(db)
    .await?;
    row.map(|row| {
        Ok(Holder {
            key_id: row.try_get(0)?,
            revoked: row.try_get(1)?,
            slug: row.try_get(2)?,
            owner_active: row.try_get::<&str, _>(3)? == "active",
        })
    })
    .transpose()
}

/// Notes that a publisher was admitted with a key.
pub async fn mark_used(db: &mut SqliteConnection, key_id: &str, now: Millis) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE stream_keys SET last_used_at = $1 WHERE id = $2")
        .bind(now)
        .bind(key_id)
        .execute(db)
        .await?;
    Ok(())
}
