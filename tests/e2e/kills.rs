use std::time::Duration;

use anyhow::{Context, ensure};
use e2e::cloud::Cloud;
use e2e::hammer::{Hammer, Ledger};
use e2e::node::{Node, Owner};
use e2e::stream::{STEP_WITHIN, create_topic, read_all};
use e2e::wait::within;
use fluvio::{Fluvio, FluvioAdmin, Isolation};
use rand::RngExt;

const KILLS: u32 = 60;
const TOPIC: &str = "killed";

/// The process dies at any moment of its work, its start included; what it had promised is there each time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_at_any_moment_loses_nothing_acknowledged() -> anyhow::Result<()> {
    let _turn = Cloud::turn().await;
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let owner = Owner::new()?;
    let ledger = Ledger::default();
    let mut felt = 0;
    for kill in 0..=KILLS {
        let node = Node::start(&owner, &data, u64::from(kill) + 1, "disk").await?;
        if kill == 0 {
            let admin =
                within("admin", STEP_WITHIN, FluvioAdmin::connect_with_config(&node.profile())).await?;
            create_topic(&admin, TOPIC, 1).await?;
        } else {
            let client = within("client", STEP_WITHIN, Fluvio::connect_with_config(&node.profile())).await?;
            let records = read_all(&client, TOPIC, 0, Isolation::ReadUncommitted).await?;
            ledger.check(&records).with_context(|| format!("after kill {kill}"))?;
        }
        if kill == KILLS {
            break;
        }
        let hammer = Hammer::go_on(&node, &owner, TOPIC, ledger.clone())?;
        // Faults come at any time.
        tokio::time::sleep(Duration::from_millis(rand::rng().random_range(5..150))).await;
        node.process()?.kill()?;
        felt += u32::from(hammer.finish().is_err());
    }
    ensure!(felt > KILLS / 2, "only {felt} of {KILLS} kills met the writer at work");
    ensure!(ledger.acknowledged() > 1_000, "only {} records were acknowledged", ledger.acknowledged());
    println!(
        "{KILLS} kills, {} acknowledged records: none lost, none altered, no hole",
        ledger.acknowledged()
    );
    Ok(())
}
