use std::time::Duration;

use e2e::cloud::Cloud;
use e2e::stream::{STEP_WITHIN, create_topic, produce, producer, read_all};
use e2e::tenant::Tenant;
use e2e::wait::{until, within};
use fluvio::metadata::objects::Metadata;
use fluvio::metadata::topic::{
    AddPartition, CleanupPolicy, CompressionAlgorithm, SegmentBasedPolicy, TopicResolution, TopicSpec,
    TopicStorageConfig, UpdateTopicAction,
};
use fluvio::{Compression, FluvioAdmin, Isolation, TopicProducerConfigBuilder};

type Topic = Metadata<TopicSpec>;

async fn topic(admin: &FluvioAdmin, name: &str) -> anyhow::Result<Option<Topic>> {
    let all = within("the topics", STEP_WITHIN, admin.all::<TopicSpec>()).await?;
    Ok(all.into_iter().find(|each| each.name == name))
}

async fn refusal(admin: &FluvioAdmin, name: &str, spec: TopicSpec) -> anyhow::Result<String> {
    match within("an answer", STEP_WITHIN, admin.create(name.to_string(), false, spec)).await {
        Ok(()) => anyhow::bail!("{name:?} was accepted"),
        Err(error) => Ok(format!("{error:?}")),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_is_empty_too_long_or_has_capitals_is_refused() -> anyhow::Result<()> {
    let tenant = Tenant::new(Cloud::shared()?).await?;
    let admin = tenant.admin().await?;
    let long = "a".repeat(64);
    for name in ["", &long, "Hello", "-a", "a-", "a.b", "a_b", "ä", "a b", "../x", "a/b", "a\0b"] {
        let said = refusal(&admin, name, TopicSpec::new_computed(1, 1, None)).await?;
        assert!(said.to_lowercase().contains("name"), "{name:?}: {said}");
    }
    create_topic(&admin, &"a".repeat(63), 1).await?;
    create_topic(&admin, "0-9", 1).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_out_of_range_are_refused_in_upstreams_words() -> anyhow::Result<()> {
    let tenant = Tenant::new(Cloud::shared()?).await?;
    let admin = tenant.admin().await?;
    let storage = |segment, partition| {
        let mut spec = TopicSpec::new_computed(1, 1, None);
        spec.set_storage(TopicStorageConfig { segment_size: segment, max_partition_size: partition });
        spec
    };
    let mut brief = TopicSpec::new_computed(1, 1, None);
    brief.set_cleanup_policy(CleanupPolicy::Segment(SegmentBasedPolicy { time_in_seconds: 9 }));
    for spec in [brief, storage(Some(1023), None), storage(None, Some(2047)), storage(Some(4096), Some(2048))]
    {
        let words = spec.validate_config().expect("upstream refuses it too");
        let said = refusal(&admin, "out-of-range", spec).await?;
        assert!(said.contains(&words), "{said}\nlacks: {words}");
    }
    assert!(topic(&admin, "out-of-range").await?.is_none());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_no_spu_can_hold_is_made_and_says_what_is_missing() -> anyhow::Result<()> {
    let tenant = Tenant::new(Cloud::shared()?).await?;
    let admin = tenant.admin().await?;
    let spec = TopicSpec::new_computed(1, 3, None);
    within("an answer at once", STEP_WITHIN, admin.create("thrice".to_string(), false, spec)).await?;
    let found = topic(&admin, "thrice").await?.expect("it is listed");
    assert_eq!(found.status.resolution, TopicResolution::InsufficientResources, "{:?}", found.status);
    assert!(!found.status.reason.is_empty(), "the reason is said");
    within("deleted", STEP_WITHIN, admin.delete::<TopicSpec>("thrice".to_string())).await?;
    assert!(topic(&admin, "thrice").await?.is_none());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_is_not_made_twice_and_a_dry_run_makes_none() -> anyhow::Result<()> {
    let tenant = Tenant::new(Cloud::shared()?).await?;
    let admin = tenant.admin().await?;
    let spec = || TopicSpec::new_computed(1, 1, None);
    within("a dry run", STEP_WITHIN, admin.create("dry".to_string(), true, spec())).await?;
    assert!(topic(&admin, "dry").await?.is_none());
    create_topic(&admin, "once", 1).await?;
    let said = refusal(&admin, "once", spec()).await?;
    assert!(said.contains("already exists") || said.contains("AlreadyExists"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_are_added_to_a_topic_in_use() -> anyhow::Result<()> {
    let tenant = Tenant::new(Cloud::shared()?).await?;
    let (admin, client) = (tenant.admin().await?, tenant.client().await?);
    create_topic(&admin, "growing", 1).await?;
    produce(&producer(&client, "growing").await?, &[b"before".to_vec()]).await?;
    let action = UpdateTopicAction::AddPartition(AddPartition { count: 2 });
    within("updated", STEP_WITHIN, admin.update::<TopicSpec>("growing".to_string(), action)).await?;
    until("three partitions", Duration::from_secs(20), async || {
        let found = topic(&admin, "growing").await?.expect("it is there");
        Ok((found.status.replica_map.len() == 3 && found.spec.partitions() == 3).then_some(()))
    })
    .await?;
    let client = tenant.client().await?;
    let values: Vec<Vec<u8>> = (0..30).map(|n| vec![n]).collect();
    produce(&producer(&client, "growing").await?, &values).await?;
    let mut counts = Vec::new();
    for partition in 0..3 {
        counts.push(read_all(&client, "growing", partition, Isolation::ReadCommitted).await?.len());
    }
    assert_eq!(counts.iter().sum::<usize>(), 31, "{counts:?}");
    assert!(counts[1] > 0 && counts[2] > 0, "the new partitions are used: {counts:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_made_again_has_nothing_of_the_deleted_one() -> anyhow::Result<()> {
    let tenant = Tenant::new(Cloud::shared()?).await?;
    for round in 0..3u8 {
        let (admin, client) = (tenant.admin().await?, tenant.client().await?);
        create_topic(&admin, "again", 1).await?;
        let offsets = produce(&producer(&client, "again").await?, &[vec![round]]).await?;
        assert_eq!(offsets, [0], "a fresh log");
        let records = read_all(&client, "again", 0, Isolation::ReadCommitted).await?;
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].value, [round]);
        within("deleted", STEP_WITHIN, admin.delete::<TopicSpec>("again".to_string())).await?;
    }
    let admin = tenant.admin().await?;
    let error = within("deleted", STEP_WITHIN, admin.delete::<TopicSpec>("again".to_string())).await;
    assert!(format!("{:?}", error.expect_err("it is gone")).contains("not found"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_system_topic_is_not_deleted_by_accident() -> anyhow::Result<()> {
    let tenant = Tenant::new(Cloud::shared()?).await?;
    let admin = tenant.admin().await?;
    let error =
        within("refused", STEP_WITHIN, admin.delete::<TopicSpec>("consumer-offset".to_string())).await;
    let said = format!("{:?}", error.expect_err("it is the system's"));
    assert!(
        said.contains("can only be deleted forcibly") || said.contains("SystemSpecDeletionAttempt"),
        "{said}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_codec_that_the_topic_does_not_take_is_refused() -> anyhow::Result<()> {
    let tenant = Tenant::new(Cloud::shared()?).await?;
    let (admin, client) = (tenant.admin().await?, tenant.client().await?);
    let mut spec = TopicSpec::new_computed(1, 1, None);
    spec.set_compression_type(CompressionAlgorithm::Gzip);
    within("created", STEP_WITHIN, admin.create("gzip-only".to_string(), false, spec)).await?;
    produce(&producer(&client, "gzip-only").await?, &[b"by the topic's own codec".to_vec()]).await?;
    let mut config = TopicProducerConfigBuilder::default();
    config.compression(Compression::Lz4);
    let other = client.topic_producer_with_config("gzip-only", config.build()?).await;
    assert!(other.is_err(), "the client knows what the topic takes");
    assert_eq!(read_all(&client, "gzip-only", 0, Isolation::ReadCommitted).await?.len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_past_its_size_lets_the_oldest_records_go() -> anyhow::Result<()> {
    let tenant = Tenant::new(Cloud::shared()?).await?;
    let (admin, client) = (tenant.admin().await?, tenant.client().await?);
    let mut spec = TopicSpec::new_computed(1, 1, None);
    spec.set_storage(TopicStorageConfig { segment_size: Some(65_536), max_partition_size: Some(262_144) });
    within("created", STEP_WITHIN, admin.create("bounded".to_string(), false, spec)).await?;
    let producer = producer(&client, "bounded").await?;
    for part in 0..20u8 {
        let values: Vec<Vec<u8>> = (0..60).map(|_| vec![part; 1000]).collect();
        produce(&producer, &values).await?;
    }
    let records = until("old segments are gone", Duration::from_secs(60), async || {
        let records = read_all(&client, "bounded", 0, Isolation::ReadCommitted).await?;
        Ok((records.first().is_some_and(|first| first.offset > 0)).then_some(records))
    })
    .await?;
    let first = records[0].offset;
    assert!(records.iter().zip(first..).all(|(record, offset)| record.offset == offset), "no holes");
    assert_eq!(records.last().map(|record| record.offset), Some(1199), "the newest are kept");
    Ok(())
}
