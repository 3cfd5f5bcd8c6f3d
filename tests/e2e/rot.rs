use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use e2e::apart::Apart;
use e2e::cloud::Cloud;
use e2e::stream::{Read, STEP_WITHIN, create_copied_topic, create_topic, produce, producer, read, read_all};
use e2e::wait::{until, within};
use fluvio::consumer::ConsumerConfigExtBuilder;
use fluvio::metadata::partition::PartitionSpec;
use fluvio::{Fluvio, FluvioAdmin, Isolation, Offset};

/// Every segment is looked at this often, where nobody reads.
const OFTEN: &str = "[spu.scrub]\nperiod_seconds = 2\n";

/// Some times that, and what a busy machine adds.
const MENDED_WITHIN: Duration = Duration::from_secs(60);

const SPUS: [&str; 3] = ["main-0", "main-1", "main-2"];

async fn connect(apart: &Apart) -> anyhow::Result<(FluvioAdmin, Fluvio)> {
    let profile = apart.profile()?;
    let admin = within("admin", STEP_WITHIN, FluvioAdmin::connect_with_config(&profile)).await?;
    Ok((admin, within("client", STEP_WITHIN, Fluvio::connect_with_config(&profile)).await?))
}

/// More than an SPU keeps in memory for those who read at the end.
fn values(n: usize) -> Vec<Vec<u8>> {
    (0..n).map(|number| format!("{number:01000}").into_bytes()).collect()
}

fn values_of(records: Vec<Read>) -> Vec<Vec<u8>> {
    records.into_iter().map(|record| record.value).collect()
}

/// Flips a bit of a file that a server has open, at this part of its length; returns the file as it was.
fn flip(file: &Path, part: f64) -> anyhow::Result<Vec<u8>> {
    let whole = std::fs::read(file)?;
    let at = (whole.len() as f64 * part) as usize;
    let open = std::fs::OpenOptions::new().write(true).open(file)?;
    open.write_all_at(&[whole[at] ^ 4], at as u64)?;
    Ok(whole)
}

async fn whole_again(file: &Path, whole: &[u8]) -> anyhow::Result<()> {
    let what = format!("{} is whole again", file.display());
    until(&what, MENDED_WITHIN, async || Ok((std::fs::read(file)? == whole).then_some(()))).await
}

/// A number that an SPU tells of itself.
async fn number(apart: &Apart, spu: &str, name: &str) -> anyhow::Result<u64> {
    let (_, page) = apart.probe(spu, "/metrics").await?;
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(line.with_context(|| format!("{spu} does not tell {name}"))?.parse()?)
}

fn said(apart: &Apart, spu: &str, what: &str) -> usize {
    apart.log(spu).matches(what).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bit_that_flips_on_any_copy_is_found_and_mended_byte_for_byte() -> anyhow::Result<()> {
    let _turn = Cloud::turn().await;
    let apart = Apart::start_with(3, OFTEN).await?;
    let (admin, client) = connect(&apart).await?;
    create_copied_topic(&admin, "rot", 1, 3).await?;
    let (to, sent) = (producer(&client, "rot").await?, values(2_000));
    produce(&to, &sent[..1_900]).await?;
    // One after the other, so the leader as well; then all three at once, at different places.
    let mut files = Vec::new();
    for spu in SPUS {
        let file = apart.log_file(spu, "rot", 0)?;
        let whole = flip(&file, 0.5)?;
        whole_again(&file, &whole).await.with_context(|| apart.log(spu))?;
        files.push((file, whole));
    }
    for ((file, _), part) in files.iter().zip([0.1, 0.4, 0.8]) {
        flip(file, part)?;
    }
    for (file, whole) in &files {
        whole_again(file, whole).await?;
    }
    ensure!(files.iter().all(|(_, whole)| whole[36..] == files[0].1[36..]), "copies differ");
    for spu in SPUS {
        until("it counts what it mended", STEP_WITHIN, async || {
            let mended = number(&apart, spu, "fluvio_damage_mended_total").await?;
            let left = number(&apart, spu, "fluvio_damaged_places").await?;
            Ok((mended == 2 && left == 0).then_some(()))
        })
        .await?;
        ensure!(number(&apart, spu, "fluvio_scrubbed_bytes_total").await? > files[0].1.len() as u64);
        ensure!(said(&apart, spu, "stored records are damaged") == 2, "{}", apart.log(spu));
    }
    produce(&to, &sent[1_900..]).await?;
    let (_, client) = connect(&apart).await?;
    let found = read_all(&client, "rot", 0, Isolation::ReadCommitted).await?;
    ensure!(values_of(found) == sent, "other records than were sent");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_who_meets_a_flipped_bit_notices_nothing() -> anyhow::Result<()> {
    let _turn = Cloud::turn().await;
    // Looked at once a week: nobody but the reader finds it.
    let apart = Apart::start(3).await?;
    let (admin, client) = connect(&apart).await?;
    create_copied_topic(&admin, "read", 1, 3).await?;
    let sent = values(2_000);
    produce(&producer(&client, "read").await?, &sent).await?;
    let partitions = admin.list::<PartitionSpec, String>(Vec::new());
    let partitions = within("the partitions", STEP_WITHIN, partitions).await?;
    let leader = partitions.iter().find(|each| each.name == "read-0").context("no read-0")?.spec.leader;
    let spu = format!("main-{}", leader - 5001);
    let file = apart.log_file(&spu, "read", 0)?;
    let whole = flip(&file, 0.3)?;
    let found = read_all(&client, "read", 0, Isolation::ReadCommitted).await?;
    ensure!(values_of(found) == sent, "other records than were sent");
    ensure!(std::fs::read(&file)? == whole, "the file is not mended");
    ensure!(said(&apart, &spu, "stored records are damaged") == 1, "{}", apart.log(&spu));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_another_copy_a_reader_hears_of_it_and_everything_else_is_read() -> anyhow::Result<()> {
    let _turn = Cloud::turn().await;
    let apart = Apart::start_with(1, OFTEN).await?;
    let (admin, client) = connect(&apart).await?;
    create_topic(&admin, "alone", 1).await?;
    create_topic(&admin, "other", 1).await?;
    let sent = values(2_000);
    for topic in ["alone", "other"] {
        produce(&producer(&client, topic).await?, &sent).await?;
    }
    let file = apart.log_file("main-0", "alone", 0)?;
    flip(&file, 0.5)?;
    let rotten = std::fs::read(&file)?;
    until("it is found", MENDED_WITHIN, async || {
        Ok((number(&apart, "main-0", "fluvio_damaged_places").await? == 1).then_some(()))
    })
    .await?;
    // The SC hears of it, and has nothing against the rest being used.
    until("the cluster's health says so", STEP_WITHIN, async || {
        let health = apart.health().await?;
        ensure!(health["ready"] == true, "{health}");
        Ok((health["damaged"] == 1).then_some(()))
    })
    .await?;
    for _ in 0..3 {
        let refused = read_all(&client, "alone", 0, Isolation::ReadCommitted).await;
        let error = format!("{:#}", refused.err().context("damaged records were served")?);
        ensure!(error.contains("StorageError"), "{error}");
    }
    // Before and behind it, and in other partitions, nothing is missing.
    for (from, most) in [(0, 500), (1_500, 500)] {
        let mut config = ConsumerConfigExtBuilder::default();
        config.topic("alone").partition(0).offset_start(Offset::absolute(from)?).max_bytes(20_000);
        let from = usize::try_from(from)?;
        let found = values_of(read(&client, config, most).await?);
        ensure!(found[..] == sent[from..from + most], "from {from}");
    }
    ensure!(values_of(read_all(&client, "other", 0, Isolation::ReadCommitted).await?) == sent);
    produce(&producer(&client, "alone").await?, &sent[..10]).await?;
    ensure!(std::fs::read(&file)? == rotten, "what nobody can mend was touched");
    ensure!(said(&apart, "main-0", "stored records are damaged") == 1, "{}", apart.log("main-0"));
    Ok(())
}
