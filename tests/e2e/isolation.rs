use std::collections::HashSet;
use std::path::Path;
use std::process::Command;

use e2e::cloud::Cloud;
use e2e::http::Ask;
use e2e::person::Person;
use e2e::raw::{self, Cut};
use e2e::stream::{STEP_WITHIN, create_topic, produce, producer, read_all};
use e2e::tenant::{Credentials, Tenant};
use e2e::wait::within;
use e2e::wire;
use fluvio::metadata::partition::PartitionSpec;
use fluvio::metadata::topic::TopicSpec;
use fluvio::{Fluvio, FluvioAdmin, Isolation};
use hyper::Method;
use serde_json::json;
use tokio::sync::OnceCell;

/// Five tenants with a cluster each, made once for all tests here.
async fn five() -> anyhow::Result<&'static Vec<Tenant>> {
    static FIVE: OnceCell<Vec<Tenant>> = OnceCell::const_new();
    FIVE.get_or_try_init(|| async {
        let mut tenants = Vec::new();
        for _ in 0..5 {
            tenants.push(Tenant::new(Cloud::shared()?).await?);
        }
        Ok(tenants)
    })
    .await
}

/// Every ordered pair of different tenants: who tries, and whose it is.
fn pairs(tenants: &[Tenant]) -> impl Iterator<Item = (&Tenant, &Tenant)> {
    let others = move |index: usize| tenants.iter().enumerate().filter(move |(other, _)| *other != index);
    tenants.iter().enumerate().flat_map(move |(index, who)| others(index).map(move |(_, whose)| (who, whose)))
}

/// Whether a server answers the first request of a connection with this identity.
fn is_served(name: &str, ca: &str, who: &Credentials) -> anyhow::Result<bool> {
    let config = raw::configuration(ca, Some((&who.certificate, &who.key)))?;
    // A refusal may come with the handshake or, as TLS 1.3 allows, at the first read.
    let Ok(mut stream) = raw::connect(Cloud::shared()?.gateway()?, name, config, Cut::Whole) else {
        return Ok(false);
    };
    if wire::send(&mut stream, &wire::api_versions(1)).is_err() {
        return Ok(false);
    }
    Ok(wire::receive(&mut stream)?.is_some())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_certificate_opens_another_tenants_sc_or_spu() -> anyhow::Result<()> {
    let tenants = five().await?;
    let credentials = tenants.iter().map(Tenant::credentials).collect::<anyhow::Result<Vec<_>>>()?;
    for (index, whose) in credentials.iter().enumerate() {
        for (other, who) in credentials.iter().enumerate() {
            for name in [whose.domain.clone(), format!("main-0.{}", whose.domain)] {
                let served = is_served(&name, &whose.ca, who)?;
                assert_eq!(served, index == other, "{} at {name}", who.domain);
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_without_a_certificate_is_served_by_nobody() -> anyhow::Result<()> {
    for tenant in five().await? {
        let whose = tenant.credentials()?;
        for name in [whose.domain.clone(), format!("main-0.{}", whose.domain)] {
            let config = raw::configuration(&whose.ca, None)?;
            let served = match raw::connect(Cloud::shared()?.gateway()?, &name, config, Cut::Whole) {
                Ok(mut stream) => {
                    wire::send(&mut stream, &wire::api_versions(1)).is_ok()
                        && wire::receive(&mut stream)?.is_some()
                }
                Err(_) => false,
            };
            assert!(!served, "{name}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_token_and_no_cookie_reaches_another_tenants_objects() -> anyhow::Result<()> {
    let tenants = five().await?;
    for (who, whose) in pairs(tenants) {
        who.person.browser.sign_in(&who.person.email, &who.person.password).await?;
        let certificates = whose.person.certificates(&whose.cluster.id).await?;
        let certificate = certificates[0]["id"].as_str().expect("an id");
        let cluster = format!("/api/v1/clusters/{}", whose.cluster.id);
        let asks = [
            Ask::get(&cluster),
            Ask::new(Method::DELETE, &cluster),
            Ask::new(Method::PATCH, &cluster).json(&json!({"plan": "large"})),
            Ask::new(Method::PATCH, &cluster).json(&json!({"principal_limits": {}})),
            Ask::new(Method::POST, &format!("{cluster}/undelete")).json(&json!({})),
            Ask::new(Method::POST, &format!("{cluster}/pause")).json(&json!({})),
            Ask::new(Method::POST, &format!("{cluster}/resume")).json(&json!({})),
            Ask::get(&format!("{cluster}/certificates")),
            Ask::get(&format!("{cluster}/profile")),
            Ask::new(Method::POST, &format!("{cluster}/certificates")).json(&json!({"csr": csr()?})),
            Ask::new(Method::DELETE, &format!("{cluster}/certificates/{certificate}")),
            Ask::new(Method::PATCH, &format!("{cluster}/certificates/{certificate}"))
                .json(&json!({"role": "admin"})),
            // Another tenant's certificate under one's own cluster.
            Ask::new(
                Method::DELETE,
                &format!("/api/v1/clusters/{}/certificates/{certificate}", who.cluster.id),
            ),
        ];
        for ask in asks {
            let what = format!("{} {}", ask.method, ask.path);
            let answer = who.person.api.ask(ask).await?;
            assert_eq!(answer.status, 404, "{what}: {}", answer.text());
        }
        let rights = format!("/rights/{certificate}");
        for page in ["", "/events", "/pause", "/delete", "/profile", &rights] {
            let answer = who.person.browser.get(&format!("/clusters/{}{page}", whose.cluster.id)).await?;
            assert_eq!(answer.status, 404, "the page of another tenant's cluster {page}");
        }
        let listed = who.person.clusters().await?;
        assert!(listed.iter().all(|each| each.id != whose.cluster.id));
    }
    // Nothing of all that had an effect.
    for tenant in tenants {
        assert_eq!(tenant.person.cluster(&tenant.cluster.id).await?.state, "running");
        assert!(
            tenant
                .person
                .certificates(&tenant.cluster.id)
                .await?
                .iter()
                .all(|each| each["revoked_at"].is_null())
        );
    }
    Ok(())
}

fn csr() -> anyhow::Result<String> {
    let key = rcgen::KeyPair::generate()?;
    Ok(rcgen::CertificateParams::new(Vec::<String>::new())?.serialize_request(&key)?.pem()?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_of_one_tenant_is_unknown_to_the_others() -> anyhow::Result<()> {
    let tenants = five().await?;
    for (index, tenant) in tenants.iter().enumerate() {
        let client = tenant.client().await?;
        create_topic(&tenant.admin().await?, "same-name", 1).await?;
        produce(&producer(&client, "same-name").await?, &[format!("of tenant {index}").into_bytes()]).await?;
    }
    for (index, tenant) in tenants.iter().enumerate() {
        let records = read_all(&tenant.client().await?, "same-name", 0, Isolation::ReadCommitted).await?;
        let values: Vec<String> =
            records.iter().map(|each| String::from_utf8_lossy(&each.value).into_owned()).collect();
        assert_eq!(values, [format!("of tenant {index}")]);
    }
    Ok(())
}

/// Runs a command under another uid; the exit code says whether it was let in.
fn as_user(uid: u32, arguments: &[&str]) -> anyhow::Result<bool> {
    let uid = uid.to_string();
    let status = Command::new("setpriv")
        .args(["--reuid", &uid, "--regid", &uid, "--clear-groups"])
        .args(arguments)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()?;
    Ok(status.success())
}

const CONNECT: &str = "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_other_uid_enters_a_clusters_folder_or_sockets() -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        println!(
            "skipped: without root all clusters run under one uid, and the cloud says so when it starts"
        );
        return Ok(());
    }
    let cloud = Cloud::shared()?;
    let tenants = five().await?;
    let mut uids = Vec::new();
    for tenant in tenants {
        let processes = cloud.cluster(&tenant.cluster.id);
        assert!(!processes.is_empty());
        for process in &processes {
            uids.push(process.uid()?);
        }
    }
    assert_eq!(uids.iter().collect::<HashSet<_>>().len(), tenants.len(), "a uid for each cluster: {uids:?}");
    assert!(uids.iter().all(|uid| *uid != 0), "none is root");
    for (index, tenant) in tenants.iter().enumerate() {
        let folder = cloud.cluster_folder(&tenant.cluster.id);
        let sockets: Vec<_> = std::fs::read_dir(folder.join("run"))?
            .map(|each| each.map(|each| each.path()))
            .collect::<Result<_, _>>()?;
        assert!(sockets.len() >= 3, "{sockets:?}");
        let strangers =
            uids.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, uid)| *uid).chain([65534]);
        for uid in strangers {
            for place in ["", "data", "run", "config"] {
                let path = folder.join(place);
                assert!(!as_user(uid, &["ls", &text(&path)])?, "uid {uid} lists {}", path.display());
            }
            for socket in &sockets {
                assert!(
                    !as_user(uid, &["python3", "-c", CONNECT, &text(socket)])?,
                    "uid {uid} opens {}",
                    socket.display()
                );
            }
        }
        // The owner itself is let in: the refusals above are about the uid.
        assert!(as_user(uids[index], &["ls", &text(&folder.join("data"))])?);
    }
    Ok(())
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_listens_on_no_network_port() -> anyhow::Result<()> {
    let mut listening = HashSet::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6", "/proc/net/udp", "/proc/net/udp6"] {
        for line in std::fs::read_to_string(table).unwrap_or_default().lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            // 0A is LISTEN; a bound UDP socket is 07.
            if matches!(fields.get(3), Some(&"0A" | &"07")) {
                listening.insert(format!("socket:[{}]", fields[9]));
            }
        }
    }
    assert!(!listening.is_empty(), "the gateway at least listens");
    five().await?;
    for process in Cloud::shared()?.program("fluvio-cluster") {
        for entry in std::fs::read_dir(format!("/proc/{}/fd", process.pid))? {
            let Ok(target) = std::fs::read_link(entry?.path()) else { continue };
            assert!(!listening.contains(&*target.to_string_lossy()), "{process:?} listens on a port");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_users_certificate_produces_and_consumes_and_changes_no_topic() -> anyhow::Result<()> {
    let tenant = Tenant::new(Cloud::shared()?).await?;
    create_topic(&tenant.admin().await?, "shared-work", 1).await?;
    let key = rcgen::KeyPair::generate()?;
    let request = rcgen::CertificateParams::new(Vec::<String>::new())?.serialize_request(&key)?.pem()?;
    let body = json!({"csr": request, "label": "a worker", "role": "user"});
    let issued = tenant.person.request_certificate(&tenant.cluster.id, &body).await?.expect(201)?.json()?;
    assert_eq!(issued["role"], "user");
    let mut profile = tenant.profile()?;
    let text = |name: &str| issued[name].as_str().expect("a PEM").to_string();
    profile.tls = fluvio::config::TlsCerts {
        domain: tenant.cluster.domain.clone(),
        key: key.serialize_pem(),
        cert: text("certificate"),
        ca_cert: text("ca"),
    }
    .into();

    let client = within("connects", STEP_WITHIN, Fluvio::connect_with_config(&profile)).await?;
    produce(&producer(&client, "shared-work").await?, &[b"done".to_vec()]).await?;
    assert_eq!(read_all(&client, "shared-work", 0, Isolation::ReadCommitted).await?.len(), 1);
    let admin = within("connects", STEP_WITHIN, FluvioAdmin::connect_with_config(&profile)).await?;
    let spec = TopicSpec::new_computed(1, 1, None);
    let refused = [
        within("create", STEP_WITHIN, admin.create("mine".to_string(), false, spec)).await,
        within("delete", STEP_WITHIN, admin.delete::<TopicSpec>("shared-work".to_string())).await,
        within("force", STEP_WITHIN, admin.force_delete::<TopicSpec>("consumer-offset".to_string())).await,
    ];
    for each in refused {
        let said = format!("{:?}", each.expect_err("a user changes no topic"));
        assert!(said.to_lowercase().contains("permission"), "{said}");
    }
    assert!(
        !within("list", STEP_WITHIN, admin.all::<PartitionSpec>()).await?.is_empty(),
        "a user sees partitions"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_in_an_environment_an_argument_or_a_log() -> anyhow::Result<()> {
    let cloud = Cloud::shared()?;
    let tenant = Tenant::of(Person::sign_up(cloud).await?).await?;
    let token = tenant
        .person
        .api
        .post_json("/api/v1/tokens", &json!({"name": "for the search"}))
        .await?
        .expect(201)?;
    let token = token.json()?["token"].as_str().expect("a token").to_string();
    tenant.person.api.with_token(&token).get("/api/v1/clusters").await?.expect(200)?;
    let link = tenant.person.browser.verification_link(&tenant.person.email).await?;
    let credentials = tenant.credentials()?;
    let key_body = credentials.key.lines().nth(1).expect("a PEM").to_string();
    let cookie = tenant.person.browser.cookies().into_values().next().unwrap_or_default();
    let mut secrets = vec![
        tenant.person.password.clone(),
        tenant.person.refresh_token.clone(),
        token,
        link.rsplit('=').next().expect("a token").to_string(),
        key_body,
        "PRIVATE KEY".to_string(),
    ];
    if cookie.len() > 15 {
        secrets.push(cookie);
    }
    if rustix::process::geteuid().is_root() {
        for entry in std::fs::read_dir(cloud.state().join("secrets"))? {
            let content = std::fs::read(entry?.path())?;
            // Of a URL the password is the secret, of a key its text or its hex.
            match std::str::from_utf8(&content) {
                Ok(text) if text.contains("PRIVATE KEY") => {
                    secrets.push(text.lines().nth(1).expect("a PEM").to_string())
                }
                Ok(text) => {
                    secrets.push(text.rsplit("password=").next().expect("a last part").trim().to_string())
                }
                Err(_) => secrets.push(hex::encode(&content)),
            }
        }
    }
    let mut places = vec![("the logs".to_string(), cloud.logs()?)];
    for process in cloud.processes() {
        if !["chromium", "chromedriver"].contains(&process.program()) {
            let environment = process.environment().unwrap_or_default();
            places.push((
                format!("{} ({})", process.program(), process.pid),
                process.arguments.join(" ") + &environment,
            ));
        }
    }
    assert!(places.len() > 6, "every program was looked at");
    for (place, text) in &places {
        for secret in &secrets {
            assert!(secret.len() >= 8, "{secret:?} is too short to be one");
            assert!(!text.contains(secret.as_str()), "{place} holds {}…", &secret[..8]);
        }
    }
    Ok(())
}
