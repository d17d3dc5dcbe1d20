//! The secret that both programs share, and what it signs (Standard Webhooks 1.0, standardwebhooks.com).

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

/// Longest secret file, in bytes.
const LONGEST_FILE: u64 = 4096;
/// Most secrets in force at a time: each adds a signature to a header.
const MOST_SECRETS: usize = 4;

/// One secret, or during a rotation the old and the new: requests carry a signature of each. Never shown.
#[derive(Clone)]
pub struct Secrets(Vec<Zeroizing<Vec<u8>>>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets([hidden])")
    }
}

/// Why there is no secret to sign with.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Text that is no secret.
    #[error(
        "a webhook secret is whsec_ and 24 to 64 bytes in base64 (up to 4 of them, separated by white space)"
    )]
    Invalid,
    /// A file that holds no secret.
    #[error(
        "{path}: a webhook secret is whsec_ and 24 to 64 bytes in base64; remove the file to have a new one made"
    )]
    InvalidFile {
        /// The file.
        path: PathBuf,
    },
    /// A file that cannot be read.
    #[error("{path}: cannot read the webhook secret: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file that is missing and cannot be made.
    #[error("{path}: cannot make the webhook secret: {source}")]
    Create {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl FromStr for Secrets {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        let decode = |word: &str| {
            let bytes = BASE64.decode(word.strip_prefix("whsec_")?).ok().map(Zeroizing::new)?;
            (24..=64).contains(&bytes.len()).then_some(bytes)
        };
        let secrets: Option<Vec<_>> = text.split_whitespace().map(decode).collect();
        secrets.filter(|list| (1..=MOST_SECRETS).contains(&list.len())).map(Self).ok_or(SecretError::Invalid)
    }
}

impl Secrets {
    /// The `webhook-signature` header: a `v1,` signature of each secret over `id.timestamp.body`.
    pub(super) fn sign(&self, id: &str, timestamp: &str, body: &[u8]) -> String {
        let sign = |secret: &Zeroizing<Vec<u8>>| {
            // HMAC takes keys of every length (RFC 2104 2), so the second arm is never taken.
            let mut mac = <Hmac<Sha256> as hmac::Mac>::new_from_slice(secret)
                .unwrap_or_else(|_| <Hmac<Sha256> as hmac::Mac>::new(&[0; 64].into()));
            for piece in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
                mac.update(piece);
            }
            format!("v1,{}", BASE64.encode(mac.finalize().into_bytes()))
        };
        self.0.iter().map(sign).collect::<Vec<_>>().join(" ")
    }
}

/// Reads the secret file; where it is missing, makes it with mode 0600 and a random secret.
///
/// The control plane does the same, perhaps at the same moment. Each writes a file of its own and links it to the
/// name; a link never replaces, so one of them wins whole and both read back what won.
pub fn load_or_create_secret(path: &Path) -> Result<Secrets, SecretError> {
    match read(path) {
        Err(SecretError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            create(path).map_err(|source| SecretError::Create { path: path.into(), source })?;
            read(path)
        }
        other => other,
    }
}

fn read(path: &Path) -> Result<Secrets, SecretError> {
    let failed = |source| SecretError::Read { path: path.into(), source };
    let mut text = Zeroizing::new(String::new());
    let file = File::open(path).map_err(failed)?;
    file.take(LONGEST_FILE).read_to_string(&mut text).map_err(failed)?;
    text.parse().map_err(|_| SecretError::InvalidFile { path: path.into() })
}

fn create(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut bytes = Zeroizing::new([0_u8; 32]);
    rand::fill(&mut bytes[..]);
    let text = Zeroizing::new(format!("whsec_{}\n", BASE64.encode(*bytes)));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", uuid::Uuid::now_v7().simple()));
    let own = path.with_file_name(name);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&own)?;
    let linked = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::hard_link(&own, path));
    fs::remove_file(&own)?;
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        // The name is in the folder, so the folder is what must reach the disk.
        Ok(()) => File::open(folder)?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Barrier;

    use super::*;

    /// The example of the specification's reference libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn sign(secrets: &str) -> String {
        let secrets: Secrets = secrets.parse().unwrap();
        secrets.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", br#"{"test": 2432232314}"#)
    }

    #[test]
    fn signs_as_the_specification_does() {
        assert_eq!(sign(SECRET), SIGNATURE);
    }

    #[test]
    fn during_a_rotation_each_secret_signs() {
        let both = sign(&format!("whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n{SECRET}\n"));
        assert_eq!(both.split(' ').count(), 2);
        assert!(both.ends_with(SIGNATURE));
    }

    #[test]
    fn what_is_no_secret_is_refused_and_none_is_shown() {
        for wrong in ["", "whsec_", "whsec_c2hvcnQ=", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!"] {
            assert!(wrong.parse::<Secrets>().is_err(), "{wrong}");
        }
        assert_eq!(format!("{:?}", SECRET.parse::<Secrets>().unwrap()), "Secrets([hidden])");
    }

    #[test]
    fn makers_at_the_same_moment_agree_on_one_private_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new").join("webhook.secret");
        let start = Barrier::new(8);
        let signatures: Vec<String> = std::thread::scope(|scope| {
            let racer = || {
                start.wait();
                load_or_create_secret(&path).unwrap().sign("i", "t", b"b")
            };
            let racers: Vec<_> = (0..8).map(|_| scope.spawn(racer)).collect();
            racers.into_iter().map(|r| r.join().unwrap()).collect()
        });
        assert!(signatures.iter().all(|s| *s == signatures[0]));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_without_a_secret_names_itself_and_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("webhook.secret");
        fs::write(&path, "hello").unwrap();
        let error = load_or_create_secret(&path).unwrap_err().to_string();
        assert!(error.contains("webhook.secret") && error.contains("whsec_"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "hello");
    }
}
