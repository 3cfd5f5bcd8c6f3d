use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use e2e::apart::Apart;
use e2e::cloud::Cloud;
use e2e::history::History;
use e2e::nets::Nets;
use e2e::stream::{STEP_WITHIN, create_copied_topic, read_all};
use e2e::wait::{until, within};
use fluvio::metadata::partition::PartitionSpec;
use fluvio::{
    Fluvio, FluvioAdmin, FluvioClusterConfig, Isolation, RecordKey, TopicProducerConfigBuilder,
    TopicProducerPool,
};
use tokio::task::JoinSet;
use tokio::time::timeout;

const TOPIC: &str = "history";
const WRITERS: usize = 4;
/// An append that is not acknowledged by then may or may not happen.
const APPEND_WITHIN: Duration = Duration::from_secs(10);
/// Between two appends of a writer, so that all of the log can be read again and again.
const PAUSE: Duration = Duration::from_millis(10);

/// What goes wrong between servers; clients reach all of them.
type Fault = fn(&Nets, &str, &str) -> anyhow::Result<()>;

/// By name, with the leader's and a follower's name.
const FAULTS: [(&str, Fault); 8] = [
    ("the leader is alone", |nets, leader, _| nets.cut_off(leader)),
    ("a follower is alone", |nets, _, follower| nets.cut_off(follower)),
    ("nobody hears the leader", |nets, leader, _| nets.cut_out_of(leader)),
    ("the leader hears nobody", |nets, leader, _| nets.cut_into(leader)),
    ("the leader and a follower do not reach each other", |nets, leader, follower| {
        nets.cut(leader, follower)?;
        nets.cut(follower, leader)
    }),
    ("the leader does not reach the SC", |nets, leader, _| nets.cut(leader, "sc")),
    ("the SC is alone", |nets, _, _| nets.cut_off("sc")),
    ("every twentieth packet is lost", |nets, _, _| nets.lose(5)),
];

/// Clients that append and read, and what they saw.
struct Clients {
    profile: FluvioClusterConfig,
    history: Arc<Mutex<History>>,
    tasks: JoinSet<()>,
}

impl Clients {
    fn start(profile: FluvioClusterConfig) -> Clients {
        let history: Arc<Mutex<History>> = Arc::default();
        let mut tasks = JoinSet::new();
        for _ in 0..WRITERS {
            tasks.spawn(append(profile.clone(), Arc::clone(&history)));
        }
        tasks.spawn(read(profile.clone(), Arc::clone(&history)));
        Clients { profile, history, tasks }
    }

    fn acknowledged(&self) -> usize {
        self.history.lock().unwrap_or_else(PoisonError::into_inner).acknowledged()
    }

    async fn go_on(&self, more: usize, what: &str) -> anyhow::Result<()> {
        let goal = self.acknowledged() + more;
        until(what, STEP_WITHIN, async || Ok((self.acknowledged() >= goal).then_some(()))).await
    }

    /// Ends them, and compares what they saw with the log.
    async fn check(mut self) -> anyhow::Result<(usize, usize)> {
        self.tasks.shutdown().await;
        let log = until("the log is read", STEP_WITHIN, async || {
            let client = Fluvio::connect_with_config(&self.profile).await?;
            numbers(&client).await.map(Some)
        })
        .await?;
        self.history.lock().unwrap_or_else(PoisonError::into_inner).check(&log)
    }
}

async fn numbers(client: &Fluvio) -> anyhow::Result<Vec<u64>> {
    let records = read_all(client, TOPIC, 0, Isolation::ReadCommitted).await?;
    records.into_iter().map(|record| Ok(String::from_utf8(record.value)?.parse()?)).collect()
}

/// One record after the other; after an error a new client.
async fn append(profile: FluvioClusterConfig, history: Arc<Mutex<History>>) {
    loop {
        let Ok(Ok(producer)) = timeout(APPEND_WITHIN, connect(&profile)).await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        loop {
            let number = history.lock().unwrap_or_else(PoisonError::into_inner).calls();
            match timeout(APPEND_WITHIN, append_one(&producer, number)).await {
                Ok(Ok(offset)) => {
                    history.lock().unwrap_or_else(PoisonError::into_inner).returns(number, offset);
                }
                _ => break,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn connect(profile: &FluvioClusterConfig) -> anyhow::Result<TopicProducerPool> {
    let client = Fluvio::connect_with_config(profile).await?;
    let config = TopicProducerConfigBuilder::default().linger(Duration::ZERO).build()?;
    client.topic_producer_with_config(TOPIC, config).await
}

async fn append_one(producer: &TopicProducerPool, number: u64) -> anyhow::Result<i64> {
    let output = producer.send(RecordKey::NULL, number.to_string()).await?;
    producer.flush().await?;
    Ok(output.wait().await?.offset())
}

async fn read(profile: FluvioClusterConfig, history: Arc<Mutex<History>>) {
    loop {
        let whole = async { numbers(&Fluvio::connect_with_config(&profile).await?).await };
        if let Ok(Ok(numbers)) = timeout(APPEND_WITHIN, whole).await {
            history.lock().unwrap_or_else(PoisonError::into_inner).reads(numbers);
        }
        tokio::time::sleep(100 * PAUSE).await;
    }
}

/// The leader's name and a follower's, once all copies are in sync.
async fn whole(admin: &FluvioAdmin) -> anyhow::Result<(String, String)> {
    let name = |spu: i32| format!("main-{}", spu - 5001);
    until("all copies are in sync", STEP_WITHIN, async || {
        let found = within("partitions", STEP_WITHIN, admin.all::<PartitionSpec>()).await?;
        let found = found.iter().find(|found| found.name == format!("{TOPIC}-0")).context("the partition")?;
        let leader = found.spec.leader;
        let follower = found.spec.replicas.iter().find(|spu| **spu != leader).context("a follower")?;
        Ok((found.status.lsr == 3).then(|| (name(leader), name(*follower))))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_servers_are_cut_off_from_one_log_explains_what_all_clients_saw() -> anyhow::Result<()> {
    let _turn = Cloud::turn().await;
    let apart = Apart::start_in_nets(3).await?;
    let nets = apart.nets()?;
    let profile = apart.profile()?;
    let admin = within("admin", STEP_WITHIN, FluvioAdmin::connect_with_config(&profile)).await?;
    create_copied_topic(&admin, TOPIC, 1, 3).await?;
    let clients = Clients::start(profile);
    clients.go_on(50, "clients have begun").await?;
    let rounds: usize = std::env::var("FLUVIO_CLOUD_PARTITIONS").map_or(Ok(1), |rounds| rounds.parse())?;
    for round in 0..rounds {
        for (what, fault) in FAULTS {
            let (leader, follower) = whole(&admin).await.context(what)?;
            fault(nets, &leader, &follower)?;
            let begun = std::time::Instant::now();
            clients.go_on(50, what).await.with_context(|| apart.logs())?;
            println!("round {round}: {what}: went on after {:?}", begun.elapsed());
            nets.heal()?;
        }
    }
    whole(&admin).await?;
    let (appends, reads) = clients.check().await.with_context(|| apart.logs())?;
    println!("{appends} appends and {reads} reads: one log explains them");
    Ok(())
}
