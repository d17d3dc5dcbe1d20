//! A certificate of a test's own, and a client that trusts nothing else.

use std::{path::Path, sync::Arc};

use anyhow::Result;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Trusts one certificate.
#[derive(Clone)]
pub struct Trust(ClientConfig);

/// Makes a certificate for `localhost` alone, as `cert.pem` and `key.pem` in `folder`.
pub fn make(folder: &Path) -> Result<Trust> {
    make_for(&["localhost"], folder, ("cert.pem", "key.pem"))
}

/// Makes a certificate for these names, in these files of `folder`.
pub fn make_for(names: &[&str], folder: &Path, (cert, key): (&str, &str)) -> Result<Trust> {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names)?;
    std::fs::write(folder.join(key), made.signing_key.serialize_pem())?;
    std::fs::write(folder.join(cert), made.cert.pem())?;
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Trust(config))
}

/// The settings that use it: RTMPS at `listen`, HTTPS at a free port.
pub fn settings(folder: &Path, listen: &str) -> String {
    let folder = folder.display();
    format!(
        "[tls]\ncert_file = \"{folder}/cert.pem\"\nkey_file = \"{folder}/key.pem\"\n\
         [rtmp]\ntls_listen = \"{listen}\"\n[http]\ntls_listen = \"127.0.0.1:0\"\n"
    )
}

impl Trust {
    /// Connects to `address`, which must present that certificate.
    pub async fn connect(&self, address: &str) -> Result<TlsStream<TcpStream>> {
        self.connect_as("localhost", address).await
    }

    /// The same, asking for another name.
    pub async fn connect_as(&self, name: &str, address: &str) -> Result<TlsStream<TcpStream>> {
        let socket = TcpStream::connect(address).await?;
        let connector = TlsConnector::from(Arc::new(self.0.clone()));
        Ok(connector.connect(ServerName::try_from(name.to_owned())?, socket).await?)
    }

    /// How a client does its handshakes that trusts it alone.
    pub fn config(&self) -> ClientConfig {
        self.0.clone()
    }
}
