use super::fixture::{VERSION, World, create, delete, news, watch_all};
use super::topics::whole;
use crate::wire::ErrorCode;
use crate::wire::admin::key;
use crate::wire::schema::metadata::message::MsgType;
use crate::wire::schema::metadata::mirror::MirrorSpec;
use crate::wire::schema::metadata::partition::{PartitionResolution, PartitionSpec};
use crate::wire::schema::metadata::smartmodule::SmartModuleSpec;
use crate::wire::schema::metadata::spg::SpuGroupSpec;
use crate::wire::schema::metadata::spu::{CustomSpuSpec, SpuSpec, SpuStatusResolution};
use crate::wire::schema::metadata::tableformat::TableFormatSpec;
use crate::wire::schema::metadata::topic::TopicSpec;

#[tokio::test]
async fn no_first_news_is_empty() {
    let world = World::new(1);
    let process = world.start().await;
    let mut client = world.admin(&process).await;
    macro_rules! speaks {
        ($($spec:ty),*) => {$(
            watch_all::<$spec>(&mut client).await;
            let first = news::<$spec>(&mut client).await;
            assert!(!first.all.is_empty() || !first.changes.is_empty(), stringify!($spec));
        )*};
    }
    // No SPU has come, so that there is no topic and no partition yet.
    speaks!(
        TopicSpec,
        PartitionSpec,
        SpuSpec,
        CustomSpuSpec,
        SpuGroupSpec,
        SmartModuleSpec,
        TableFormatSpec,
        MirrorSpec
    );
    watch_all::<TopicSpec>(&mut client).await;
    let first = news::<TopicSpec>(&mut client).await;
    assert_eq!((first.all.len(), first.changes[0].header.clone()), (0, MsgType::DELETE));
}

#[tokio::test]
async fn a_topic_is_announced_before_its_creation_is_answered() {
    let world = World::new(1);
    let process = world.start().await;
    let _spu = world.spu(0).await;
    whole(&process.sc).await;
    let (mut topics, mut partitions) = (world.user(&process).await, world.user(&process).await);
    watch_all::<TopicSpec>(&mut topics).await;
    watch_all::<PartitionSpec>(&mut partitions).await;
    assert_eq!(news::<TopicSpec>(&mut topics).await.all.len(), 1);
    assert_eq!(news::<PartitionSpec>(&mut partitions).await.all.len(), 1);
    let mut admin = world.admin(&process).await;
    assert_eq!(create(&mut admin, "t", TopicSpec::new_computed(1, 1, None)).await.0, ErrorCode::None);
    let mut seen = news::<TopicSpec>(&mut topics).await.changes;
    let made = seen.remove(0);
    assert_eq!((made.header, made.content.name.as_str()), (MsgType::UPDATE, "t"));
    while news::<PartitionSpec>(&mut partitions).await.changes[0].content.status.resolution
        != PartitionResolution::Online
    {}
    assert_eq!(delete(&mut admin, "t", false).await.0, ErrorCode::None);
    loop {
        let change = news::<TopicSpec>(&mut topics).await.changes.remove(0);
        if change.header == MsgType::DELETE {
            assert_eq!(change.content.name, "t");
            break;
        }
    }
    let gone = news::<PartitionSpec>(&mut partitions).await.changes.remove(0);
    assert_eq!((gone.header, gone.content.name.as_str()), (MsgType::DELETE, "t-0"));
}

#[tokio::test]
async fn an_spu_that_goes_away_is_announced_with_its_partitions() {
    let world = World::new(1);
    let process = world.start().await;
    let spu = world.spu(0).await;
    whole(&process.sc).await;
    let (mut partitions, mut spus) = (world.user(&process).await, world.user(&process).await);
    watch_all::<PartitionSpec>(&mut partitions).await;
    watch_all::<SpuSpec>(&mut spus).await;
    assert!(news::<PartitionSpec>(&mut partitions).await.all[0].status.is_online());
    assert!(news::<SpuSpec>(&mut spus).await.all[0].status.is_online());
    drop(spu);
    let change = news::<PartitionSpec>(&mut partitions).await.changes.remove(0);
    assert_eq!(change.content.status.resolution, PartitionResolution::LeaderOffline);
    let change = news::<SpuSpec>(&mut spus).await.changes.remove(0);
    assert_eq!(change.content.status.resolution, SpuStatusResolution::Offline);
    let _back = world.spu(0).await;
    assert!(news::<SpuSpec>(&mut spus).await.changes[0].content.status.is_online());
    while !news::<PartitionSpec>(&mut partitions).await.changes[0].content.status.is_online() {}
}

#[tokio::test]
async fn an_unknown_type_is_not_watched() {
    let world = World::new(1);
    let process = world.start().await;
    let mut client = world.admin(&process).await;
    assert!(client.call(key::WATCH, VERSION, b"\x00\x03Odd\x00\x00\x00\x00").await.is_none());
    assert!(client.call(key::LIST, VERSION, b"\x00\x03Odd\x00\x00\x00\x00").await.is_none());
}
