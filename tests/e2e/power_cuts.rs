use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use e2e::cloud::Cloud;
use e2e::node::{Node, Owner};
use e2e::oracle::Promises;
use e2e::raw;
use e2e::stream::{STEP_WITHIN, create_topic, read_all};
use e2e::wait::within;
use e2e::wire;
use fluvio::metadata::topic::TopicSpec;
use fluvio::{Fluvio, FluvioAdmin, Isolation};
use rand::RngExt;

const CUTS: u32 = 50;
const TOPIC: &str = "cut";

/// An ext4 file system in a file, mounted over a loop device.
struct Disk {
    image: PathBuf,
    mount: PathBuf,
    _folder: tempfile::TempDir,
}

impl Disk {
    fn make() -> anyhow::Result<Disk> {
        let folder = tempfile::Builder::new().prefix("fdisk").tempdir_in("/tmp")?;
        let image = folder.path().join("disk.img");
        std::fs::File::create(&image)?.set_len(512 << 20)?;
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-E", "lazy_itable_init=1"]).arg(&image))?;
        Disk::mount(folder, image)
    }

    fn mount(folder: tempfile::TempDir, image: PathBuf) -> anyhow::Result<Disk> {
        let mount = folder.path().join("mnt");
        std::fs::create_dir(&mount)?;
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&mount))?;
        Ok(Disk { image, mount, _folder: folder })
    }

    /// What a disk would hold if the power went now: the bytes that reached it, and nothing of the page cache above.
    fn cut(&self) -> anyhow::Result<Disk> {
        let folder = tempfile::Builder::new().prefix("fdisk").tempdir_in("/tmp")?;
        let image = folder.path().join("disk.img");
        run(Command::new("cp").arg("--sparse=always").arg(&self.image).arg(&image))?;
        Disk::mount(folder, image)
    }

    fn data(&self) -> PathBuf {
        self.mount.join("data")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.mount).status();
    }
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Why this machine cannot cut, if it cannot.
fn cannot_cut() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("mounting a disk image needs root");
    }
    if !Path::new("/dev/loop-control").exists() {
        return Some("there is no loop device");
    }
    None
}

/// Writes batches of one to twenty records by hand, many under way at once, and notes each acknowledgement.
struct Hammer {
    stop: Arc<AtomicBool>,
    promises: Arc<Mutex<Promises>>,
    thread: Option<std::thread::JoinHandle<anyhow::Result<()>>>,
}

impl Hammer {
    fn start(node: &Node, owner: &Owner) -> anyhow::Result<Hammer> {
        let (address, name) = node.spu()?;
        let mut stream = raw::connect_as(address, &owner.credentials, &name)?;
        wire::send(&mut stream, &wire::api_versions(1))?;
        wire::receive(&mut stream)?.context("the SPU answers")?;
        stream.sock.set_read_timeout(Some(Duration::from_secs(60)))?;
        let (stop, promises) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Promises::default())));
        let (told, noted) = (stop.clone(), promises.clone());
        let thread = std::thread::spawn(move || {
            let (mut next, mut correlation) = (0_u64, 1_i32);
            while !told.load(Ordering::Relaxed) {
                let mut sent = Vec::new();
                for _ in 0..8 {
                    let count = rand::rng().random_range(1..=20_u64);
                    let values: Vec<Vec<u8>> = (next..next + count)
                        .map(|number| {
                            format!("{number} {}", "w".repeat((number * 37 % 400) as usize)).into_bytes()
                        })
                        .collect();
                    next += count;
                    correlation += 1;
                    let records: Vec<Vec<u8>> = values.iter().map(|value| wire::record(value)).collect();
                    let batch = wire::batch(0, i32::try_from(count)?, &wire::records(&records));
                    wire::send(&mut stream, &wire::produce(correlation, TOPIC, 0, &batch))?;
                    sent.push((correlation, values));
                }
                // Answers may overtake one another.
                for _ in 0..sent.len() {
                    let (correlation, body) = wire::receive(&mut stream)?.context("the SPU hung up")?;
                    let (_, values) =
                        sent.iter().find(|each| each.0 == correlation).context("an answer to nothing")?;
                    let (code, base) = wire::produce_outcome(&body)?;
                    ensure!(code == 0, "produce was answered with {code}");
                    let mut promises = noted.lock().unwrap_or_else(PoisonError::into_inner);
                    for (offset, value) in (base.context("an offset")?..).zip(values) {
                        promises.note(0, offset, value)?;
                    }
                }
            }
            Ok(())
        });
        Ok(Hammer { stop, promises, thread: Some(thread) })
    }

    fn acknowledged(&self) -> usize {
        self.promises.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn check(&self, records: &[e2e::stream::Read]) -> anyhow::Result<()> {
        self.promises.lock().unwrap_or_else(PoisonError::into_inner).check(0, records)
    }

    fn finish(mut self) -> anyhow::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.take().context("it runs")?.join() {
            Ok(outcome) => outcome,
            Err(_) => bail!("the writer ended badly"),
        }
    }
}

impl Drop for Hammer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Cuts the power `cuts` times under load and compares. Returns how many records the last cut was checked for.
async fn campaign(durability: &str, cuts: u32) -> anyhow::Result<usize> {
    let disk = Disk::make()?;
    let owner = Owner::new()?;
    let node = Node::start(&owner, &disk.data(), 1, durability).await?;
    let admin = within("admin", STEP_WITHIN, FluvioAdmin::connect_with_config(&node.profile())).await?;
    create_topic(&admin, TOPIC, 1).await?;
    let hammer = Hammer::start(&node, &owner)?;
    let mut topics = vec![TOPIC.to_string()];
    for cut in 0..cuts {
        // A metadata change between the records: a topic that was answered for is there afterwards, too.
        let name = format!("topic-{cut}");
        create_topic(&admin, &name, 1).await?;
        topics.push(name);
        let goal = hammer.acknowledged() + 20;
        e2e::wait::until("some more acknowledgements", Duration::from_secs(30), async || {
            if hammer.thread.as_ref().is_some_and(std::thread::JoinHandle::is_finished) {
                bail!("the writer ended\n{}", node.log());
            }
            Ok((hammer.acknowledged() >= goal).then_some(()))
        })
        .await?;
        // Faults come at any time.
        tokio::time::sleep(Duration::from_millis(rand::rng().random_range(0..40))).await;
        node.freeze()?;
        let after = disk.cut();
        // Read before the thaw: acknowledgements that were on their way when the power went count as well.
        tokio::time::sleep(Duration::from_millis(5)).await;
        let promised = hammer.acknowledged();
        let recovered = async {
            let after = after?;
            let second = Node::start(&owner, &after.data(), 2, durability).await?;
            let client =
                within("the client", STEP_WITHIN, Fluvio::connect_with_config(&second.profile())).await?;
            let records = read_all(&client, TOPIC, 0, Isolation::ReadUncommitted).await?;
            hammer.check(&records)?;
            let listed = within("topics", STEP_WITHIN, client.admin().await.all::<TopicSpec>()).await?;
            for topic in &topics {
                ensure!(listed.iter().any(|each| each.name == *topic), "the topic {topic} is lost");
            }
            anyhow::Ok(())
        }
        .await;
        node.thaw()?;
        recovered.with_context(|| format!("cut {cut}, {promised} acknowledged records"))?;
    }
    let total = hammer.acknowledged();
    hammer.finish()?;
    Ok(total)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_power_cuts_lose_nothing_acknowledged() -> anyhow::Result<()> {
    if let Some(reason) = cannot_cut() {
        println!("skipped: {reason}");
        return Ok(());
    }
    let _turn = Cloud::turn().await;
    let total = campaign("disk", CUTS).await?;
    println!("{CUTS} cuts, at the end of {total} acknowledged records: none lost, none altered, no hole");
    Ok(())
}

/// The same test on a cluster that acknowledges before it syncs, by its owner's choice: it must see the loss, or
/// it would not see it where it matters.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_power_cut_test_sees_what_is_not_synced() -> anyhow::Result<()> {
    if let Some(reason) = cannot_cut() {
        println!("skipped: {reason}");
        return Ok(());
    }
    let _turn = Cloud::turn().await;
    let error = campaign("memory", 10).await.expect_err("ten cuts without a sync lost nothing");
    let said = format!("{error:#}");
    assert!(said.contains("lost:"), "{said}");
    Ok(())
}
