//! Password hashes: argon2id with the OWASP parameters (19 MiB, 2 passes, 1 lane), off the async threads.

use std::sync::Arc;

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use rand::RngCore;
use tokio::sync::Semaphore;

use super::rules::Password;

/// Why there is no answer about a password.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// Every hashing slot stayed taken.
    #[error("too many logins at once")]
    Busy,
    /// Argon2 refused, or the hash in the database is not one.
    #[error("argon2: {0}")]
    Argon2(argon2::password_hash::Error),
    /// The program is stopping.
    #[error("stopping")]
    Stopping,
}

impl From<argon2::password_hash::Error> for HashError {
    fn from(error: argon2::password_hash::Error) -> Self {
        Self::Argon2(error)
    }
}

/// Hashes with a bound on how many at once: each holds 19 MiB and a core.
#[derive(Clone, Debug)]
pub struct Hasher {
    slots: Arc<Semaphore>,
    /// A hash of nobody's password: looked at where an account is unknown, so that the answer takes as long.
    nobody: Arc<str>,
}

impl Hasher {
    /// How long a login waits for its turn.
    const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

    /// As many at once as there are cores.
    pub fn new() -> Result<Self, HashError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut noise = [0_u8; 24];
        rand::rng().fill_bytes(&mut noise);
        let nobody = hash_bytes(&noise)?.into();
        Ok(Self { slots: Arc::new(Semaphore::new(cores)), nobody })
    }

    /// The PHC string for a new password.
    pub async fn hash(&self, password: &Password) -> Result<String, HashError> {
        let password = password.clone();
        self.off_thread(move || hash_bytes(password.expose().as_bytes())).await
    }

    /// Whether the password is the one of `stored`; no account (`None`) takes as long and is no.
    pub async fn verify(&self, password: &Password, stored: Option<&str>) -> Result<bool, HashError> {
        let known = stored.is_some();
        let stored = stored.unwrap_or(&self.nobody).to_owned();
        let password = password.clone();
        let matches = self
            .off_thread(move || {
                let hash = PasswordHash::new(&stored)?;
                match argon2()?.verify_password(password.expose().as_bytes(), &hash) {
                    Ok(()) => Ok(true),
                    Err(argon2::password_hash::Error::Password) => Ok(false),
                    Err(other) => Err(other.into()),
                }
            })
            .await?;
        Ok(matches && known)
    }

    async fn off_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, HashError> + Send + 'static,
    ) -> Result<T, HashError> {
        let slot = tokio::time::timeout(Self::PATIENCE, Arc::clone(&self.slots).acquire_owned())
            .await
            .map_err(|_| HashError::Busy)?
            .map_err(|_| HashError::Stopping)?;
        tokio::task::spawn_blocking(move || {
            let result = work();
            drop(slot);
            result
        })
        .await
        .map_err(|_| HashError::Stopping)?
    }
}

fn argon2() -> Result<Argon2<'static>, HashError> {
    let params = Params::new(19_456, 2, 1, None).map_err(argon2::password_hash::Error::from)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash_bytes(password: &[u8]) -> Result<String, HashError> {
    let mut salt = [0_u8; 16];
    rand::rng().fill_bytes(&mut salt);
    let salt = SaltString::encode_b64(&salt)?;
    Ok(argon2()?.hash_password(password, &salt)?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_right_password_and_no_other() {
        let hasher = Hasher::new().unwrap();
        let password = Password::parse("correct horse").unwrap();
        let stored = hasher.hash(&password).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert_ne!(stored, hasher.hash(&password).await.unwrap(), "salted");
        assert!(hasher.verify(&password, Some(&stored)).await.unwrap());
        assert!(!hasher.verify(&Password::parse("Correct horse").unwrap(), Some(&stored)).await.unwrap());
        assert!(!hasher.verify(&password, None).await.unwrap());
        assert!(hasher.verify(&password, Some("not a hash")).await.is_err());
    }
}
