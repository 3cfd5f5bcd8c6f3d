use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use e2e::cloud::Cloud;
use e2e::replica::Replica;
use e2e::tenant::Tenant;
use e2e::wait::{until, within};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The files are looked at every two seconds.
const USED_WITHIN: Duration = Duration::from_secs(20);

/// An authority of the operator's own, and the files of a portal.
struct Authority {
    certificate: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
    folder: PathBuf,
}

impl Authority {
    fn new(folder: &Path) -> anyhow::Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        std::fs::write(folder.join("ca.pem"), certificate.pem())?;
        Ok(Authority { certificate, issuer: Issuer::new(params, key), folder: folder.to_owned() })
    }

    /// Puts a new certificate for this machine in place; returns it.
    fn renew(&self) -> anyhow::Result<CertificateDer<'static>> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.subject_alt_names = vec![SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST))];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        std::fs::write(self.folder.join("portal.key"), key.serialize_pem())?;
        std::fs::write(self.folder.join("portal.pem"), certificate.pem())?;
        Ok(certificate.der().clone())
    }

    /// The certificate that a portal shows to who trusts this authority and no other.
    async fn shown_by(&self, portal: &str) -> anyhow::Result<CertificateDer<'static>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.certificate.pem().as_bytes())?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST).into());
        let tcp = TcpStream::connect(portal).await?;
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, tcp);
        let stream = within("the handshake", Duration::from_secs(20), connecting).await?;
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        chain
            .first()
            .cloned()
            .map(CertificateDer::into_owned)
            .ok_or_else(|| anyhow::anyhow!("no certificate"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_portal_speaks_tls_itself_and_takes_its_renewed_certificate_without_a_stop() -> anyhow::Result<()> {
    let cloud = Cloud::shared()?;
    let tenant = Tenant::new(cloud).await?;
    let folder = tempfile::tempdir()?;
    let authority = Authority::new(folder.path())?;
    let first = authority.renew()?;
    let file = |name: &str| folder.path().join(name).display().to_string();
    let portal = Replica::start(cloud, "replica-tls", |table| {
        let mut tls = toml::Table::new();
        tls.insert("certificate_file".into(), file("portal.pem").into());
        tls.insert("key_file".into(), file("portal.key").into());
        table.insert("tls".into(), tls.into());
        table.insert("public_url".into(), "https://127.0.0.1".into());
    })?;
    assert_eq!(authority.shown_by(&portal.address).await?, first);

    // The command line trusts the file that it is given, remembers it, and trusts nothing else.
    let remote = format!("https://{}", portal.address);
    let email = tenant.person.email.clone();
    let login = ["cloud", "login", "--remote", &remote, "--email", &email, "--password-stdin"];
    let password = format!("{}\n", tenant.person.password);
    let refused = tenant.fluvio_with(&login, password.as_bytes()).await?;
    assert_eq!(refused.code, Some(1), "{}", refused.text());
    assert!(refused.stderr.contains("--ca-file"), "{}", refused.stderr);
    let authority_file = file("ca.pem");
    let trusting = [&login[..], &["--ca-file", &authority_file]].concat();
    tenant.fluvio_with(&trusting, password.as_bytes()).await?.succeed()?;
    tenant.fluvio(&["cloud", "whoami"]).await?.succeed()?;
    tenant.fluvio_with(&login, password.as_bytes()).await?.succeed()?;
    tenant.client().await?;

    // A pair that does not fit changes nothing; the next one that does is in use at once.
    std::fs::write(folder.path().join("portal.key"), KeyPair::generate()?.serialize_pem())?;
    std::fs::write(folder.path().join("portal.pem"), "no certificate")?;
    until("the log says so", USED_WITHIN, async || {
        let log = std::fs::read_to_string(cloud.state().join("logs/replica-tls.log"))?;
        Ok(log.contains("the new certificate is not used").then_some(()))
    })
    .await?;
    assert_eq!(authority.shown_by(&portal.address).await?, first);
    let second = authority.renew()?;
    until("the renewed certificate is shown", USED_WITHIN, async || {
        Ok((authority.shown_by(&portal.address).await? == second).then_some(()))
    })
    .await?;
    tenant.fluvio(&["cloud", "whoami"]).await?.succeed()?;
    Ok(())
}
