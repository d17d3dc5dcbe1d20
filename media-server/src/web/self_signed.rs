//! A certificate of one's own making, to try the encrypted ports with: browsers warn of it, other clients are told to trust it.

use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair, PublicKeyData as _};
use sha2::{Digest as _, Sha256};
use time::{Duration, OffsetDateTime};

/// The longest that browsers take a certificate to be good for.
const LASTS: Duration = Duration::days(397);

/// What was made.
#[derive(Clone, Debug)]
pub struct SelfSigned {
    /// The certificate.
    pub cert_file: PathBuf,
    /// Its key, which its owner alone can read.
    pub key_file: PathBuf,
    /// When it ends.
    pub until: OffsetDateTime,
    /// SHA-256 of its public key in base64, as Chromium's `--ignore-certificate-errors-spki-list` takes it.
    pub public_key_hash: String,
}

/// Why none was made.
#[derive(Debug, thiserror::Error)]
pub enum SelfSignedError {
    /// A name that is neither a host's nor an address.
    #[error("{names}: {source}; names are like live.example.org, *.example.org, 203.0.113.7")]
    Names {
        /// All of them.
        names: String,
        /// What is wrong.
        source: rcgen::Error,
    },
    /// There is one already.
    #[error("{0} is there already: move it away, or name another folder")]
    Exists(PathBuf),
    /// It cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Makes one for these names and addresses, as `cert.pem` and `key.pem` in `folder`, which is made. Files that are there stay.
pub fn make(names: &[String], folder: &Path, now: OffsetDateTime) -> Result<SelfSigned, SelfSignedError> {
    let wrong = |source| SelfSignedError::Names { names: names.join(", "), source };
    let mut parameters = CertificateParams::new(names).map_err(wrong)?;
    parameters.not_before = now - Duration::days(1);
    parameters.not_after = now + LASTS - Duration::days(1);
    let until = parameters.not_after;
    let key = KeyPair::generate().map_err(wrong)?;
    let certificate = parameters.self_signed(&key).map_err(wrong)?;
    std::fs::create_dir_all(folder)
        .map_err(|source| SelfSignedError::Write { path: folder.to_owned(), source })?;
    let (cert_file, key_file) = (folder.join("cert.pem"), folder.join("key.pem"));
    if cert_file.exists() {
        return Err(SelfSignedError::Exists(cert_file));
    }
    write(&key_file, 0o600, &key.serialize_pem())?;
    write(&cert_file, 0o644, &certificate.pem())?;
    let public_key_hash = STANDARD.encode(Sha256::digest(key.subject_public_key_info()));
    Ok(SelfSigned { cert_file, key_file, until, public_key_hash })
}

fn write(path: &Path, mode: u32, text: &str) -> Result<(), SelfSignedError> {
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => SelfSignedError::Exists(path.to_owned()),
        _ => SelfSignedError::Write { path: path.to_owned(), source },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::certificate::{Certificates, Pair};

    #[test]
    fn one_is_made_once_and_can_be_used() {
        let folder = tempfile::tempdir().unwrap();
        let names = ["localhost", "*.example.org", "127.0.0.1", "::1"].map(str::to_owned);
        let made = make(&names, folder.path(), OffsetDateTime::now_utc()).unwrap();
        let pair = Pair { certificate: made.cert_file, key: made.key_file.clone() };
        Certificates::default().set(&[pair]).unwrap();
        let key = std::fs::metadata(&made.key_file).unwrap();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&key.permissions()) & 0o777, 0o600);
        let again = make(&names, folder.path(), OffsetDateTime::now_utc());
        assert!(matches!(again, Err(SelfSignedError::Exists(_))), "{again:?}");
        assert!(make(&["ä.example".to_owned()], folder.path(), OffsetDateTime::now_utc()).is_err());
    }
}
