//! Channels in the database.

use sqlx::{Row, SqliteConnection, SqlitePool, sqlite::SqliteRow};

use super::rules::{Slug, Status};
use crate::clock::Millis;
use crate::ids::{ChannelId, UserId};

/// A channel.
#[derive(Clone, Debug)]
pub struct Channel {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub owner_id: String,
    /// In addresses; the stream's public name.
    pub slug: String,
    /// For people.
    pub name: String,
}

fn channel(row: &SqliteRow) -> Result<Channel, sqlx::Error> {
    Ok(Channel {
        id: row.try_get("id")?,
        owner_id: row.try_get("owner_id")?,
        slug: row.try_get("slug")?,
        name: row.try_get("name")?,
    })
}

/// Adds a channel. A taken slug is a unique violation on `channels.slug`, a second one on `channels.owner_id`.
pub async fn insert(
    db: &mut SqliteConnection,
    id: ChannelId,
    owner: UserId,
    slug: &Slug,
    name: &str,
    now: Millis,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO channels (id, owner_id, slug, name, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $5)")
        .bind(id.to_string())
        .bind(owner.to_string())
        .bind(slug.as_str())
        .bind(name)
        .bind(now)
        .execute(db)
        .await?;
    Ok(())
}

/// By slug or id.
pub async fn find(db: &SqlitePool, slug_or_id: &str) -> Result<Option<Channel>, sqlx::Error> {
    let row = sqlx::query("SELECT * FROM channels WHERE slug = $1 OR id = $1")
        .bind(slug_or_id.to_ascii_lowercase())
        .fetch_optional(db)
        .await?;
    row.as_ref().map(channel).transpose()
}

/// An account's own.
pub async fn of_owner(db: &SqlitePool, owner: &str) -> Result<Option<Channel>, sqlx::Error> {
    let row =
        sqlx::query("SELECT * FROM channels WHERE owner_id = $1").bind(owner).fetch_optional(db).await?;
    row.as_ref().map(channel).transpose()
}

/// All of them by slug, after `after`, at most `limit`.
pub async fn list(db: &SqlitePool, after: &str, limit: u32) -> Result<Vec<Channel>, sqlx::Error> {
    sqlx::query("SELECT * FROM channels WHERE slug > $1 ORDER BY slug LIMIT $2")
        .bind(after)
        .bind(limit)
        .fetch_all(db)
        .await?
        .iter()
        .map(channel)
        .collect()
}

/// Where its stream is at.
pub async fn status(db: &SqlitePool, slug: &str) -> Result<Status, sqlx::Error> {
    let live: Option<Millis> = sqlx::query_scalar(
        "SELECT MAX(started_at) FROM stream_sessions WHERE stream = $1 AND stopped_at IS NULL",
    )
    .bind(slug)
    .fetch_one(db)
    .await?;
    let ended = sqlx::query(
        "SELECT stopped_at, stop_reason FROM stream_sessions WHERE stream = $1 AND stopped_at IS NOT NULL
         ORDER BY stopped_at DESC LIMIT 1",
    )
    .bind(slug)
    .fetch_optional(db)
    .await?;
    let ended = match ended {
        Some(row) => Some((row.try_get(0)?, row.try_get(1)?)),
        None => None,
    };
    Ok(Status { live_since: live, ended })
}
