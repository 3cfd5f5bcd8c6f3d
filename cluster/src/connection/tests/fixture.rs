//! A cluster's certificates, a server on a free port, and a client that speaks raw frames.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cluster_settings::{
    AccessEntry, AccessList, Durability, Identity, Limits, Principal, PublicEndpoint, Rates, Role, Settings,
    SpuEntry, oldest_version,
};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
    SerialNumber,
};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName as DnsName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::access::Policy;
use crate::connection::{ConnectionLimit, Listener, Server, Service, Timing, serve};
use crate::tls::ServerName;
use crate::usage::Usage;

/// Longer than anything a test waits for.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);
pub(crate) const DOMAIN: &str = "c1.fluvio.localhost";

/// One CA.
pub(crate) struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }
}

/// A client's certificate and key.
pub(crate) struct ClientIdentity {
    chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
}

/// What makes one client certificate differ from another.
pub(crate) struct Leaf {
    pub(crate) uris: Vec<String>,
    pub(crate) serial: u8,
    pub(crate) lifetime: time::Duration,
}

/// One cluster's certificates and settings.
pub(crate) struct Cluster {
    pub(crate) tenant: Uuid,
    pub(crate) id: Uuid,
    server_ca: Authority,
    pub(crate) client_ca: Authority,
    identity: Identity,
    pub(crate) admin: Uuid,
    pub(crate) user: Uuid,
}

impl Cluster {
    pub(crate) fn new() -> Self {
        let (server_ca, client_ca) = (Authority::new("servers"), Authority::new("clients"));
        let key = KeyPair::generate().unwrap();
        let names = vec![DOMAIN.to_string(), format!("*.{DOMAIN}")];
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let identity = Identity {
            certificate_pem: params.signed_by(&key, &server_ca.issuer).unwrap().pem(),
            key_pem: key.serialize_pem(),
            client_ca_pem: client_ca.pem.clone(),
        };
        let [tenant, id, admin, user] = std::array::from_fn(|_| Uuid::new_v4());
        Self { tenant, id, server_ca, client_ca, identity, admin, user }
    }

    pub(crate) fn settings(&self) -> Settings {
        let entry = |principal, role| AccessEntry { principal, role, rules: None };
        Settings {
            version: 1,
            generation: 1,
            tenant: self.tenant,
            cluster: self.id,
            domain: DOMAIN.into(),
            public_endpoint: PublicEndpoint { host: "127.0.0.1".into(), port: 9443 },
            spus: vec![SpuEntry {
                id: 5001,
                name: "main-0".into(),
                rack: None,
                leaving: false,
                public_endpoint: None,
            }],
            durability: Durability::Disk,
            identity: Some(self.identity.clone()),
            access: AccessList {
                entries: vec![entry(self.admin, Role::Admin), entry(self.user, Role::User)],
                revoked_serials: Vec::new(),
            },
            limits: Limits {
                storage_bytes: 1 << 30,
                partitions: 100,
                connections: 100,
                message_bytes: 33_600_000,
                rates: Rates::UNLIMITED,
                principal_rates: Rates::UNLIMITED,
                principal_connections: None,
            },
        }
    }

    /// The same with these rules for the user, as a later push.
    pub(crate) fn settings_with_rules(&self, rules: &[&str]) -> Settings {
        let mut settings = self.settings();
        settings.generation += 1;
        settings.access.entries[1].rules = Some(rules.iter().map(|rule| rule.parse().unwrap()).collect());
        settings.version = oldest_version(&settings.access, &settings.limits);
        settings
    }

    pub(crate) fn uri(&self, principal: Uuid) -> String {
        Principal { tenant: self.tenant, cluster: self.id, id: principal }.to_string()
    }

    /// The certificate of a principal, good for an hour.
    pub(crate) fn client(&self, principal: Uuid, serial: u8) -> ClientIdentity {
        let lifetime = time::Duration::hours(1);
        client_from(&self.client_ca, &Leaf { uris: vec![self.uri(principal)], serial, lifetime })
    }

    pub(crate) fn connector(&self, client: Option<&ClientIdentity>) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        let pem = self.server_ca.pem.as_bytes();
        roots.add(rustls_pki_types::pem::PemObject::from_pem_slice(pem).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match client {
            Some(client) => {
                let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(client.key.clone()));
                builder.with_client_auth_cert(client.chain.clone(), key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        TlsConnector::from(Arc::new(config))
    }
}

pub(crate) fn client_from(authority: &Authority, leaf: &Leaf) -> ClientIdentity {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let san = |uri: &String| SanType::URI(uri.as_str().try_into().unwrap());
    params.subject_alt_names = leaf.uris.iter().map(san).collect();
    params.serial_number = Some(SerialNumber::from(vec![leaf.serial]));
    let now = time::OffsetDateTime::now_utc();
    params.not_before = now - time::Duration::hours(1);
    params.not_after = now + leaf.lifetime;
    let certificate = params.signed_by(&key, &authority.issuer).unwrap();
    ClientIdentity { chain: vec![certificate.der().clone()], key: key.serialize_der() }
}

/// A running server.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) policy: watch::Sender<Option<Arc<Policy>>>,
    pub(crate) usage: Arc<Usage>,
    pub(crate) stop: CancellationToken,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Running {
    pub(crate) async fn start<S: Service>(name: ServerName, settings: Settings, service: Arc<S>) -> Self {
        let policy = watch::Sender::new(Some(Arc::new(Policy::build(settings, None).unwrap())));
        Self::with_policy(name, policy, service, Arc::default()).await
    }

    pub(crate) async fn with_policy<S: Service>(
        name: ServerName,
        policy: watch::Sender<Option<Arc<Policy>>>,
        service: Arc<S>,
        usage: Arc<Usage>,
    ) -> Self {
        Self::on("tcp:127.0.0.1:0", name, policy, service, usage).await
    }

    pub(crate) async fn on<S: Service>(
        address: &str,
        name: ServerName,
        policy: watch::Sender<Option<Arc<Policy>>>,
        service: Arc<S>,
        usage: Arc<Usage>,
    ) -> Self {
        let listener = Listener::bind(address.parse().unwrap()).await.unwrap();
        let address = listener.tcp_address().unwrap();
        let stop = CancellationToken::new();
        let server = Server {
            name,
            policy: policy.subscribe(),
            limit: Arc::new(ConnectionLimit::default()),
            usage: Arc::clone(&usage),
            timing: Timing { handshake: Duration::from_millis(500), stall: Duration::from_millis(500) },
            stop: stop.clone(),
        };
        tokio::spawn(serve(vec![listener], Arc::new(server), service));
        Self { address, policy, usage, stop }
    }

    /// Puts other settings in force.
    pub(crate) fn change(&self, settings: Settings) {
        let previous = self.policy.borrow().clone();
        let policy = Policy::build(settings, previous.as_deref()).unwrap();
        self.policy.send_replace(Some(Arc::new(policy)));
    }
}

/// A client that writes what a test tells it to.
pub(crate) struct Client(pub(crate) TlsStream<TcpStream>);

impl Client {
    pub(crate) async fn connect(
        server: &Running,
        connector: &TlsConnector,
        name: &str,
    ) -> std::io::Result<Self> {
        let socket = TcpStream::connect(server.address).await?;
        socket.set_nodelay(true)?;
        let name = DnsName::try_from(name.to_owned()).unwrap();
        timeout(DEADLINE, connector.connect(name, socket)).await.unwrap().map(Self)
    }

    /// A client that is let in.
    pub(crate) async fn admitted(server: &Running, cluster: &Cluster, principal: Uuid) -> Self {
        let connector = cluster.connector(Some(&cluster.client(principal, 1)));
        Self::connect(server, &connector, DOMAIN).await.unwrap()
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        // A server that has closed already is what some tests are about.
        let _ = self.0.write_all(bytes).await;
        let _ = self.0.flush().await;
    }

    /// Sends one request and returns the response after its correlation id.
    pub(crate) async fn call(&mut self, key: u16, version: i16, body: &[u8]) -> Option<Vec<u8>> {
        self.send(&request(key, version, body)).await;
        self.response().await
    }

    /// The next response after its correlation id; none when the server closed.
    pub(crate) async fn response(&mut self) -> Option<Vec<u8>> {
        let read = async {
            let length = self.0.read_i32().await.ok()?;
            let mut body = vec![0; usize::try_from(length).unwrap()];
            self.0.read_exact(&mut body).await.ok()?;
            Some(body.split_off(4))
        };
        timeout(DEADLINE, read).await.expect("the server neither answers nor closes")
    }

    /// Waits until the server closes, whatever it says before.
    pub(crate) async fn closed(&mut self) {
        let mut rest = Vec::new();
        let _ = timeout(DEADLINE, self.0.read_to_end(&mut rest)).await.expect("the server does not close");
    }
}

/// A request as a frame.
pub(crate) fn request(key: u16, version: i16, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend(i32::try_from(body.len() + 12).unwrap().to_be_bytes());
    frame.extend(key.to_be_bytes());
    frame.extend(version.to_be_bytes());
    frame.extend(7i32.to_be_bytes());
    frame.extend([0, 2]);
    frame.extend(b"me");
    frame.extend(body);
    frame
}

/// Polls until the condition holds.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, waiting).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}
