use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use e2e::border::Border;
use e2e::cloud::Cloud;
use e2e::fleet::Fleet;
use e2e::http::{Answer, Ask};
use e2e::person::Person;
use e2e::region::{Region, Site};
use e2e::wait::until;
use futures_util::future::try_join_all;
use hyper::Method;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

/// Clusters in a usual run; `FLUVIO_CLOUD_CHURN` gives another number.
const CLUSTERS: u64 = 30;
/// What a node of two cores bears at a time.
const AT_A_TIME: usize = 6;
/// The longest that one change takes while the provisioner is killed again and again.
const SETTLED_WITHIN: Duration = Duration::from_secs(300);
/// Milliseconds that a provisioner lives.
const LIVES: std::ops::Range<u64> = 2_000..12_000;

fn number(name: &str, usual: u64) -> anyhow::Result<u64> {
    std::env::var(name).map_or(Ok(usual), |text| Ok(text.parse()?))
}

/// A region in which clusters come and go.
struct Churn {
    cloud: Cloud,
    region: Region,
    border: Border,
    seed: u64,
    clusters: u64,
    next: AtomicU64,
    made: RefCell<BTreeSet<(Uuid, String)>>,
    volumes: RefCell<BTreeSet<String>>,
    routed: AtomicU64,
}

impl Churn {
    async fn start() -> anyhow::Result<Churn> {
        let fleet = Fleet::shared()?;
        let cloud = Cloud::start("churn", &["--delete-grace-seconds", "0"])?;
        let border = Border::open(&cloud, "churn")?;
        let site = Site { gateway: Some(border.address), ..fleet.site(fleet.kubeconfig().to_path_buf()) };
        let region = Region::new(&cloud, "churn", site).await?;
        region.start()?;
        Ok(Churn {
            cloud,
            region,
            border,
            seed: number("FLUVIO_CLOUD_SEED", rand::rng().random())?,
            clusters: number("FLUVIO_CLOUD_CHURN", CLUSTERS)?,
            next: AtomicU64::new(0),
            made: RefCell::default(),
            volumes: RefCell::default(),
            routed: AtomicU64::new(0),
        })
    }

    /// One tenant, who makes a cluster when the last one is gone, until there were enough.
    async fn tenant(&self) -> anyhow::Result<()> {
        let person = Person::sign_up(&self.cloud).await?;
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.clusters {
                return Ok(());
            }
            self.life(&person, number).await.with_context(|| format!("cluster {number}"))?;
        }
    }

    /// A cluster from its first day to its last, as the seed wants it.
    async fn life(&self, person: &Person, number: u64) -> anyhow::Result<()> {
        let mut dice = StdRng::seed_from_u64(self.seed.wrapping_add(number));
        let wanted =
            json!({ "name": format!("c{number}"), "region": "churn", "spus": dice.random_range(1..=2) });
        let made = person.api.post_json("/api/v1/clusters", &wanted).await?.expect(201)?.json()?;
        let text = |name: &str| made[name].as_str().map(str::to_string).context("a text");
        let (id, domain) = (text("id")?, text("domain")?);
        self.made.borrow_mut().insert((id.parse()?, domain.clone()));
        let path = format!("/api/v1/clusters/{id}");
        for _ in 0..dice.random_range(0..4) {
            if dice.random_bool(0.6) {
                self.settled(person, &path, &domain).await?;
            }
            let (method, place, body) = match dice.random_range(0..3) {
                0 => (Method::PATCH, path.clone(), json!({ "spus": dice.random_range(1..=2) })),
                1 => (Method::POST, format!("{path}/pause"), json!({})),
                _ => (Method::POST, format!("{path}/resume"), json!({})),
            };
            // A change that makes no sense now, such as pausing twice, is refused, and that is well.
            let answer = person.api.ask(Ask::new(method, &place).json(&body)).await?;
            ensure!(
                answer.status.is_success() || answer.status == 409,
                "{}: {}",
                answer.status,
                answer.text()
            );
        }
        if dice.random_bool(0.5) {
            self.settled(person, &path, &domain).await?;
        }
        person.api.delete(&path).await?.expect(202)?;
        until("the cluster is gone", SETTLED_WITHIN, async || {
            let answer = person.api.get(&path).await?;
            ensure!(answer.status == 404, "{}", state_of(&answer)?);
            Ok(Some(()))
        })
        .await
    }

    /// Waits until the cluster is what it was last wanted to be.
    async fn settled(&self, person: &Person, path: &str, domain: &str) -> anyhow::Result<()> {
        until("the cluster settles", SETTLED_WITHIN, async || {
            let state = state_of(&person.api.get(path).await?.expect(200)?)?;
            if state.starts_with("running") && self.border.routes().contains(domain) {
                self.routed.fetch_add(1, Ordering::Relaxed);
                return Ok(Some(()));
            }
            ensure!(state.starts_with("paused"), "{state}");
            Ok(Some(()))
        })
        .await
    }

    /// Kills the provisioner at any moment and starts another, without end. Sometimes the other must wait for the
    /// leases of the killed one.
    async fn kill(&self) -> anyhow::Result<()> {
        let mut dice = StdRng::seed_from_u64(self.seed);
        loop {
            tokio::time::sleep(Duration::from_millis(dice.random_range(LIVES))).await;
            self.note_volumes().await?;
            self.region.kill();
            if dice.random_bool(0.8) {
                self.region.end_leases(&self.cloud).await?;
            }
            self.region.start()?;
        }
    }

    fn namespaces(&self) -> BTreeSet<String> {
        self.made.borrow().iter().map(|(id, _)| Fleet::namespace(&id.to_string())).collect()
    }

    /// Remembers which volumes these clusters had.
    async fn note_volumes(&self) -> anyhow::Result<()> {
        let text = Fleet::shared()?.kubectl(&["get", "persistentvolumes", "-o", "json"]).await?;
        let list: Value = serde_json::from_str(&text)?;
        let namespaces = self.namespaces();
        let ours = |volume: &&Value| {
            volume["spec"]["claimRef"]["namespace"].as_str().is_some_and(|name| namespaces.contains(name))
        };
        let names = list["items"].as_array().into_iter().flatten().filter(ours);
        let names = names.filter_map(|volume| volume["metadata"]["name"].as_str().map(str::to_string));
        self.volumes.borrow_mut().extend(names);
        Ok(())
    }

    /// Fails with what is left of the clusters.
    async fn nothing_is_left(&self) -> anyhow::Result<()> {
        let fleet = Fleet::shared()?;
        let kinds = [
            "get",
            "namespaces,persistentvolumes,persistentvolumeclaims,pods",
            "--all-namespaces",
            "-o",
            "json",
        ];
        let objects = fleet.kubectl(&kinds).await?;
        for namespace in self.namespaces() {
            ensure!(!objects.contains(&namespace), "{namespace} is still named by an object");
        }
        for volume in self.volumes.borrow().iter() {
            ensure!(!fleet.state().join("volumes").join(volume).exists(), "the volume {volume} has a folder");
        }
        let (ids, domains): (Vec<Uuid>, Vec<String>) = self.made.borrow().iter().cloned().unzip();
        for table in self.tables().await? {
            let statement = format!("SELECT count(*) FROM {table} WHERE cluster_id = ANY($1)");
            let count = sqlx::query_as(AssertSqlSafe(statement)).bind(&ids);
            let (rows,): (i64,) = count.fetch_one(&mut self.cloud.database().await?).await?;
            ensure!(rows == 0, "{rows} rows are left in {table}");
        }
        let routes = self.border.routes();
        ensure!(!domains.iter().any(|domain| routes.contains(domain)), "a route is left: {routes}");
        Ok(())
    }

    /// The tables that know of clusters. The log of certificates stays.
    async fn tables(&self) -> anyhow::Result<Vec<String>> {
        let statement = "SELECT table_name::text FROM information_schema.columns
                         WHERE table_schema = 'public' AND column_name = 'cluster_id' AND table_name <> 'certificates'";
        let rows: Vec<(String,)> =
            sqlx::query_as(statement).fetch_all(&mut self.cloud.database().await?).await?;
        ensure!(rows.len() >= 6, "{rows:?}");
        Ok(rows.into_iter().map(|(name,)| name).collect())
    }
}

fn state_of(answer: &Answer) -> anyhow::Result<String> {
    let cluster = answer.json()?;
    Ok(format!("{} {}", cluster["state"].as_str().unwrap_or_default(), cluster["reason"]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clusters_that_come_and_go_while_their_provisioner_is_killed_leave_nothing() -> anyhow::Result<()> {
    let _turn = Cloud::turn().await;
    let churn = Churn::start().await?;
    println!("{} clusters with FLUVIO_CLOUD_SEED={}", churn.clusters, churn.seed);
    let begun = Instant::now();
    let tenants = try_join_all((0..AT_A_TIME).map(|_| churn.tenant()));
    tokio::select! {
        done = tenants => drop(done.with_context(|| churn.region.end_of_log())?),
        killed = churn.kill() => killed?,
    }
    let took = begun.elapsed();
    // The killer may have been stopped between its two steps.
    churn.region.kill();
    churn.region.start()?;
    until("nothing is left", Duration::from_secs(120), async || churn.nothing_is_left().await.map(Some))
        .await?;
    let volumes = churn.volumes.borrow().len();
    let routed = churn.routed.load(Ordering::Relaxed);
    assert!(volumes > 0 && routed > 0, "{volumes} volumes and {routed} routes were seen");
    println!(
        "{} clusters came and went in {took:.0?}; {volumes} volumes and {routed} routes seen, none left",
        churn.clusters
    );
    Ok(())
}
