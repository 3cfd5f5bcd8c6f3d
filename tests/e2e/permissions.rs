use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use e2e::cloud::Cloud;
use e2e::http::Ask;
use e2e::raw::{self, Cut};
use e2e::stream::{STEP_WITHIN, create_topic, produce, producer, read_all};
use e2e::tenant::{Ran, Tenant};
use e2e::visitor::unescape;
use e2e::wait::{until, within};
use e2e::wire;
use fluvio::config::{ConfigFile, TlsConfig, TlsPolicy};
use fluvio::metadata::partition::PartitionSpec;
use fluvio::metadata::topic::TopicSpec;
use fluvio::{Fluvio, FluvioAdmin, FluvioClusterConfig, Isolation};
use hyper::Method;
use serde_json::{Value, json};

/// Upstream's code for what is not permitted.
const DENIED: i16 = 13;
/// A change of rules has to act within a second; a machine under load may take longer.
const ACTS_WITHIN: Duration = Duration::from_secs(10);

/// A certificate with rules, and the published client that shows it.
struct Limited {
    id: String,
    file: PathBuf,
    config: FluvioClusterConfig,
}

impl Limited {
    /// `fluvio cloud certificate create`, literally.
    async fn create(tenant: &Tenant, name: &str, allow: &[&str]) -> anyhow::Result<Limited> {
        let file = tenant.home.path().join(format!("{name}.toml"));
        let path = file.display().to_string();
        let mut words = vec!["cloud", "certificate", "create", &tenant.cluster.name, "--file", &path];
        allow.iter().for_each(|rule| words.extend(["--allow", rule]));
        tenant.fluvio(&words).await?.succeed()?;
        let label = format!("{name}.toml");
        let listed = tenant.person.certificates(&tenant.cluster.id).await?;
        let of_label = listed.iter().find(|each| each["label"] == json!(label)).context("not listed")?;
        let id = of_label["id"].as_str().context("an id")?.to_owned();
        let config = profile(&file)?;
        Ok(Limited { id, file, config })
    }

    async fn client(&self) -> anyhow::Result<Fluvio> {
        within("the client connects", STEP_WITHIN, Fluvio::connect_with_config(&self.config)).await
    }

    async fn admin(&self) -> anyhow::Result<FluvioAdmin> {
        within("the admin connects", STEP_WITHIN, FluvioAdmin::connect_with_config(&self.config)).await
    }

    /// A connection to the SPU, made by hand.
    fn raw(&self) -> anyhow::Result<raw::Stream> {
        let TlsPolicy::Verified(TlsConfig::Inline(certs)) = self.config.tls.clone() else {
            anyhow::bail!("the profile has no inline certificates");
        };
        let config = raw::configuration(&certs.ca_cert, Some((&certs.cert, &certs.key)))?;
        raw::connect(Cloud::shared()?.gateway()?, &format!("main-0.{}", certs.domain), config, Cut::Whole)
    }

    /// Our command line with this profile.
    async fn fluvio(&self, tenant: &Tenant, words: &[&str]) -> anyhow::Result<Ran> {
        let mut command = tenant.command("fluvio")?;
        let child =
            command.args(words).env("FLV_PROFILE_PATH", &self.file).stdin(std::process::Stdio::null());
        let output = within("the command", STEP_WITHIN, child.output()).await?;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok(Ran { code: output.status.code(), stdout: output.stdout, stderr })
    }

    fn path(&self, tenant: &Tenant) -> String {
        format!("/api/v1/clusters/{}/certificates/{}", tenant.cluster.id, self.id)
    }

    async fn change(&self, tenant: &Tenant, body: &Value) -> anyhow::Result<Value> {
        let ask = Ask::new(Method::PATCH, &self.path(tenant)).json(body);
        tenant.person.api.ask(ask).await?.expect(200)?.json()
    }
}

fn profile(file: &Path) -> anyhow::Result<FluvioClusterConfig> {
    let config = ConfigFile::load(Some(file.display().to_string()))?;
    Ok(config.config().current_cluster()?.clone())
}

/// The owner's topics, each with a record.
async fn topics(tenant: &Tenant, names: &[&str]) -> anyhow::Result<()> {
    let (admin, client) = (tenant.admin().await?, tenant.client().await?);
    for name in names {
        create_topic(&admin, name, 1).await?;
        produce(&producer(&client, name).await?, &[b"of the owner".to_vec()]).await?;
    }
    Ok(())
}

/// The code with which the SPU answers a record for a topic.
fn produced(spu: &mut raw::Stream, topic: &str) -> anyhow::Result<i16> {
    let records = wire::batch(0, 1, &wire::records(&[wire::record(b"by hand")]));
    wire::send(spu, &wire::produce(1, topic, 0, &records))?;
    let (_, body) = wire::receive(spu)?.context("closed")?;
    Ok(wire::produce_outcome(&body)?.0)
}

/// The code of the next slice of a stream.
fn slice(spu: &mut raw::Stream, topic: &str) -> anyhow::Result<i16> {
    let (_, body) = wire::receive(spu)?.context("closed")?;
    // Topic, stream, partition, code.
    let at = 2 + topic.len() + 4 + 4;
    Ok(i16::from_be_bytes(body.get(at..at + 2).context("a short slice")?.try_into()?))
}

/// Waits until records for these topics are answered with these codes.
async fn becomes(spu: &mut raw::Stream, expected: &[(&str, i16)]) -> anyhow::Result<()> {
    until("the changed rules are in force", ACTS_WITHIN, async || {
        let seen =
            expected.iter().map(|(topic, _)| produced(spu, topic)).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(expected.iter().map(|(_, code)| *code).eq(seen).then_some(()))
    })
    .await
}

fn consumed(spu: &mut raw::Stream, topic: &str) -> anyhow::Result<i16> {
    wire::send(spu, &wire::stream_fetch(2, topic, 0, 0, 1 << 20))?;
    slice(spu, topic)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restricted_certificate_does_only_what_its_rules_give() -> anyhow::Result<()> {
    let tenant = Tenant::new(Cloud::shared()?).await?;
    topics(&tenant, &["orders-a", "secret"]).await?;
    let press = Limited::create(&tenant, "press", &["produce:orders-*"]).await?;
    let (client, admin) = (press.client().await?, press.admin().await?);

    assert_eq!(produce(&producer(&client, "orders-a").await?, &[b"one".to_vec()]).await?, [1]);
    // The published client takes the refusal for the end of the partition.
    let read = read_all(&client, "orders-a", 0, Isolation::ReadCommitted).await.unwrap_or_default();
    assert!(read.is_empty(), "consuming was not allowed: {read:?}");
    let seen = within("the topics", STEP_WITHIN, admin.all::<TopicSpec>()).await?;
    assert_eq!(seen.iter().map(|topic| topic.name.as_str()).collect::<Vec<_>>(), ["orders-a"]);
    let seen = within("the partitions", STEP_WITHIN, admin.all::<PartitionSpec>()).await?;
    assert_eq!(seen.iter().map(|partition| partition.name.as_str()).collect::<Vec<_>>(), ["orders-a-0"]);
    for name in ["orders-new", "mine", "secret"] {
        let refused = create_topic(&admin, name, 1).await.expect_err("creating was not allowed");
        assert!(format!("{refused:#}").contains("permission denied"), "{name}: {refused:#}");
    }
    let delete = admin.delete::<TopicSpec>("orders-a".to_owned());
    assert!(within("the refusal", STEP_WITHIN, delete).await.is_err(), "deleting was not allowed");

    // Asked by hand, the SPU tells of no difference between a topic that is not given and one that is not there.
    let mut spu = press.raw()?;
    assert_eq!((produced(&mut spu, "orders-a")?, consumed(&mut spu, "orders-a")?), (0, DENIED));
    for topic in ["secret", "nowhere"] {
        assert_eq!((produced(&mut spu, topic)?, consumed(&mut spu, topic)?), (DENIED, DENIED), "{topic}");
    }
    let listed = press.fluvio(&tenant, &["topic", "list"]).await?.succeed()?.text();
    assert!(listed.contains("orders-a") && !listed.contains("secret"), "{listed}");
    assert_ne!(press.fluvio(&tenant, &["consume", "secret", "-B", "-d"]).await?.code, Some(0));

    // The owner has everything as ever, and sees what was given.
    let owner = tenant.client().await?;
    assert_eq!(read_all(&owner, "orders-a", 0, Isolation::ReadCommitted).await?.len(), 3);
    assert_eq!(read_all(&owner, "secret", 0, Isolation::ReadCommitted).await?.len(), 1);
    let list = ["cloud", "certificate", "list", &tenant.cluster.name];
    let table = tenant.fluvio(&list).await?.succeed()?.text();
    let line = table.lines().find(|line| line.contains("press.toml")).context("not in the list")?;
    assert!(line.contains("produce:orders-*"), "{line}");
    let found = tenant.fluvio(&[&list[..], &["-O", "json"]].concat()).await?.succeed()?.text();
    let found: Vec<Value> = serde_json::from_str(&found)?;
    let own = found.iter().find(|each| each["id"] == json!(press.id)).context("not in the list")?;
    assert_eq!(own["rules"], json!([{"topics": "orders-*", "rights": ["produce"]}]));
    assert!(own["role"].is_null());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_changed_in_the_portal_act_on_living_connections() -> anyhow::Result<()> {
    let tenant = Tenant::new(Cloud::shared()?).await?;
    topics(&tenant, &["orders-a", "secret"]).await?;
    let owner = tenant.client().await?;
    let owners = producer(&owner, "orders-a").await?;
    let limited = Limited::create(&tenant, "changing", &["produce,consume:orders-a"]).await?;
    let client = limited.client().await?;
    let mut spu = limited.raw()?;
    let mut streaming = limited.raw()?;
    assert_eq!(produced(&mut spu, "orders-a")?, 0);
    assert_eq!(consumed(&mut streaming, "orders-a")?, 0);

    // Taken: an open stream is told, and nothing else of the connection is touched.
    let secret = json!({"rules": [{"topics": "secret", "rights": ["consume"]}]});
    let asked = Instant::now();
    let changed = limited.change(&tenant, &secret).await?;
    assert_eq!((&changed["rules"], &changed["certificates"]), (&secret["rules"], &json!(1)));
    assert_eq!(slice(&mut streaming, "orders-a")?, DENIED);
    println!("the stream ended {:?} after the change was asked for", asked.elapsed());
    assert_eq!(produced(&mut spu, "orders-a")?, DENIED);
    assert_eq!(consumed(&mut streaming, "secret")?, 0);
    // And the published client, connected before, reads what it did not see before.
    assert_eq!(read_all(&client, "secret", 0, Isolation::ReadCommitted).await?.len(), 1);

    // By the command line.
    let words =
        ["cloud", "certificate", "update", &tenant.cluster.name, &limited.id, "--allow", "produce:orders-*"];
    let said = tenant.fluvio(&words).await?.succeed()?.text();
    assert!(said.contains("produce:orders-*"), "{said}");
    becomes(&mut spu, &[("orders-a", 0), ("secret", DENIED)]).await?;

    // On the page, which keeps what was typed when it makes no sense.
    let browser = &tenant.person.browser;
    browser.sign_in(&tenant.person.email, &tenant.person.password).await?;
    let page = format!("/clusters/{}/rights/{}", tenant.cluster.id, limited.id);
    let shown = unescape(&browser.get(&page).await?.expect(200)?.text());
    assert!(shown.contains("produce:orders-*</textarea>"), "{shown}");
    let form = browser.form(&page, "/rights/").await?;
    let wrong =
        browser.submit(&form, &[("rights", "rules"), ("rules", "produce:Orders")]).await?.expect(422)?;
    let wrong = unescape(&wrong.text());
    assert!(wrong.contains("produce:Orders</textarea>") && wrong.contains("names no topic"), "{wrong}");
    assert_eq!(produced(&mut spu, "orders-a")?, 0, "nothing was changed");
    browser.submit(&form, &[("rights", "user")]).await?.expect(303)?;
    becomes(&mut spu, &[("orders-a", 0), ("secret", 0)]).await?;

    // Revoked, it opens nothing any more, whatever its rules; and its rights cannot be changed.
    tenant.person.revoke(&tenant.cluster.id, &limited.id).await?;
    until("it is cut off", ACTS_WITHIN, async || Ok(produced(&mut spu, "orders-a").is_err().then_some(())))
        .await?;
    let ask = Ask::new(Method::PATCH, &limited.path(&tenant)).json(&json!({"role": "admin"}));
    tenant.person.api.ask(ask).await?.expect(409)?;
    assert_eq!(
        produce(&owners, &[b"as ever".to_vec()]).await?.len(),
        1,
        "the owner's connection was touched"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_profile_with_rules_comes_from_the_page_and_logins_keep_their_rights() -> anyhow::Result<()> {
    let tenant = Tenant::new(Cloud::shared()?).await?;
    topics(&tenant, &["orders-a", "secret"]).await?;
    let browser = &tenant.person.browser;
    browser.sign_in(&tenant.person.email, &tenant.person.password).await?;
    let page = format!("/clusters/{}/profile", tenant.cluster.id);
    let form = browser.form(&page, "/profile").await?;
    browser.submit(&form, &[("rights", "rules"), ("rules", " ")]).await?.expect(422)?;
    let rules = "consume:orders-*\r\n\r\nproduce:orders-a\r\n";
    let answer = browser.submit(&form, &[("rights", "rules"), ("rules", rules)]).await?.expect(200)?;
    let file = tenant.home.path().join("page.toml");
    std::fs::write(&file, &answer.body)?;
    let config = profile(&file)?;
    let client = within("the client connects", STEP_WITHIN, Fluvio::connect_with_config(&config)).await?;
    assert_eq!(read_all(&client, "orders-a", 0, Isolation::ReadCommitted).await?.len(), 1);
    let admin = within("the admin connects", STEP_WITHIN, FluvioAdmin::connect_with_config(&config)).await?;
    let seen = within("the topics", STEP_WITHIN, admin.all::<TopicSpec>()).await?;
    assert_eq!(seen.iter().map(|topic| topic.name.as_str()).collect::<Vec<_>>(), ["orders-a"]);
    let cluster =
        unescape(&browser.get(&format!("/clusters/{}", tenant.cluster.id)).await?.expect(200)?.text());
    assert!(cluster.contains("consume:orders-*") && cluster.contains("produce:orders-a"), "{cluster}");

    // The login's own rights, changed, are those of all logins so far; the next one has full rights again.
    let own = tenant.person.certificates(&tenant.cluster.id).await?;
    let own = own.iter().find(|each| each["role"] == json!("admin")).context("the login's certificate")?;
    let path = format!(
        "/api/v1/clusters/{}/certificates/{}",
        tenant.cluster.id,
        own["id"].as_str().context("an id")?
    );
    let ask = Ask::new(Method::PATCH, &path).json(&json!({"role": "user"}));
    tenant.person.api.ask(ask).await?.expect(200)?;
    assert!(create_topic(&tenant.admin().await?, "mine", 1).await.is_err(), "a user makes no topic");
    tenant.fluvio(&["cloud", "cluster", "sync", &tenant.cluster.name, "--renew"]).await?.succeed()?;
    create_topic(&tenant.admin().await?, "mine", 1).await?;
    let back = Ask::new(Method::PATCH, &path).json(&json!({"role": "admin"}));
    tenant.person.api.ask(back).await?.expect(200)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_that_make_no_sense_are_refused_with_a_reason() -> anyhow::Result<()> {
    let tenant = Tenant::new(Cloud::shared()?).await?;
    let limited = Limited::create(&tenant, "odd", &["produce:a"]).await?;
    let rule = |topics: &str, rights: &[&str]| json!({"topics": topics, "rights": rights});
    let many: Vec<Value> = (0..65).map(|n| rule(&format!("t{n}"), &["produce"])).collect();
    for (body, status, said) in [
        (json!({"rules": []}), 422, "no rule"),
        (json!({"rules": [rule("Orders", &["produce"])]}), 422, "Rule 1"),
        (json!({"rules": [rule("a", &["produce"]), rule("a*b", &["produce"])]}), 422, "Rule 2"),
        (json!({"rules": [rule(&"a".repeat(64), &["produce"])]}), 422, "63 characters"),
        (json!({"rules": [rule("a", &["write"])]}), 422, "is not a right"),
        (json!({"rules": [rule("a", &[])]}), 422, "is not a right"),
        (json!({"rules": [rule("", &["produce"])]}), 422, "names a topic"),
        (json!({"rules": many}), 422, "more than 64"),
        (json!({"rules": [rule("a", &["produce"])], "role": "user"}), 422, "not both"),
        (json!({"role": "owner"}), 422, "admin or user"),
        (json!({}), 422, "nothing to change"),
        (json!({"rules": "produce:a"}), 400, "JSON"),
        (json!({"rules": [{"topics": "a", "rights": ["produce"], "more": 1}]}), 400, "JSON"),
    ] {
        let ask = Ask::new(Method::PATCH, &limited.path(&tenant)).json(&body);
        let answer = tenant.person.api.ask(ask).await?.expect(status)?.json()?;
        let detail = answer["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(said), "{body}: {detail}");
        assert!(answer["fix"].as_str().is_some_and(|fix| !fix.is_empty()), "{body}: no next step");
    }
    let listed = tenant.person.certificates(&tenant.cluster.id).await?;
    let own = listed.iter().find(|each| each["id"] == json!(limited.id)).context("not listed")?;
    assert_eq!(own["rules"], json!([rule("a", &["produce"])]));
    let words = ["cloud", "certificate", "create", "main", "--file", "x.toml", "--allow", "write:a"];
    let refused = tenant.fluvio(&words).await?;
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stderr.contains("is not a right") && refused.stderr.contains("fix:"),
        "{}",
        refused.stderr
    );
    let again = limited.file.display().to_string();
    let refused =
        tenant.fluvio(&["cloud", "certificate", "create", &tenant.cluster.name, "--file", &again]).await?;
    assert!(refused.code == Some(1) && refused.stderr.contains("exists"), "{}", refused.stderr);
    Ok(())
}
