//! What the media server asked and told, in the database.

use sqlx::{Row, SqliteConnection};

use super::event::{self, Event, Kind, Session};
use crate::clock::Millis;
use crate::db::Db;

/// A delivery as it came.
#[derive(Debug)]
pub struct Delivery<'a> {
    /// The webhook id: the same for every attempt.
    pub webhook_id: &'a str,
    /// When this attempt came.
    pub received: Millis,
    /// The message's type.
    pub kind: &'a str,
    /// The message, with stream keys blanked.
    pub body: &'a str,
}

/// Whether a delivery was new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It is in the database now, and has had its effect.
    New,
    /// It was there already.
    Repeated,
}

async fn insert(
    db: &mut SqliteConnection,
    delivery: &Delivery<'_>,
    stream: Option<&str>,
    session: Option<&str>,
    seq: Option<i64>,
    outcome: Option<&str>,
) -> Result<Recorded, sqlx::Error> {
    let inserted = sqlx::query(
        "INSERT INTO publish_events (webhook_id, received_at, type, stream, session, seq, outcome, body)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (webhook_id) DO NOTHING",
    )
    .bind(delivery.webhook_id)
    .bind(delivery.received)
    .bind(delivery.kind)
    .bind(stream)
    .bind(session)
    .bind(seq)
    .bind(outcome)
    .bind(delivery.body)
    .execute(db)
    .await?;
    Ok(if inserted.rows_affected() == 0 { Recorded::Repeated } else { Recorded::New })
}

/// Records an admission and its outcome.
pub async fn record_admission(
    db: &mut SqliteConnection,
    delivery: &Delivery<'_>,
    stream: Option<&str>,
    session: &str,
    outcome: &str,
) -> Result<Recorded, sqlx::Error> {
    insert(db, delivery, stream, Some(session), None, Some(outcome)).await
}

/// Records an event and its effect on the stream's session: both, or after a crash neither.
pub async fn record_event(db: &Db, delivery: &Delivery<'_>, event: &Event) -> Result<Recorded, sqlx::Error> {
    let mut tx = db.write().await?;
    let (stream, session) = (event.stream.as_deref(), event.session.as_deref());
    if insert(&mut tx, delivery, stream, session, event.seq, None).await? == Recorded::Repeated {
        return Ok(Recorded::Repeated);
    }
    if let (Some(stream), Some(session)) = (stream, session) {
        update_session(&mut tx, stream, session, event, delivery.received).await?;
    }
    tx.commit().await?;
    Ok(Recorded::New)
}

async fn update_session(
    db: &mut SqliteConnection,
    stream: &str,
    session: &str,
    event: &Event,
    received: Millis,
) -> Result<(), sqlx::Error> {
    let known = sqlx::query(
        "SELECT started_at, stopped_at, stop_reason, last_seq FROM stream_sessions WHERE session = $1",
    )
    .bind(session)
    .fetch_optional(&mut *db)
    .await?;
    let known = match known {
        None => None,
        Some(row) => Some(Session {
            started_at: row.try_get(0)?,
            stopped_at: row.try_get(1)?,
            stop_reason: row.try_get(2)?,
            last_seq: row.try_get(3)?,
        }),
    };
    let newest_other: Option<Millis> =
        sqlx::query_scalar("SELECT MAX(started_at) FROM stream_sessions WHERE stream = $1 AND session <> $2")
            .bind(stream)
            .bind(session)
            .fetch_one(&mut *db)
            .await?;
    let Some(after) = event::apply(known.as_ref(), event, received, newest_other) else { return Ok(()) };
    sqlx::query(
        "INSERT INTO stream_sessions (session, stream, started_at, stopped_at, stop_reason, last_seq)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (session) DO UPDATE SET
             started_at = excluded.started_at, stopped_at = excluded.stopped_at,
             stop_reason = excluded.stop_reason, last_seq = excluded.last_seq",
    )
    .bind(session)
    .bind(stream)
    .bind(after.started_at)
    .bind(after.stopped_at)
    .bind(&after.stop_reason)
    .bind(after.last_seq)
    .execute(&mut *db)
    .await?;
    if event.kind == Kind::Started && after.stopped_at.is_none() {
        // A stream has one publisher: the sessions before this one are over, also where nobody said so.
        sqlx::query(
            "UPDATE stream_sessions SET stopped_at = $1, stop_reason = 'superseded'
             WHERE stream = $2 AND session <> $3 AND stopped_at IS NULL AND started_at <= $1",
        )
        .bind(after.started_at)
        .bind(stream)
        .bind(session)
        .execute(db)
        .await?;
    }
    Ok(())
}

/// Forgets what came before `before`, at most `limit` rows. Returns how many went.
pub async fn prune(db: &Db, before: Millis, limit: u32) -> Result<u64, sqlx::Error> {
    let mut tx = db.write().await?;
    let gone = sqlx::query(
        "DELETE FROM publish_events WHERE webhook_id IN
             (SELECT webhook_id FROM publish_events WHERE received_at < $1 ORDER BY received_at LIMIT $2)",
    )
    .bind(before)
    .bind(limit)
    .execute(&mut *tx)
    .await?
    .rows_affected();
    tx.commit().await?;
    Ok(gone)
}
