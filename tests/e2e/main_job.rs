use std::time::Duration;

use e2e::cloud::Cloud;
use e2e::person::Person;
use e2e::stream::{self, create_topic, produce, producer, producer_with, read, read_all};
use e2e::tenant::Tenant;
use e2e::wait::{until, within};
use fluvio::consumer::{ConsumerConfigExtBuilder, ConsumerStream, OffsetManagementStrategy};
use fluvio::metadata::partition::PartitionSpec;
use fluvio::{Compression, Isolation, Offset, RecordKey, TopicProducerConfigBuilder};
use futures_util::StreamExt;

fn values(count: usize, tag: &str) -> Vec<Vec<u8>> {
    (0..count).map(|n| format!("{tag} {n}").into_bytes()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_signs_up_and_consumes_their_first_record() -> anyhow::Result<()> {
    let tenant = Tenant::new(Cloud::shared()?).await?;
    let profile = tenant.profile()?;
    assert_eq!(profile.endpoint, tenant.cluster.endpoint, "the profile dials the gateway");
    assert_eq!(tenant.credentials()?.domain, tenant.cluster.domain);
    assert_eq!(profile.query_metadata_by_name::<String>("installation").as_deref(), Some("cloud"));

    create_topic(&tenant.admin().await?, "hello", 1).await?;
    let client = tenant.client().await?;
    let offsets = produce(&producer(&client, "hello").await?, &values(3, "hello")).await?;
    assert_eq!(offsets, [0, 1, 2]);
    let records = read_all(&client, "hello", 0, Isolation::ReadCommitted).await?;
    assert_eq!(records.into_iter().map(|record| record.value).collect::<Vec<_>>(), values(3, "hello"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_codec_comes_back_as_it_was_sent() -> anyhow::Result<()> {
    let tenant = Tenant::new(Cloud::shared()?).await?;
    let (admin, client) = (tenant.admin().await?, tenant.client().await?);
    create_topic(&admin, "codecs", 1).await?;
    let codecs =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    let mut sent = Vec::new();
    for codec in codecs {
        let mut config = TopicProducerConfigBuilder::default();
        config.compression(codec);
        let some = values(200, &format!("{codec:?} {}", "squeeze ".repeat(20)));
        produce(&producer_with(&client, "codecs", config).await?, &some).await?;
        sent.extend(some);
    }
    let records = read_all(&client, "codecs", 0, Isolation::ReadUncommitted).await?;
    assert_eq!(records.len(), sent.len());
    for (index, (record, value)) in records.iter().zip(&sent).enumerate() {
        assert_eq!((record.offset, &record.value), (i64::try_from(index)?, value));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_isolations_see_every_acknowledged_record() -> anyhow::Result<()> {
    let tenant = Tenant::new(Cloud::shared()?).await?;
    let (admin, client) = (tenant.admin().await?, tenant.client().await?);
    create_topic(&admin, "isolations", 1).await?;
    for isolation in [Isolation::ReadCommitted, Isolation::ReadUncommitted] {
        let mut config = TopicProducerConfigBuilder::default();
        config.isolation(isolation);
        produce(&producer_with(&client, "isolations", config).await?, &values(50, "record")).await?;
    }
    for isolation in [Isolation::ReadCommitted, Isolation::ReadUncommitted] {
        assert_eq!(read_all(&client, "isolations", 0, isolation).await?.len(), 100, "{isolation:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_consumer_is_sent_what_is_produced_later() -> anyhow::Result<()> {
    let tenant = Tenant::new(Cloud::shared()?).await?;
    let (admin, client) = (tenant.admin().await?, tenant.client().await?);
    create_topic(&admin, "later", 1).await?;
    let producer = producer(&client, "later").await?;
    produce(&producer, &values(5, "before")).await?;
    let mut config = ConsumerConfigExtBuilder::default();
    config.topic("later").partition(0).offset_start(Offset::end());
    let mut stream =
        within("a consumer", stream::STEP_WITHIN, client.consumer_with_config(config.build()?)).await?;
    for value in values(3, "after") {
        produce(&producer, std::slice::from_ref(&value)).await?;
        let record =
            within("the record", stream::STEP_WITHIN, async { stream.next().await.transpose() }).await;
        let record = record.map_err(|error| anyhow::anyhow!("{error:?}"))?.expect("the stream goes on");
        assert_eq!(record.value(), value);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_goes_on_where_it_committed() -> anyhow::Result<()> {
    let tenant = Tenant::new(Cloud::shared()?).await?;
    let (admin, client) = (tenant.admin().await?, tenant.client().await?);
    create_topic(&admin, "offsets", 1).await?;
    produce(&producer(&client, "offsets").await?, &values(10, "n")).await?;
    let config = || {
        let mut config = ConsumerConfigExtBuilder::default();
        config
            .topic("offsets")
            .partition(0)
            .offset_start(Offset::beginning())
            .offset_consumer("reader-1")
            .offset_strategy(OffsetManagementStrategy::Manual);
        config
    };
    let mut stream =
        within("a consumer", stream::STEP_WITHIN, client.consumer_with_config(config().build()?)).await?;
    let work = async {
        for _ in 0..4 {
            stream.next().await.expect("a record").map_err(|code| anyhow::anyhow!("{code:?}"))?;
        }
        stream.offset_commit().await?;
        stream.offset_flush().await?;
        anyhow::Ok(())
    };
    within("four records read and committed", stream::STEP_WITHIN, work).await?;
    drop(stream);

    // A client of another day.
    let client = tenant.client().await?;
    let records = read(&client, config(), 1).await?;
    assert_eq!(records[0].offset, 4, "the first record after the committed one");
    let kept = within("the offsets", stream::STEP_WITHIN, client.consumer_offsets()).await?;
    let mine = kept.iter().find(|each| each.consumer_id == "reader-1").expect("the consumer is listed");
    assert_eq!((mine.topic.as_str(), mine.partition, mine.offset), ("offsets", 0, 3));

    within("deleted", stream::STEP_WITHIN, client.delete_consumer_offset("reader-1", ("offsets", 0))).await?;
    let left = within("the offsets", stream::STEP_WITHIN, client.consumer_offsets()).await?;
    assert!(left.iter().all(|each| each.consumer_id != "reader-1"), "a deleted consumer is not listed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_keep_their_partition_and_every_partition_its_order() -> anyhow::Result<()> {
    let tenant = Tenant::new(Cloud::shared()?).await?;
    let (admin, client) = (tenant.admin().await?, tenant.client().await?);
    create_topic(&admin, "keyed", 8).await?;
    let producer = producer(&client, "keyed").await?;
    let work = async {
        let mut pending = Vec::new();
        for number in 0..2000u32 {
            let key = format!("key-{}", number % 40);
            pending.push(producer.send(key, format!("{number}")).await?);
        }
        producer.flush().await?;
        for each in pending {
            each.wait().await?;
        }
        anyhow::Ok(())
    };
    within("acknowledged", stream::STEP_WITHIN, work).await?;
    let (mut total, mut used, mut home) = (0, 0, std::collections::HashMap::new());
    for partition in 0..8 {
        let records = read_all(&client, "keyed", partition, Isolation::ReadCommitted).await?;
        used += usize::from(!records.is_empty());
        total += records.len();
        let mut last = std::collections::HashMap::new();
        for record in records {
            let key = record.key.expect("a key");
            let number: u32 = String::from_utf8(record.value)?.parse()?;
            assert_eq!(*home.entry(key.clone()).or_insert(partition), partition, "a key has one partition");
            assert!(
                last.insert(key, number).is_none_or(|before| before < number),
                "a key's records are in order"
            );
        }
    }
    assert_eq!(total, 2000);
    assert!(used > 1, "the keys spread");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_spus_share_the_partitions_of_a_topic() -> anyhow::Result<()> {
    let cloud = Cloud::shared()?;
    let tenant = Tenant::with_cluster(Person::sign_up(cloud).await?, "wide", 3).await?;
    let (admin, client) = (tenant.admin().await?, tenant.client().await?);
    create_topic(&admin, "spread", 9).await?;
    let partitions = within("the partitions", stream::STEP_WITHIN, admin.all::<PartitionSpec>()).await?;
    let mut leaders: Vec<i32> = partitions
        .iter()
        .filter(|each| each.name.starts_with("spread-"))
        .map(|each| each.spec.leader)
        .collect();
    leaders.sort_unstable();
    assert_eq!(leaders.len(), 9);
    leaders.dedup();
    assert_eq!(leaders.len(), 3, "every SPU leads some: {leaders:?}");
    let producer = producer(&client, "spread").await?;
    produce(&producer, &values(900, "record")).await?;
    let mut total = 0;
    for partition in 0..9 {
        total += read_all(&client, "spread", partition, Isolation::ReadCommitted).await?.len();
    }
    assert_eq!(total, 900);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_of_half_a_megabyte_come_back_whole() -> anyhow::Result<()> {
    let tenant = Tenant::new(Cloud::shared()?).await?;
    let (admin, client) = (tenant.admin().await?, tenant.client().await?);
    create_topic(&admin, "big-batches", 1).await?;
    let mut config = TopicProducerConfigBuilder::default();
    config.batch_size(500_000).linger(Duration::from_millis(50));
    let producer = producer_with(&client, "big-batches", config).await?;
    let sent: Vec<Vec<u8>> =
        (0..20_000u32).map(|n| format!("{n:08} {}", "x".repeat(1015)).into_bytes()).collect();
    for part in sent.chunks(5_000) {
        produce(&producer, part).await?;
    }
    let records = read_all(&client, "big-batches", 0, Isolation::ReadCommitted).await?;
    assert_eq!(records.len(), sent.len(), "the client loses the records of a batch that is cut");
    assert!(records.iter().zip(&sent).all(|(record, value)| record.value == *value));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_of_ten_megabytes_comes_back() -> anyhow::Result<()> {
    let tenant = Tenant::new(Cloud::shared()?).await?;
    let (admin, client) = (tenant.admin().await?, tenant.client().await?);
    create_topic(&admin, "huge", 1).await?;
    let mut config = TopicProducerConfigBuilder::default();
    config.batch_size(16 << 20).max_request_size(16 << 20);
    let value: Vec<u8> = (0..10_000_000u32).map(|n| n.to_le_bytes()[usize::from((n % 3) as u8)]).collect();
    produce(&producer_with(&client, "huge", config).await?, std::slice::from_ref(&value)).await?;
    let records = read_all(&client, "huge", 0, Isolation::ReadCommitted).await?;
    assert_eq!(records.len(), 1);
    assert!(records[0].value == value, "the bytes differ");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_count_from_the_beginning_the_end_and_absolutely() -> anyhow::Result<()> {
    let tenant = Tenant::new(Cloud::shared()?).await?;
    let (admin, client) = (tenant.admin().await?, tenant.client().await?);
    create_topic(&admin, "counted", 1).await?;
    produce(&producer(&client, "counted").await?, &values(20, "n")).await?;
    for (start, first) in [
        (Offset::beginning(), 0),
        (Offset::from_beginning(5), 5),
        (Offset::from_end(3), 17),
        (Offset::absolute(11)?, 11),
    ] {
        let mut config = ConsumerConfigExtBuilder::default();
        config.topic("counted").partition(0).offset_start(start).disable_continuous(true);
        let offsets: Vec<i64> =
            read(&client, config, usize::MAX).await?.iter().map(|record| record.offset).collect();
        assert_eq!(offsets, (first..20).collect::<Vec<i64>>());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_come_and_go_are_served_alike() -> anyhow::Result<()> {
    let tenant = Tenant::new(Cloud::shared()?).await?;
    create_topic(&tenant.admin().await?, "visits", 1).await?;
    for visit in 0..10 {
        let client = tenant.client().await?;
        let offsets = produce(&producer(&client, "visits").await?, &values(1, "visit")).await?;
        assert_eq!(offsets, [visit]);
    }
    let client = tenant.client().await?;
    let found = until("all are there", Duration::from_secs(10), async || {
        let records = read_all(&client, "visits", 0, Isolation::ReadCommitted).await?;
        Ok((records.len() == 10).then_some(records.len()))
    })
    .await?;
    assert_eq!(found, 10);
    let last = producer(&client, "visits").await?;
    let send = last.send(RecordKey::NULL, "last").await?;
    within("the last", stream::STEP_WITHIN, send.wait()).await?;
    Ok(())
}
