//! A new account with its channel and its first stream key: whole, or not at all.

use crate::account::password::HashError;
use crate::account::rules::{Email, Password, Rejected, Role, Username};
use crate::account::{self, password::Hasher};
use crate::channel::{self, rules::Slug};
use crate::clock;
use crate::db::Db;
use crate::ids::{ChannelId, UserId};
use crate::secrets::keyring::KeyRing;
use crate::stream::rules::StreamKey;
use crate::stream::store::{self as keys, KeyError};

/// What a new account is to be.
#[derive(Debug)]
pub struct NewAccount {
    /// Its name.
    pub username: Username,
    /// Its address.
    pub email: Email,
    /// Its password.
    pub password: Password,
    /// What it may do.
    pub role: Role,
    /// Its channel's slug.
    pub slug: Slug,
}

/// What was made.
#[derive(Debug)]
pub struct Opened {
    /// The account.
    pub user: UserId,
    /// Its channel.
    pub channel: ChannelId,
    /// The key to publish to it.
    pub key: StreamKey,
}

/// Why there is no new account.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The name, the address or the slug is someone else's.
    #[error("`{}` {}", .0.field, .0.reason)]
    Taken(Rejected),
    /// The password could not be hashed.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The key could not be stored.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The database failed.
    #[error(transparent)]
    Db(sqlx::Error),
}

impl From<sqlx::Error> for OpenError {
    fn from(error: sqlx::Error) -> Self {
        let taken = |field| Self::Taken(Rejected { field, reason: "is taken" });
        match error.as_database_error() {
            Some(cause) if cause.is_unique_violation() => {
                let message = cause.message();
                if message.contains("users.username") {
                    taken("username")
                } else if message.contains("users.email") {
                    taken("email")
                } else if message.contains("channels.slug") {
                    taken("slug")
                } else {
                    Self::Db(error)
                }
            }
            _ => Self::Db(error),
        }
    }
}

/// Opens an account.
pub async fn open(db: &Db, ring: &KeyRing, hasher: &Hasher, new: &NewAccount) -> Result<Opened, OpenError> {
    let password_hash = hasher.hash(&new.password).await?;
    let (user, channel, key) = (UserId::generate(), ChannelId::generate(), StreamKey::generate());
    let now = clock::now();
    let mut tx = db.write().await?;
    account::store::insert(&mut tx, user, &new.username, &new.email, &password_hash, new.role, now).await?;
    channel::store::insert(&mut tx, channel, user, &new.slug, new.slug.as_str(), now).await?;
    keys::insert(&mut tx, ring, &channel.to_string(), &key, now).await?;
    tx.commit().await?;
    Ok(Opened { user, channel, key })
}
