//! The connection to another server: TCP, or TLS on it.

use std::path::Path;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use wire::rtmp::PushUrl;

/// Either.
pub trait Line: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Line for S {}

/// Connects. `authorities`: a PEM file of certificates that are trusted besides the public ones; empty for none.
pub async fn connect(url: &PushUrl, authorities: &Path) -> Result<Box<dyn Line>, String> {
    let socket = TcpStream::connect((url.host.as_str(), url.port))
        .await
        .map_err(|error| format!("cannot connect: {error}"))?;
    socket.set_nodelay(true).map_err(|error| error.to_string())?;
    if !url.tls {
        return Ok(Box::new(socket));
    }
    let name = ServerName::try_from(url.host.clone()).map_err(|error| error.to_string())?;
    let config = trust(authorities).await?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let socket = connector.connect(name, socket).await.map_err(|error| format!("TLS: {error}"))?;
    Ok(Box::new(socket))
}

async fn trust(authorities: &Path) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if !authorities.as_os_str().is_empty() {
        let wrong =
            |error: &dyn std::fmt::Display| format!("[restream] ca_file {}: {error}", authorities.display());
        let pem = tokio::fs::read(authorities).await.map_err(|error| wrong(&error))?;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| wrong(&error))?;
            roots.add(certificate).map_err(|error| wrong(&error))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
