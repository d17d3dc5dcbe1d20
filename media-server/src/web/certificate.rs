//! The certificate of the encrypted ports: read from PEM files, renewed without dropping a connection.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use rustls::ServerConfig;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// How often is looked whether the files are other ones.
const LOOK: Duration = Duration::from_secs(10);

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The files cannot be read, or are no PEM of the right kind.
    #[error("[tls] {key}: {path}: {source}; it must be a PEM file that this user can read")]
    Pem {
        /// `cert_file` or `key_file`.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// Certificate and key do not belong together, or are of a kind that is not supported.
    #[error("[tls] certificate {path} cannot be used: {source}; is key_file its own key?")]
    Pair {
        /// The certificate.
        path: PathBuf,
        /// What is wrong with it.
        source: rustls::Error,
    },
    /// A key alone.
    #[error("[tls] key_file is set and cert_file is not: set both, or neither")]
    KeyAlone,
}

/// The certificate of this moment. Clones share it.
#[derive(Clone, Default)]
pub struct Certificate {
    present: Arc<ArcSwapOption<ServerConfig>>,
    files: Arc<Mutex<Option<Files>>>,
}

/// Where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    written: [Option<SystemTime>; 2],
}

impl Files {
    fn now(certificate: &Path, key: &Path) -> Self {
        let written = [certificate, key].map(|path| std::fs::metadata(path).and_then(|m| m.modified()).ok());
        Self { certificate: certificate.to_owned(), key: key.to_owned(), written }
    }
}

impl Certificate {
    /// Uses these files; an empty `certificate` for none, an empty `key` where it is in the same file. On an error
    /// everything stays as it was.
    pub fn set(&self, certificate: &Path, key: &Path) -> Result<(), CertificateError> {
        if certificate.as_os_str().is_empty() {
            if !key.as_os_str().is_empty() {
                return Err(CertificateError::KeyAlone);
            }
            *self.files() = None;
            self.present.store(None);
            return Ok(());
        }
        let key = if key.as_os_str().is_empty() { certificate } else { key };
        let files = Files::now(certificate, key);
        self.present.store(Some(Arc::new(read(certificate, key)?)));
        *self.files() = Some(files);
        Ok(())
    }

    /// Does the TLS handshake of a connection.
    pub async fn accept(&self, socket: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        let Some(config) = self.present.load_full() else {
            return Err(std::io::Error::other("there is no certificate any more"));
        };
        tokio_rustls::TlsAcceptor::from(config).accept(socket).await
    }

    /// Takes renewed files into use, for ever.
    pub async fn renewed(self) {
        loop {
            tokio::time::sleep(LOOK).await;
            let certificate = self.clone();
            // The files may lie on a slow disk.
            if let Err(error) = tokio::task::spawn_blocking(move || certificate.renew()).await {
                tracing::error!(%error, "the certificate could not be looked at");
            }
        }
    }

    /// Takes the files into use where they are other ones.
    fn renew(&self) {
        let Some(old) = self.files().clone() else { return };
        let new = Files::now(&old.certificate, &old.key);
        if new == old {
            return;
        }
        match self.set(&new.certificate, &new.key) {
            Ok(()) => {
                tracing::info!(file = %new.certificate.display(), "the renewed certificate is in use");
            }
            Err(error) => {
                tracing::error!(%error, "the renewed certificate is not used; the old one stays");
                // Said once; looked at again when the files change again.
                *self.files() = Some(new);
            }
        }
    }

    fn files(&self) -> std::sync::MutexGuard<'_, Option<Files>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(certificate: &Path, key: &Path) -> Result<ServerConfig, CertificateError> {
    let wrong = |key, path: &Path| {
        let path = path.to_owned();
        move |source| CertificateError::Pem { key, path, source }
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(wrong("cert_file", certificate))?;
    if chain.is_empty() {
        return Err(wrong("cert_file", certificate)(pem::Error::NoItemsFound));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(wrong("key_file", key))?;
    let pair = |source| CertificateError::Pair { path: certificate.to_owned(), source };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(pair)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(pair)
}
