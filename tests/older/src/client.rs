// Part of main.rs, once for each release; `fluvio` is that release.

use std::future::Future;

use anyhow::{Context, ensure};
use fluvio::consumer::{ConsumerConfigExtBuilder, OffsetManagementStrategy};
use fluvio::metadata::partition::PartitionSpec;
use fluvio::metadata::spu::SpuSpec;
use fluvio::metadata::topic::TopicSpec;
use fluvio::{Compression, Fluvio, Offset, RecordKey, TopicProducerConfigBuilder};
use futures_util::StreamExt;

const RECORDS: usize = 500;

async fn within<T, E: Into<anyhow::Error>>(
    what: &'static str,
    work: impl Future<Output = Result<T, E>>,
) -> anyhow::Result<T> {
    let done = tokio::time::timeout(super::STEP_WITHIN, work).await;
    done.with_context(|| format!("not in time: {what}"))?.map_err(|error| error.into().context(what))
}

pub async fn job(topic: &str) -> anyhow::Result<()> {
    let client = within("connecting", Fluvio::connect()).await?;
    let admin = client.admin().await;
    within("creating", admin.create(topic.to_owned(), false, TopicSpec::new_computed(2, 1, None))).await?;
    let topics = within("listing topics", admin.list::<TopicSpec, _>(vec![topic.to_owned()])).await?;
    ensure!(topics.len() == 1 && topics[0].name == topic, "{topics:?}");
    let partitions = within("listing partitions", admin.all::<PartitionSpec>()).await?;
    ensure!(partitions.iter().filter(|each| each.name.starts_with(topic)).count() == 2, "{partitions:?}");
    let spus = within("listing SPUs", admin.all::<SpuSpec>()).await?;
    ensure!(!spus.is_empty(), "no SPU is listed");

    fill(&client, topic).await?;
    read_back(&client, topic).await?;
    within("the offset is committed", async {
        while !within("listing offsets", client.consumer_offsets())
            .await?
            .iter()
            .any(|each| each.consumer_id == "older" && each.offset > 0)
        {
            tokio::task::yield_now().await;
        }
        anyhow::Ok(())
    })
    .await?;

    within("deleting", admin.delete::<TopicSpec>(topic)).await?;
    println!("{RECORDS} records came back");
    Ok(())
}

async fn fill(client: &Fluvio, topic: &str) -> anyhow::Result<()> {
    let config = TopicProducerConfigBuilder::default().compression(Compression::Lz4).build()?;
    let producer = within("a producer", client.topic_producer_with_config(topic, config)).await?;
    for number in 0..RECORDS {
        within("sending", producer.send(format!("key {number}"), format!("value {number}"))).await?;
    }
    within("flushing", producer.flush()).await
}

/// Reads as a named consumer, whose offset is committed at the latest when its stream ends.
async fn read_back(client: &Fluvio, topic: &str) -> anyhow::Result<()> {
    let mut config = ConsumerConfigExtBuilder::default();
    config
        .topic(topic)
        .offset_consumer("older".to_owned())
        .offset_start(Offset::beginning())
        .offset_strategy(OffsetManagementStrategy::Auto);
    let mut stream = within("consuming", client.consumer_with_config(once(config).build()?)).await?;
    let mut came = std::collections::BTreeSet::new();
    while came.len() < RECORDS {
        let record = within("the next record", async {
            stream.next().await.context("the stream ended")?.map_err(|code| anyhow::anyhow!("{code:?}"))
        })
        .await?;
        let value = String::from_utf8(record.value().to_vec())?;
        let key = String::from_utf8(record.key().context("no key")?.to_vec())?;
        ensure!(key.strip_prefix("key ") == value.strip_prefix("value "), "{key} came with {value}");
        ensure!(came.insert(value.clone()), "{value} came twice");
    }
    Ok(())
}

/// A producer and a consumer that live on whatever happens to the cluster: after an error with a new connection.
pub async fn held(topic: &str) -> anyhow::Result<()> {
    let mut next = 0;
    let mut client = within("connecting", Fluvio::connect()).await?;
    let mut producer = within("a producer", client.topic_producer(topic)).await?;
    let mut stream = follow(&client, topic, next).await?;
    for line in std::io::stdin().lines() {
        let line = line?;
        let deadline = tokio::time::Instant::now() + super::STEP_WITHIN;
        while let Err(error) = sent_in_time(&producer, &line).await {
            eprintln!("sent again: {error:#}");
            ensure!(tokio::time::Instant::now() < deadline, "never sent: {error:#}");
            client = within("connecting again", Fluvio::connect()).await?;
            producer = within("another producer", client.topic_producer(topic)).await?;
        }
        loop {
            let came =
                tokio::time::timeout(super::STEP_WITHIN, stream.next()).await.context("nothing came")?;
            match came {
                Some(Ok(record)) => {
                    next = record.offset() + 1;
                    if record.value() == line.as_bytes() {
                        break;
                    }
                }
                ended => {
                    eprintln!("consumed again: {:?}", ended.map(|each| each.err()));
                    ensure!(tokio::time::Instant::now() < deadline, "never consumed");
                    client = within("connecting again", Fluvio::connect()).await?;
                    stream = follow(&client, topic, next).await?;
                }
            }
        }
        println!("{line}");
    }
    Ok(())
}

async fn sent_in_time(producer: &fluvio::TopicProducerPool, line: &str) -> anyhow::Result<()> {
    tokio::time::timeout(super::SENT_WITHIN, sent(producer, line)).await.context("not sent in time")?
}

async fn sent(producer: &fluvio::TopicProducerPool, line: &str) -> anyhow::Result<()> {
    let acknowledged = within("sending", producer.send(RecordKey::NULL, line)).await?;
    within("flushing", producer.flush()).await?;
    within("the acknowledgement", acknowledged.wait()).await?;
    Ok(())
}

async fn follow(
    client: &Fluvio,
    topic: &str,
    next: i64,
) -> anyhow::Result<
    std::pin::Pin<
        Box<
            dyn futures_util::Stream<
                    Item = Result<fluvio::consumer::Record, fluvio::dataplane::link::ErrorCode>,
                > + Send,
        >,
    >,
> {
    let mut config = ConsumerConfigExtBuilder::default();
    config.topic(topic).partition(0).offset_start(Offset::absolute(next)?);
    Ok(Box::pin(within("consuming", client.consumer_with_config(once(config).build()?)).await?))
}
