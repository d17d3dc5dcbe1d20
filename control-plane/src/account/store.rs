//! Accounts and logins in the database.

use sqlx::{Row, SqliteConnection, SqlitePool, sqlite::SqliteRow};

use super::rules::{Email, Role, Username};
use crate::clock::Millis;
use crate::ids::{AuditId, UserId};

/// An account.
#[derive(Clone, Debug)]
pub struct User {
    /// Its id.
    pub id: String,
    /// In lower case.
    pub username: String,
    /// What it may do.
    pub role: Role,
    /// Neither suspended nor banned.
    pub active: bool,
    /// PHC string.
    pub password_hash: String,
}

fn user(row: &SqliteRow) -> Result<User, sqlx::Error> {
    Ok(User {
        id: row.try_get("id")?,
        username: row.try_get("username")?,
        role: Role::from_word(row.try_get("role")?),
        active: row.try_get::<&str, _>("status")? == "active",
        password_hash: row.try_get("password_hash")?,
    })
}

/// Adds an account. A taken name or address is a unique violation on `users.username` or `users.email`.
pub async fn insert(
    db: &mut SqliteConnection,
    id: UserId,
    username: &Username,
    email: &Email,
    password_hash: &str,
    role: Role,
    now: Millis,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO users (id, username, email, password_hash, role, status, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, 'active', $6, $6)",
    )
    .bind(id.to_string())
    .bind(username.as_str())
    .bind(email.as_str())
    .bind(password_hash)
    .bind(role.as_str())
    .bind(now)
    .execute(db)
    .await?;
    Ok(())
}

/// By user name or e-mail address, in lower case.
pub async fn find_by_login(db: &SqlitePool, login: &str) -> Result<Option<User>, sqlx::Error> {
    let row = sqlx::query("SELECT * FROM users WHERE username = $1 OR email = $1")
        .bind(login)
        .fetch_optional(db)
        .await?;
    row.as_ref().map(user).transpose()
}

/// Gives an account another password and ends its logins.
pub async fn set_password(
    db: &mut SqliteConnection,
    user_id: &str,
    password_hash: &str,
    now: Millis,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE users SET password_hash = $1, updated_at = $2 WHERE id = $3")
        .bind(password_hash)
        .bind(now)
        .bind(user_id)
        .execute(&mut *db)
        .await?;
    sqlx::query("DELETE FROM login_sessions WHERE user_id = $1").bind(user_id).execute(db).await?;
    Ok(())
}

/// Adds a login, and forgets those that are over.
pub async fn insert_login(
    db: &mut SqliteConnection,
    token_hash: &[u8],
    user_id: &str,
    now: Millis,
    expires_at: Millis,
) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM login_sessions WHERE expires_at <= $1").bind(now).execute(&mut *db).await?;
    sqlx::query(
        "INSERT INTO login_sessions (token_hash, user_id, created_at, expires_at) VALUES ($1, $2, $3, $4)",
    )
    .bind(token_hash)
    .bind(user_id)
    .bind(now)
    .bind(expires_at)
    .execute(db)
    .await?;
    Ok(())
}

/// Ends a login.
pub async fn delete_login(db: &mut SqliteConnection, token_hash: &[u8]) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM login_sessions WHERE token_hash = $1").bind(token_hash).execute(db).await?;
    Ok(())
}

/// Whose login this is, where it still holds and the account is active.
pub async fn find_by_login_token(
    db: &SqlitePool,
    token_hash: &[u8],
    now: Millis,
) -> Result<Option<User>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT users.* FROM login_sessions JOIN users ON users.id = login_sessions.user_id
         WHERE login_sessions.token_hash = $1 AND login_sessions.expires_at > $2 AND users.status = 'active'",
    )
    .bind(token_hash)
    .bind(now)
    .fetch_optional(db)
    .await?;
    row.as_ref().map(user).transpose()
}

/// Adds a line to the audit log.
pub async fn audit(
    db: &mut SqliteConnection,
    actor: &str,
    action: &str,
    subject: &str,
    client_ip: Option<&str>,
    now: Millis,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO audit_log (id, at, actor, action, subject, client_ip) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(AuditId::generate().to_string())
    .bind(now)
    .bind(actor)
    .bind(action)
    .bind(subject)
    .bind(client_ip)
    .execute(db)
    .await?;
    Ok(())
}
