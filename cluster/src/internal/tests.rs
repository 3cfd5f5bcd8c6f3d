use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::*;

const NAME: &str = "internal.c1.fluvio.test";
const DEADLINE: Duration = Duration::from_secs(10);

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "internal");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// Certificate and key, good for an hour from now on, or up to now.
    fn leaf(&self, name: &str, over: bool) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let now = time::OffsetDateTime::now_utc();
        params.not_before = now - time::Duration::hours(1);
        params.not_after =
            if over { now - time::Duration::minutes(1) } else { now + time::Duration::hours(1) };
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// Writes a whole identity; `roots` are the CAs that it trusts.
    fn write(&self, dir: &Path, name: &str, roots: &[&Authority]) {
        let (certificate, key) = self.leaf(name, false);
        std::fs::write(dir.join("tls.crt"), certificate).unwrap();
        std::fs::write(dir.join("tls.key"), key).unwrap();
        let roots: String = roots.iter().map(|root| root.pem.as_str()).collect();
        std::fs::write(dir.join("ca.crt"), roots).unwrap();
    }
}

fn files(dir: &Path) -> IdentityFiles {
    IdentityFiles {
        certificate_file: dir.join("tls.crt"),
        key_file: dir.join("tls.key"),
        ca_file: dir.join("ca.crt"),
        name: NAME.into(),
    }
}

/// An identity with a folder of its own.
struct Member {
    dir: tempfile::TempDir,
    identity: Arc<Identity>,
}

impl Member {
    fn new(authority: &Authority, name: &str, roots: &[&Authority]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        authority.write(dir.path(), name, roots);
        let identity = Arc::new(Identity::load(files(dir.path())).unwrap());
        Self { dir, identity }
    }

    async fn listen(&self) -> (Listener, SocketAddr) {
        let listener = Listener::tls("127.0.0.1:0", self.identity.clone()).await.unwrap();
        let address = listener.tcp_address().unwrap();
        (listener, address)
    }

    fn dialler(&self, address: SocketAddr) -> Dialler {
        Dialler::Tls { address: format!("localhost:{}", address.port()), identity: self.identity.clone() }
    }
}

/// Whether the dialler gets a byte across.
async fn meets(listener: &mut Listener, dialler: &Dialler) -> bool {
    let there = async {
        let Ok(mut stream) = dialler.dial().await else { return false };
        // Under TLS 1.3 the dialler hears only now that it is not let in.
        stream.write_all(b"x").await.is_ok() && stream.flush().await.is_ok() && stream.read_u8().await.is_ok()
    };
    let here = async {
        let mut stream = listener.accept().await;
        let byte = stream.read_u8().await.unwrap();
        stream.write_all(&[byte]).await.unwrap();
        stream.flush().await.unwrap();
        std::future::pending::<bool>().await
    };
    let met = async {
        tokio::select! { met = there => met, never = here => never }
    };
    timeout(DEADLINE, met).await.expect("neither met nor refused")
}

#[tokio::test]
async fn only_who_has_the_ca_and_the_name_is_met_on_either_side() {
    let (own, foreign) = (Authority::new(), Authority::new());
    let server = Member::new(&own, NAME, &[&own]);
    let (mut listener, address) = server.listen().await;
    for (what, dialler, expected) in [
        ("a peer", Member::new(&own, NAME, &[&own]), true),
        ("another CA", Member::new(&foreign, NAME, &[&own]), false),
        ("another name", Member::new(&own, "internal.c2.fluvio.test", &[&own]), false),
        ("a dialler that trusts another CA", Member::new(&own, NAME, &[&foreign]), false),
    ] {
        assert_eq!(meets(&mut listener, &dialler.dialler(address)).await, expected, "{what}");
    }
    let expired = Member::new(&own, NAME, &[&own]);
    let (certificate, key) = own.leaf(NAME, true);
    std::fs::write(expired.dir.path().join("tls.crt"), certificate).unwrap();
    std::fs::write(expired.dir.path().join("tls.key"), key).unwrap();
    assert!(!meets(&mut listener, &expired.dialler(address)).await, "expired");
    let peer = Member::new(&own, NAME, &[&own]);
    for (what, server) in [
        ("a listener with another name", Member::new(&own, "internal.c2.fluvio.test", &[&own])),
        ("a listener with another CA", Member::new(&foreign, NAME, &[&own])),
    ] {
        let (mut listener, address) = server.listen().await;
        assert!(!meets(&mut listener, &peer.dialler(address)).await, "{what}");
    }
}

/// What somebody without an identity gets to see of the listener.
async fn stranger(
    address: SocketAddr,
    root: &Authority,
    own: Option<(String, String)>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> std::io::Result<u8> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(root.pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let builder = builder.with_root_certificates(roots);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => builder
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap(),
    };
    let socket = TcpStream::connect(address).await?;
    let name = ServerName::try_from(NAME).unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, socket).await?;
    stream.read_u8().await
}

#[tokio::test]
async fn without_a_certificate_or_with_old_tls_nobody_comes_in() {
    let own = Authority::new();
    let server = Member::new(&own, NAME, &[&own]);
    let (mut listener, address) = server.listen().await;
    let all = rustls::ALL_VERSIONS;
    let nothing = stranger(address, &own, None, all).await.unwrap_err();
    assert!(nothing.to_string().contains("CertificateRequired"), "{nothing}");
    let old = stranger(address, &own, Some(own.leaf(NAME, false)), &[&rustls::version::TLS12]).await;
    assert!(old.unwrap_err().to_string().contains("ProtocolVersion"));
    // Not even after something that is no TLS at all.
    let mut noise = TcpStream::connect(address).await.unwrap();
    noise.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let known = stranger(address, &own, Some(own.leaf(NAME, false)), all);
    let (seen, mut stream) = tokio::join!(timeout(DEADLINE, known), async {
        let mut stream = listener.accept().await;
        stream.write_all(b"y").await.unwrap();
        stream.flush().await.unwrap();
        stream
    });
    assert_eq!(seen.unwrap().unwrap(), b'y', "the one that is known is the first to come out");
    assert!(stream.read_u8().await.is_err());
}

#[tokio::test]
async fn a_renewed_certificate_and_ca_act_on_the_next_connection() {
    let (old, new) = (Authority::new(), Authority::new());
    let server = Member::new(&old, NAME, &[&old]);
    let spu = Member::new(&old, NAME, &[&old]);
    let (mut listener, address) = server.listen().await;
    assert!(meets(&mut listener, &spu.dialler(address)).await);
    new.write(spu.dir.path(), NAME, &[&old, &new]);
    assert!(!meets(&mut listener, &spu.dialler(address)).await, "the SC does not know the new CA yet");
    old.write(server.dir.path(), NAME, &[&old, &new]);
    assert!(meets(&mut listener, &spu.dialler(address)).await, "both know both");
    new.write(server.dir.path(), NAME, &[&new]);
    new.write(spu.dir.path(), NAME, &[&new]);
    assert!(meets(&mut listener, &spu.dialler(address)).await, "the old one is gone");
}

#[tokio::test]
async fn half_written_files_change_nothing() {
    let own = Authority::new();
    let server = Member::new(&own, NAME, &[&own]);
    let spu = Member::new(&own, NAME, &[&own]);
    let (mut listener, address) = server.listen().await;
    std::fs::write(server.dir.path().join("tls.key"), own.leaf(NAME, false).1).unwrap();
    std::fs::write(spu.dir.path().join("ca.crt"), "").unwrap();
    assert!(meets(&mut listener, &spu.dialler(address)).await);
    std::fs::remove_file(server.dir.path().join("tls.crt")).unwrap();
    assert!(meets(&mut listener, &spu.dialler(address)).await);
}

#[test]
fn files_that_make_no_identity_are_named() {
    let own = Authority::new();
    let dir = tempfile::tempdir().unwrap();
    let load = |files| Identity::load(files).unwrap_err().to_string();
    assert!(load(files(dir.path())).contains("cannot read"));
    own.write(dir.path(), NAME, &[&own]);
    assert!(Identity::load(files(dir.path())).is_ok());
    for name in ["", "127.0.0.1", "a b"] {
        assert!(
            load(IdentityFiles { name: name.into(), ..files(dir.path()) }).contains("internal.name"),
            "{name}"
        );
    }
    std::fs::write(dir.path().join("tls.key"), own.leaf(NAME, false).1).unwrap();
    let mismatch = load(files(dir.path()));
    assert!(mismatch.contains("cannot be used") && !mismatch.contains("PRIVATE"), "{mismatch}");
    std::fs::write(dir.path().join("tls.key"), "nothing").unwrap();
    assert!(load(files(dir.path())).contains("no private key"));
}

#[tokio::test]
async fn those_who_never_shake_hands_do_not_keep_the_others_out() {
    let own = Authority::new();
    let server = Member::new(&own, NAME, &[&own]);
    let (mut listener, address) = server.listen().await;
    let mut silent = Vec::new();
    for _ in 0..80 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let spu = Member::new(&own, NAME, &[&own]).dialler(address);
    let in_the_end = async {
        // Its own patience ends, too, while the silent ones are before it; an SPU dials again.
        while !meets(&mut listener, &spu).await {}
    };
    timeout(Duration::from_secs(60), in_the_end).await.expect("the silent ones are sent away");
}
