//! The main job with the published client: topics, records in, records out.

use std::time::Duration;

use fluvio::consumer::ConsumerConfigExtBuilder;
use fluvio::metadata::topic::TopicSpec;
use fluvio::{
    Fluvio, FluvioAdmin, Isolation, Offset, RecordKey, TopicProducerConfigBuilder, TopicProducerPool,
};
use futures_util::StreamExt;

use crate::tenant::Tenant;
use crate::wait::{until, within};

/// Enough for any single step on a busy machine.
pub const STEP_WITHIN: Duration = Duration::from_secs(60);

/// A record as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Vec<u8>,
}

/// Creates a topic and waits for the answer.
pub async fn create_topic(admin: &FluvioAdmin, name: &str, partitions: u32) -> anyhow::Result<()> {
    create_copied_topic(admin, name, partitions, 1).await
}

/// The same with so many copies of each partition.
pub async fn create_copied_topic(
    admin: &FluvioAdmin,
    name: &str,
    partitions: u32,
    copies: u32,
) -> anyhow::Result<()> {
    let spec = TopicSpec::new_computed(partitions, copies, None);
    within("the topic is created", STEP_WITHIN, admin.create(name.to_string(), false, spec)).await
}

/// A producer with batches of the default size.
pub async fn producer(client: &Fluvio, topic: &str) -> anyhow::Result<TopicProducerPool> {
    producer_with(client, topic, TopicProducerConfigBuilder::default()).await
}

pub async fn producer_with(
    client: &Fluvio,
    topic: &str,
    config: TopicProducerConfigBuilder,
) -> anyhow::Result<TopicProducerPool> {
    let config = config.build()?;
    within("a producer", STEP_WITHIN, client.topic_producer_with_config(topic, config)).await
}

/// Sends the values without keys and returns the offset that each was acknowledged at.
pub async fn produce(producer: &TopicProducerPool, values: &[Vec<u8>]) -> anyhow::Result<Vec<i64>> {
    let work = async {
        let mut pending = Vec::with_capacity(values.len());
        for value in values {
            pending.push(producer.send(RecordKey::NULL, value.clone()).await?);
        }
        producer.flush().await?;
        let mut offsets = Vec::with_capacity(values.len());
        for each in pending {
            offsets.push(each.wait().await?.offset());
        }
        anyhow::Ok(offsets)
    };
    within("the records are acknowledged", STEP_WITHIN, work).await
}

/// Everything in a partition, from the beginning to the end of now.
pub async fn read_all(
    client: &Fluvio,
    topic: &str,
    partition: u32,
    isolation: Isolation,
) -> anyhow::Result<Vec<Read>> {
    let mut config = ConsumerConfigExtBuilder::default();
    config
        .topic(topic)
        .partition(partition)
        .offset_start(Offset::beginning())
        .isolation(isolation)
        .disable_continuous(true);
    read(client, config, usize::MAX).await
}

/// Up to `most` records of a consumer configured by the caller.
pub async fn read(
    client: &Fluvio,
    mut config: ConsumerConfigExtBuilder,
    most: usize,
) -> anyhow::Result<Vec<Read>> {
    let config = config.retry_mode(fluvio::consumer::RetryMode::Disabled).build()?;
    let work = async {
        let mut stream = client.consumer_with_config(config).await?;
        let mut records = Vec::new();
        while records.len() < most {
            let Some(record) = stream.next().await else { break };
            let record = record.map_err(|code| anyhow::anyhow!("consuming: {code:?}"))?;
            records.push(Read {
                offset: record.offset(),
                key: record.key().map(<[u8]>::to_vec),
                value: record.value().to_vec(),
            });
        }
        anyhow::Ok(records)
    };
    within("the records are read", STEP_WITHIN, work).await
}

/// Connects anew, makes a topic, produces and reads back: a client's whole way. Returns when all of it worked.
pub async fn whole_flow(tenant: &Tenant, topic: &str) -> anyhow::Result<()> {
    let admin = tenant.admin().await?;
    create_topic(&admin, topic, 2).await?;
    let client = tenant.client().await?;
    let producer = producer(&client, topic).await?;
    let values: Vec<Vec<u8>> = (0..20).map(|n| format!("{topic} {n}").into_bytes()).collect();
    produce(&producer, &values).await?;
    let mut found = Vec::new();
    for partition in 0..2 {
        found.extend(
            read_all(&client, topic, partition, Isolation::ReadCommitted).await?.into_iter().map(|r| r.value),
        );
    }
    found.sort();
    let mut expected = values;
    expected.sort();
    anyhow::ensure!(found == expected, "{} records came back of {}", found.len(), expected.len());
    within("the topic is deleted", STEP_WITHIN, admin.delete::<TopicSpec>(topic.to_string())).await?;
    Ok(())
}

/// The whole way, as soon as it works again; a fresh topic for each attempt.
pub async fn works_again(tenant: &Tenant, topic: &str) -> anyhow::Result<()> {
    let mut attempt = 0;
    until(&format!("the client works again ({topic})"), Duration::from_secs(60), async || {
        attempt += 1;
        whole_flow(tenant, &format!("{topic}-{attempt}")).await.map(Some)
    })
    .await
}
