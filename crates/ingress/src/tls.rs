//! TLS at the door: rustls, HTTP/1.1 only, certificates exchanged without a restart.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// How often the files are looked at. Reading two small files costs nothing, and comparing what they
/// hold misses no kind of replacement, renamed symbolic links included.
const LOOK: Duration = Duration::from_secs(3);

/// The certificate and key in use, and where they come from.
#[derive(Debug)]
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    config: RwLock<Arc<ServerConfig>>,
    read: RwLock<Pem>,
}

/// Two files' bytes. No `Debug`: one of them is a private key.
#[derive(PartialEq, Eq)]
struct Pem {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl std::fmt::Debug for Pem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pem(***)")
    }
}

impl Tls {
    /// Reads a chain of certificates (PEM, the leaf first) and its private key (PEM; PKCS#8, PKCS#1 or SEC1).
    ///
    /// # Errors
    ///
    /// A file cannot be read, holds nothing of the kind, or the two do not belong together.
    pub fn load(certificate: PathBuf, key: PathBuf) -> anyhow::Result<Self> {
        let pem = Pem {
            certificate: std::fs::read(&certificate)
                .with_context(|| format!("reading {}", certificate.display()))?,
            key: std::fs::read(&key).with_context(|| format!("reading {}", key.display()))?,
        };
        let config = RwLock::new(Arc::new(pem.config()?));
        Ok(Self { certificate, key, config, read: RwLock::new(pem) })
    }

    /// What the next handshake uses.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks at the files from time to time and takes over what they hold. Never ends.
    ///
    /// Files that cannot be used leave the old certificate in place; each such state of the files is
    /// logged once.
    pub(crate) async fn watch(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
            match self.look().await {
                Ok(true) => tracing::info!("took over a new TLS certificate"),
                Ok(false) => {}
                Err(error) => tracing::error!("keeping the old TLS certificate: {error:#}"),
            }
        }
    }

    async fn look(&self) -> anyhow::Result<bool> {
        // While the files are being exchanged one may be missing; what can be read later counts.
        let (Ok(certificate), Ok(key)) =
            (tokio::fs::read(&self.certificate).await, tokio::fs::read(&self.key).await)
        else {
            return Ok(false);
        };
        let pem = Pem { certificate, key };
        if *self.read.read().unwrap_or_else(PoisonError::into_inner) == pem {
            return Ok(false);
        }
        let config = pem.config();
        *self.read.write().unwrap_or_else(PoisonError::into_inner) = pem;
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config?);
        Ok(true)
    }
}

impl Pem {
    fn config(&self) -> anyhow::Result<ServerConfig> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<_, _>>()
            .context("the certificate file is not PEM")?;
        anyhow::ensure!(!chain.is_empty(), "the certificate file holds no certificate");
        let key =
            PrivateKeyDer::from_pem_slice(&self.key).context("the key file holds no private key in PEM")?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("choosing TLS versions")?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .context("certificate and key do not belong together")?;
        // HTTP/2 is not offered, and not understood either.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}
