use std::time::Duration;

use anyhow::ensure;
use e2e::cloud::Cloud;
use e2e::generator::batches::Prepared;
use e2e::generator::crowd::Crowd;
use e2e::generator::link::Spu;
use e2e::generator::{consume, produce};
use e2e::stream::{create_topic, produce as publish, producer, read_all};
use e2e::tenant::Tenant;
use fluvio::Isolation;

/// Requests of one test, more than are under way at once.
const REQUESTS: usize = 40;
const WINDOW: usize = 8;

/// A topic of a new tenant's, and the SPU that leads it, through the gateway.
async fn topic(name: &str) -> anyhow::Result<(Tenant, Spu)> {
    let tenant = Tenant::new(Cloud::shared()?).await?;
    let admin = tenant.admin().await?;
    create_topic(&admin, name, 1).await?;
    let spu = Spu::leading(&admin, &tenant.profile()?, name).await?;
    Ok((tenant, spu))
}

/// Values of different lengths, none like another.
fn values(first: usize, count: usize) -> Vec<Vec<u8>> {
    (first..first + count).map(|number| format!("{number} ").repeat(1 + number % 50).into_bytes()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_generator_produces_the_published_client_reads() -> anyhow::Result<()> {
    let (tenant, spu) = topic("generated").await?;
    // Two requests in turn, of five records each.
    let (even, odd) = (values(0, 5), values(5, 5));
    let (first, second) = (even.clone(), odd.clone());
    let moved = tokio::task::spawn_blocking(move || {
        let mut prepared = [Prepared::new("generated", 0, &first)?, Prepared::new("generated", 0, &second)?];
        let mut link = spu.connect()?;
        let moved = produce::bulk(&mut link, &mut prepared, REQUESTS, WINDOW)?;
        produce::one_at_a_time(&mut link, &mut prepared[0], 3)?;
        anyhow::Ok(moved)
    });
    let moved = moved.await??;
    assert_eq!(moved.records, i64::try_from(REQUESTS * 5)?);
    let pairs = (0..REQUESTS / 2).flat_map(|_| even.iter().chain(&odd));
    let expected: Vec<Vec<u8>> = pairs.chain((0..3).flat_map(|_| &even)).cloned().collect();
    let found = read_all(&tenant.client().await?, "generated", 0, Isolation::ReadCommitted).await?;
    ensure!(found.iter().map(|record| record.offset).eq(0..i64::try_from(expected.len())?));
    ensure!(found.into_iter().map(|record| record.value).eq(expected), "other values came back");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_published_client_produces_the_generator_reads() -> anyhow::Result<()> {
    let (tenant, spu) = topic("published").await?;
    let sent = values(0, 3_000);
    publish(&producer(&tenant.client().await?, "published").await?, &sent).await?;
    let mut crowd = Crowd::gather(&spu, "published", 20).await?;
    crowd.reach(3_000, Duration::from_secs(30)).await?;
    let read = tokio::task::spawn_blocking(move || {
        let mut link = spu.connect()?;
        // From the beginning, and from within a batch.
        let both = [0, 1_234].into_iter().map(|from| consume::read(&mut link, "published", from, 3_000));
        both.collect::<anyhow::Result<Vec<_>>>()
    });
    let read = read.await??;
    assert_eq!(read.iter().map(|moved| moved.records).collect::<Vec<_>>(), [3_000, 1_766]);
    let n_bytes: usize = sent.iter().map(Vec::len).sum();
    ensure!(read[0].bytes > n_bytes as u64 && read[1].bytes < read[0].bytes, "{read:?}");
    // New records reach those who are there.
    publish(&producer(&tenant.client().await?, "published").await?, &values(3_000, 10)).await?;
    crowd.reach(3_010, Duration::from_secs(30)).await
}
