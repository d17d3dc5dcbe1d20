//! The certificates of the encrypted ports: read from PEM files, chosen by the name that a client asks for (SNI), renewed without
//! dropping a connection. Each handshake takes what is in use at that moment.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::{ArcSwap, ArcSwapOption};
use rustls::ServerConfig;
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ParsedCertificate, ProducesTickets, ResolvesServerCert,
};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

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

/// PEM files of a certificate and of its key; an empty `key` where it is in the same file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The certificate and its chain.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Those of this moment. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Certificates {
    present: Arc<Present>,
    files: Arc<Mutex<Vec<Files>>>,
}

/// What handshakes choose from; the first is for who asks for none of them.
#[derive(Debug, Default)]
struct Present {
    keys: ArcSwap<Vec<Arc<CertifiedKey>>>,
    /// Who comes again goes on without our keeping anything of it: as long as it would get the same certificate.
    tickets: ArcSwapOption<Ticketer>,
}

/// Tickets under the key of one set of certificates.
#[derive(Debug)]
struct Ticketer(Arc<dyn ProducesTickets>);

impl ProducesTickets for Present {
    fn enabled(&self) -> bool {
        self.tickets.load().as_ref().is_some_and(|it| it.0.enabled())
    }

    fn lifetime(&self) -> u32 {
        self.tickets.load().as_ref().map_or(0, |it| it.0.lifetime())
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.tickets.load().as_ref()?.0.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.tickets.load().as_ref()?.0.decrypt(cipher)
    }
}

impl ResolvesServerCert for Present {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let all = self.keys.load();
        let name = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let named = name.and_then(|name| all.iter().find(|key| is_for(key, &name)));
        named.or(all.first()).cloned()
    }
}

fn is_for(key: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let parsed = key.end_entity_cert().and_then(ParsedCertificate::try_from);
    parsed.is_ok_and(|parsed| verify_server_name(&parsed, name).is_ok())
}

/// Where one came from.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Files {
    pair: Pair,
    written: [Option<SystemTime>; 2],
}

impl Files {
    fn now(pair: &Pair) -> Self {
        let written = [&pair.certificate, &pair.key]
            .map(|path| std::fs::metadata(path).and_then(|m| m.modified()).ok());
        Self { pair: pair.clone(), written }
    }
}

impl Certificates {
    /// Uses these; none for none. On an error everything stays as it was.
    pub fn set(&self, pairs: &[Pair]) -> Result<(), CertificateError> {
        let mut whole = Vec::with_capacity(pairs.len());
        for Pair { certificate, key } in pairs {
            if certificate.as_os_str().is_empty() {
                return Err(CertificateError::KeyAlone);
            }
            let key = if key.as_os_str().is_empty() { certificate } else { key };
            whole.push(Pair { certificate: certificate.clone(), key: key.clone() });
        }
        let files: Vec<Files> = whole.iter().map(Files::now).collect();
        let keys = whole.iter().map(|pair| read(&pair.certificate, &pair.key).map(Arc::new));
        self.present.keys.store(Arc::new(keys.collect::<Result<Vec<_>, _>>()?));
        // Without tickets every handshake is a whole one.
        let tickets = rustls::crypto::ring::Ticketer::new().ok();
        self.present.tickets.store(tickets.map(|tickets| Arc::new(Ticketer(tickets))));
        *self.files() = files;
        Ok(())
    }

    /// How a port does its handshakes; `protocols` are those of ALPN, the best first.
    pub fn config(&self, protocols: &[&[u8]]) -> Result<Arc<ServerConfig>, rustls::Error> {
        let chosen: Arc<dyn ResolvesServerCert> = Arc::<Present>::clone(&self.present);
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(chosen);
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        // 0-RTT stays off: what it carries could be sent again by others.
        config.ticketer = Arc::<Present>::clone(&self.present);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Arc::new(config))
    }

    /// Takes renewed files into use, for ever.
    pub async fn renewed(self) {
        loop {
            tokio::time::sleep(LOOK).await;
            let certificates = self.clone();
            // The files may lie on a slow disk.
            if let Err(error) = tokio::task::spawn_blocking(move || certificates.renew()).await {
                tracing::error!(%error, "the certificates could not be looked at");
            }
        }
    }

    /// Takes the files into use where they are other ones.
    fn renew(&self) {
        let old = self.files().clone();
        let pairs: Vec<Pair> = old.iter().map(|files| files.pair.clone()).collect();
        let new: Vec<Files> = pairs.iter().map(Files::now).collect();
        if new == old {
            return;
        }
        match self.set(&pairs) {
            Ok(()) => {
                for (files, _) in new.iter().zip(&old).filter(|(new, old)| new != old) {
                    tracing::info!(file = %files.pair.certificate.display(), "the renewed certificate is in use");
                }
            }
            Err(error) => {
                tracing::error!(%error, "the renewed certificate is not used; the old one stays");
                // Said once; looked at again when the files change again.
                *self.files() = new;
            }
        }
    }

    fn files(&self) -> std::sync::MutexGuard<'_, Vec<Files>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn read(certificate: &Path, key: &Path) -> Result<CertifiedKey, CertificateError> {
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
    CertifiedKey::from_der(chain, private, &provider())
        .map_err(|source| CertificateError::Pair { path: certificate.to_owned(), source })
}
