//! One record at a time at a fixed rate, with the published client, each timed from the moment it was due: a
//! late sender counts against the figure (no coordinated omission).

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use fluvio::consumer::ConsumerConfigExtBuilder;
use fluvio::metadata::topic::TopicSpec;
use fluvio::{Fluvio, FluvioClusterConfig, Isolation, Offset, RecordKey, TopicProducerConfigBuilder};
use futures_util::StreamExt;
use tokio::runtime::Handle;

use crate::floor::{Durations, durations, note};
use crate::stream;
use crate::wait::within;

/// Two histograms of one run.
#[derive(Debug)]
pub struct Measured {
    /// From due to in the consumer's hands.
    pub consumed: Durations,
    /// From due to acknowledged.
    pub acknowledged: Durations,
}

/// Sends `count` records at `rate` a second to a fresh topic of so many copies, and deletes the topic afterwards.
pub async fn run(
    profile: &FluvioClusterConfig,
    (topic, copies): (&str, u32),
    rate: u32,
    count: u32,
) -> anyhow::Result<Measured> {
    let (writer, reader) =
        (Fluvio::connect_with_config(profile).await?, Fluvio::connect_with_config(profile).await?);
    let admin = writer.admin().await;
    stream::create_copied_topic(&admin, topic, 1, copies).await?;
    let mut config = TopicProducerConfigBuilder::default();
    config.linger(Duration::ZERO);
    let producer = stream::producer_with(&writer, topic, config).await?;
    let mut config = ConsumerConfigExtBuilder::default();
    // Only what is on disk is shown: the figure is of durable records.
    config.topic(topic).partition(0).offset_start(Offset::beginning()).isolation(Isolation::ReadCommitted);
    let mut records =
        within("a consumer", stream::STEP_WITHIN, reader.consumer_with_config(config.build()?)).await?;
    // Both ends have spoken once before the clock runs.
    for _ in 0..50 {
        producer.send(RecordKey::NULL, "warm-up").await?;
        producer.flush().await?;
        within("a record", stream::STEP_WITHIN, async { records.next().await.context("the stream goes on") })
            .await?
            .map_err(|code| anyhow::anyhow!("{code:?}"))?;
    }

    let begin = Instant::now() + Duration::from_millis(50);
    let step = Duration::from_secs(1) / rate;
    let due = move |number: u32| begin + step * number;
    let consuming = tokio::spawn(async move {
        let mut consumed = durations()?;
        for number in 0..count {
            let record = records.next().await.context("the stream ended")?;
            let now = Instant::now();
            let record = record.map_err(|code| anyhow::anyhow!("{code:?}"))?;
            let told = u32::from_be_bytes(record.value()[..4].try_into()?);
            ensure!(told == number, "record {told} came in place of {number}");
            note(&mut consumed, now.saturating_duration_since(due(number)));
        }
        anyhow::Ok(consumed)
    });
    let handle = Handle::current();
    // A thread of its own: the runtime's timers tick in whole milliseconds.
    let sending = tokio::task::spawn_blocking(move || {
        let mut waiting = Vec::new();
        for number in 0..count {
            std::thread::sleep(due(number).saturating_duration_since(Instant::now()));
            let mut value = number.to_be_bytes().to_vec();
            value.resize(100, b'x');
            let output = handle.block_on(producer.send(RecordKey::NULL, value))?;
            waiting.push(handle.spawn(async move {
                output.wait().await.map(|_| Instant::now().saturating_duration_since(due(number)))
            }));
        }
        handle.block_on(producer.flush())?;
        anyhow::Ok(waiting)
    });
    let limit = step * count + Duration::from_secs(60);
    let waiting = within("all is sent", limit, async { sending.await? }).await?;
    let mut acknowledged = durations()?;
    for each in waiting {
        note(&mut acknowledged, each.await??);
    }
    let consumed = within("all is consumed", limit, async { consuming.await? }).await?;
    within("deleted", stream::STEP_WITHIN, admin.delete::<TopicSpec>(topic.to_string())).await?;
    Ok(Measured { consumed, acknowledged })
}
