use super::fixture::{World, create, create_labelled, delete, list, update};
use crate::connection::tests::fixture::until;
use crate::sc::Sc;
use crate::sc::topic::CONSUMER_OFFSETS;
use crate::wire::ErrorCode;
use crate::wire::schema::metadata::partition::{PartitionResolution, PartitionSpec};
use crate::wire::schema::metadata::spu::SpuSpec;
use crate::wire::schema::metadata::topic::{
    AddMirror, AddPartition, TopicResolution, TopicSpec, UpdateTopicAction,
};

fn one() -> TopicSpec {
    TopicSpec::new_computed(1, 1, None)
}

fn add(count: u32) -> UpdateTopicAction {
    UpdateTopicAction::AddPartition(AddPartition { count })
}

/// Whether the topic of consumer offsets serves.
pub async fn whole(sc: &Sc) {
    let state = sc.state();
    until("consumer offsets", || state.borrow().topics.get(CONSUMER_OFFSETS).is_some_and(|view| view.online))
        .await;
}

#[tokio::test]
async fn a_created_topic_serves_and_is_listed() {
    let world = World::new(1);
    let process = world.start().await;
    let _spu = world.spu(0).await;
    whole(&process.sc).await;
    let mut client = world.admin(&process).await;
    let (code, _) = create(&mut client, "three", TopicSpec::new_computed(3, 1, None)).await;
    assert_eq!(code, ErrorCode::None);
    for version in 15..=19 {
        let topics = list::<TopicSpec>(&mut client, "thr", false, version).await;
        assert_eq!(topics.len(), 1);
        assert_eq!(topics[0].status.resolution, TopicResolution::Provisioned);
        assert_eq!(topics[0].status.replica_map.len(), 3);
        let partitions = list::<PartitionSpec>(&mut client, "", false, version).await;
        let names: Vec<&str> = partitions.iter().map(|partition| partition.name.as_str()).collect();
        assert_eq!(names, ["three-0", "three-1", "three-2"]);
        assert!(
            partitions.iter().all(|partition| partition.status.is_online() && partition.status.size == 0)
        );
        let spus = list::<SpuSpec>(&mut client, "", false, version).await;
        assert_eq!(spus[0].spec.public_endpoint.addr(), "127.0.0.1:9443");
    }
    assert!(list::<TopicSpec>(&mut client, "four", false, 19).await.is_empty());
    let system = list::<TopicSpec>(&mut client, "", true, 19).await;
    assert_eq!(system[0].name, CONSUMER_OFFSETS);
    assert!(system[0].spec.is_system());
}

#[tokio::test]
async fn what_cannot_be_done_is_answered_with_upstreams_code() {
    let world = World::new(1);
    let process = world.start().await;
    let _spu = world.spu(0).await;
    whole(&process.sc).await;
    let mut client = world.admin(&process).await;
    assert_eq!(create(&mut client, "t", one()).await.0, ErrorCode::None);
    assert_eq!(create(&mut client, "t", one()).await.0, ErrorCode::TopicAlreadyExists);
    assert_eq!(create(&mut client, "T", one()).await.0, ErrorCode::TopicInvalidName);
    let none = TopicSpec::new_computed(0, 1, None);
    assert_eq!(create(&mut client, "x", none).await.0, ErrorCode::TopicInvalidConfiguration);
    let many = TopicSpec::new_computed(100, 1, None);
    assert_eq!(create(&mut client, "x", many).await.0, ErrorCode::TopicError);
    assert_eq!(delete(&mut client, "x", false).await.0, ErrorCode::TopicNotFound);
    let system = ErrorCode::SystemSpecDeletionAttempt { kind: "topic".into(), name: CONSUMER_OFFSETS.into() };
    assert_eq!(delete(&mut client, CONSUMER_OFFSETS, false).await.0, system);
    let system = ErrorCode::SystemSpecUpdatingAttempt { kind: "topic".into(), name: CONSUMER_OFFSETS.into() };
    assert_eq!(update(&mut client, CONSUMER_OFFSETS, add(1)).await.0, system);
    assert_eq!(update(&mut client, "x", add(1)).await.0, ErrorCode::TopicNotFound);
    let mirror = UpdateTopicAction::AddMirror(AddMirror::default());
    assert!(matches!(update(&mut client, "t", mirror).await.0, ErrorCode::Other(_)));
    assert_eq!(update(&mut client, "t", add(2)).await.0, ErrorCode::None);
    assert_eq!(list::<PartitionSpec>(&mut client, "", false, 19).await.len(), 3);
    let unknown = ErrorCode::Other("unknown admin object type".into());
    assert_eq!(create_labelled(&mut client, "Unheard").await.0, unknown);
    for label in ["SpuGroup", "Mirror"] {
        let (code, message) = create_labelled(&mut client, label).await;
        assert!(matches!(code, ErrorCode::Other(_)) && !message.is_empty(), "{label}: {code:?}");
    }
}

#[tokio::test]
async fn a_user_sees_everything_and_changes_nothing() {
    let world = World::new(1);
    let process = world.start().await;
    let _spu = world.spu(0).await;
    whole(&process.sc).await;
    let mut admin = world.admin(&process).await;
    assert_eq!(create(&mut admin, "t", one()).await.0, ErrorCode::None);
    let mut user = world.user(&process).await;
    assert_eq!(create(&mut user, "mine", one()).await.0, ErrorCode::PermissionDenied);
    assert_eq!(delete(&mut user, "t", true).await.0, ErrorCode::PermissionDenied);
    assert_eq!(update(&mut user, "t", add(1)).await.0, ErrorCode::PermissionDenied);
    assert_eq!(create_labelled(&mut user, "Mirror").await.0, ErrorCode::PermissionDenied);
    assert_eq!(list::<TopicSpec>(&mut user, "", false, 19).await.len(), 1);
    assert_eq!(list::<PartitionSpec>(&mut user, "", false, 19).await.len(), 1);
}

#[tokio::test]
async fn a_topic_that_has_no_place_waits_for_one() {
    let world = World::new(2);
    let process = world.start().await;
    let first = world.spu(0).await;
    let second = world.spu(1).await;
    whole(&process.sc).await;
    let mut client = world.admin(&process).await;
    let three_copies = TopicSpec::new_computed(1, 3, None);
    assert_eq!(create(&mut client, "copies", three_copies).await.0, ErrorCode::None);
    drop((first, second));
    let state = process.sc.state();
    until("both are away", || state.borrow().spus.values().all(|spu| !spu.online)).await;
    assert_eq!(create(&mut client, "waits", one()).await.0, ErrorCode::None);
    for (name, reason) in [("copies", "needs 3 SPUs"), ("waits", "waiting for live spus")] {
        let status = list::<TopicSpec>(&mut client, name, false, 19).await.remove(0).status;
        assert_eq!(status.resolution, TopicResolution::InsufficientResources);
        assert!(status.reason.contains(reason), "{}", status.reason);
    }
    let _back = world.spu(1).await;
    until("it is placed", || state.borrow().topics["waits"].online).await;
    assert!(!state.borrow().topics["copies"].online);
}

#[tokio::test]
async fn a_deleted_system_topic_comes_back() {
    let world = World::new(1);
    let process = world.start().await;
    let _spu = world.spu(0).await;
    whole(&process.sc).await;
    let before = process.sc.state().borrow().metadata.topics[CONSUMER_OFFSETS].id;
    let mut client = world.admin(&process).await;
    assert_eq!(delete(&mut client, CONSUMER_OFFSETS, true).await.0, ErrorCode::None);
    assert!(list::<TopicSpec>(&mut client, "", true, 19).await.is_empty());
    whole(&process.sc).await;
    assert_ne!(process.sc.state().borrow().metadata.topics[CONSUMER_OFFSETS].id, before);
}

#[tokio::test]
async fn what_was_created_is_there_after_a_restart() {
    let world = World::new(1);
    {
        let process = world.start().await;
        let _spu = world.spu(0).await;
        whole(&process.sc).await;
        let mut client = world.admin(&process).await;
        assert_eq!(create(&mut client, "kept", one()).await.0, ErrorCode::None);
        assert_eq!(create(&mut client, "gone", one()).await.0, ErrorCode::None);
        assert_eq!(delete(&mut client, "gone", false).await.0, ErrorCode::None);
    }
    let process = world.start().await;
    let mut client = world.admin(&process).await;
    let topics = list::<TopicSpec>(&mut client, "", false, 19).await;
    assert_eq!(topics.iter().map(|topic| topic.name.as_str()).collect::<Vec<_>>(), ["kept"]);
    let partitions = list::<PartitionSpec>(&mut client, "", false, 19).await;
    assert_eq!(partitions[0].status.resolution, PartitionResolution::LeaderOffline);
    let _spu = world.spu(0).await;
    whole(&process.sc).await;
    let state = process.sc.state();
    until("it serves again", || state.borrow().topics["kept"].online).await;
}
