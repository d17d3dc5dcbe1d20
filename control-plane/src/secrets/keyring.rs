//! The key ring: one master secret in `keys.master`, and the keys derived from it, one for each use.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use hmac::Mac;
use rand::RngCore;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::keyfile::{self, KeyFileError};

/// HMAC-SHA256 (RFC 2104).
pub type HmacSha256 = hmac::Hmac<Sha256>;

const PREFIX: &str = "wmk_";
const NONCE_LEN: usize = 24;

/// Why the key ring could not be loaded or used.
#[derive(Debug, thiserror::Error)]
pub enum KeyRingError {
    /// The master file is of no use.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// The master file holds something else.
    #[error("the master key file must hold `{PREFIX}` and 32 bytes in base64")]
    Format,
    /// A sealed value was made under another master key, for another row, or was altered.
    #[error("the sealed value does not open with this master key")]
    Unsealable,
}

/// The derived keys. Wiped from memory when dropped.
pub struct KeyRing {
    fingerprint: Zeroizing<[u8; 32]>,
    seal: Zeroizing<[u8; 32]>,
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyRing(redacted)")
    }
}

impl KeyRing {
    /// From the master file, which is made where it is missing.
    pub fn load(path: &Path) -> Result<Self, KeyRingError> {
        let text = keyfile::read_or_create(path, || {
            let mut master = Zeroizing::new([0_u8; 32]);
            rand::rng().fill_bytes(&mut *master);
            Zeroizing::new(format!("{PREFIX}{}", BASE64.encode(*master)))
        })?;
        let encoded = text.strip_prefix(PREFIX).ok_or(KeyRingError::Format)?;
        let master = Zeroizing::new(BASE64.decode(encoded).map_err(|_| KeyRingError::Format)?);
        if master.len() != 32 {
            return Err(KeyRingError::Format);
        }
        Ok(Self::from_master(&master))
    }

    /// From the master secret itself.
    pub fn from_master(master: &[u8]) -> Self {
        // One HMAC a use is HKDF-Expand (RFC 5869 2.3) of one block: the master is uniformly random already.
        Self {
            fingerprint: Zeroizing::new(keyed_hash(master, b"weir/stream-key/fingerprint/1\x01")),
            seal: Zeroizing::new(keyed_hash(master, b"weir/stream-key/seal/1\x01")),
        }
    }

    /// What a secret is found by: without the key ring nobody can test guesses against it.
    pub fn fingerprint(&self, secret: &str) -> [u8; 32] {
        keyed_hash(&*self.fingerprint, secret.as_bytes())
    }

    /// Seals a secret for the row `row_id`: nonce, then ciphertext and tag.
    pub fn seal(&self, row_id: &str, secret: &str) -> Result<Vec<u8>, KeyRingError> {
        let mut nonce = [0_u8; NONCE_LEN];
        rand::rng().fill_bytes(&mut nonce);
        let sealed = XChaCha20Poly1305::new((&*self.seal).into())
            .encrypt(XNonce::from_slice(&nonce), Payload { msg: secret.as_bytes(), aad: row_id.as_bytes() })
            .map_err(|_| KeyRingError::Unsealable)?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Opens what [`seal`](Self::seal) made for the same row.
    pub fn open(&self, row_id: &str, sealed: &[u8]) -> Result<Zeroizing<String>, KeyRingError> {
        let (nonce, ciphertext) = sealed.split_at_checked(NONCE_LEN).ok_or(KeyRingError::Unsealable)?;
        let plain = XChaCha20Poly1305::new((&*self.seal).into())
            .decrypt(XNonce::from_slice(nonce), Payload { msg: ciphertext, aad: row_id.as_bytes() })
            .map_err(|_| KeyRingError::Unsealable)?;
        String::from_utf8(plain).map(Zeroizing::new).map_err(|_| KeyRingError::Unsealable)
    }
}

fn keyed_hash(key: &[u8], message: &[u8]) -> [u8; 32] {
    // HMAC takes keys of every length, so the error arm is never taken; it yields a hash under the empty key.
    let mut mac = <HmacSha256 as Mac>::new_from_slice(key)
        .unwrap_or_else(|_| <HmacSha256 as Mac>::new(&[0; 64].into()));
    mac.update(message);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_key_opens_for_its_own_row_only() {
        let ring = KeyRing::from_master(&[7; 32]);
        let sealed = ring.seal("key_a", "sk_secret").unwrap();
        assert!(!sealed.windows(9).any(|w| w == b"sk_secret"));
        assert_eq!(*ring.open("key_a", &sealed).unwrap(), "sk_secret");
        assert!(ring.open("key_b", &sealed).is_err(), "bound to the row");
        assert!(KeyRing::from_master(&[8; 32]).open("key_a", &sealed).is_err(), "bound to the master key");
        for n in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[n] ^= 1;
            assert!(ring.open("key_a", &altered).is_err(), "byte {n}");
            assert!(ring.open("key_a", &sealed[..n]).is_err(), "cut at {n}");
        }
    }

    #[test]
    fn the_master_file_is_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.master");
        let first = KeyRing::load(&path).unwrap().fingerprint("k");
        assert_eq!(KeyRing::load(&path).unwrap().fingerprint("k"), first);
        std::fs::write(&path, "wmk_c2hvcnQ=").unwrap();
        assert!(matches!(KeyRing::load(&path), Err(KeyRingError::Format)));
    }
}
