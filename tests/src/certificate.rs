//! A certificate of a test's own, and a client that trusts nothing else.

use std::{path::Path, sync::Arc};

use anyhow::Result;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Trusts one certificate, for `localhost`.
#[derive(Clone)]
pub struct Trust(TlsConnector);

/// Makes a certificate for `localhost`, as `cert.pem` and `key.pem` in `folder`.
pub fn make(folder: &Path) -> Result<Trust> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem())?;
    std::fs::write(folder.join("cert.pem"), made.cert.pem())?;
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Trust(TlsConnector::from(Arc::new(config))))
}

/// The settings that use it: RTMPS at `listen`.
pub fn settings(folder: &Path, listen: &str) -> String {
    let folder = folder.display();
    format!(
        "[tls]\ncert_file = \"{folder}/cert.pem\"\nkey_file = \"{folder}/key.pem\"\n\
         [rtmp]\ntls_listen = \"{listen}\"\n"
    )
}

impl Trust {
    /// Connects to `address`, which must present that certificate.
    pub async fn connect(&self, address: &str) -> Result<TlsStream<TcpStream>> {
        let socket = TcpStream::connect(address).await?;
        Ok(self.0.connect(ServerName::try_from("localhost")?, socket).await?)
    }
}
