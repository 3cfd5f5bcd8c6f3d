//! The portal's own TLS. Its files are looked at every few seconds, and what changed is used for the next
//! connection: whoever renews the certificate need not stop the portal.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::config::TlsConfig;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Serves with the certificate of the files, and follows them until the portal stops.
pub fn acceptor(config: &TlsConfig, stopping: CancellationToken) -> anyhow::Result<TlsAcceptor> {
    let files = read(config)?;
    let (newest, current) = watch::channel(Arc::new(certified(&files)?));
    tokio::spawn(follow(config.clone(), files, newest, stopping));
    let mut tls = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Current { current }));
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(tls)))
}

/// The certificate that is in use now.
#[derive(Debug)]
struct Current {
    current: watch::Receiver<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.borrow().clone())
    }
}

/// What the files hold.
#[derive(PartialEq, Eq)]
struct Files {
    chain: Vec<u8>,
    key: zeroize::Zeroizing<Vec<u8>>,
}

fn read(config: &TlsConfig) -> anyhow::Result<Files> {
    let file =
        |path: &std::path::Path| std::fs::read(path).with_context(|| format!("read {}", path.display()));
    Ok(Files { chain: file(&config.certificate_file)?, key: file(&config.key_file)?.into() })
}

/// A certificate with the key that belongs to it.
fn certified(files: &Files) -> anyhow::Result<CertifiedKey> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&files.chain)
        .collect::<Result<_, _>>()
        .context("the certificate file is no PEM")?;
    anyhow::ensure!(!chain.is_empty(), "the certificate file holds no certificate");
    let key = PrivateKeyDer::from_pem_slice(&files.key).context("the key file holds no key")?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    CertifiedKey::from_der(chain, key, &provider).context("the certificate and its key do not fit")
}

/// Takes over what changed. Both files change in two steps, so a pair that does not fit is looked at again.
async fn follow(
    config: TlsConfig,
    mut files: Files,
    newest: watch::Sender<Arc<CertifiedKey>>,
    stopping: CancellationToken,
) {
    let mut said = String::new();
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let looked = read(&config).and_then(|now| {
            if now == files { Ok(None) } else { certified(&now).map(|certified| Some((now, certified))) }
        });
        match looked {
            Ok(None) => said.clear(),
            Ok(Some((now, certified))) => {
                tracing::info!("the certificate in {} is in use", config.certificate_file.display());
                files = now;
                newest.send_replace(Arc::new(certified));
                said.clear();
            }
            // Said once, however long it lasts; the one before stays in use.
            Err(error) => {
                let error = format!("{error:#}");
                if said != error {
                    tracing::error!("the new certificate is not used: {error}");
                    said = error;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(certificate: &rcgen::CertifiedKey<rcgen::KeyPair>, key: &rcgen::KeyPair) -> Files {
        Files { chain: certificate.cert.pem().into_bytes(), key: key.serialize_pem().into_bytes().into() }
    }

    #[test]
    fn only_a_certificate_with_its_own_key_is_used() {
        let one = rcgen::generate_simple_self_signed(vec!["a.test".into()]).unwrap();
        let two = rcgen::generate_simple_self_signed(vec!["b.test".into()]).unwrap();
        assert!(certified(&files(&one, &one.signing_key)).is_ok());
        assert!(certified(&files(&one, &two.signing_key)).is_err());
        let none = Files { chain: Vec::new(), ..files(&one, &one.signing_key) };
        assert!(certified(&none).is_err());
        let no_key = Files { key: b"x".to_vec().into(), ..files(&one, &one.signing_key) };
        assert!(certified(&no_key).is_err());
    }
}
