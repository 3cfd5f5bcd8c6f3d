use std::collections::BTreeSet;

use super::fixture::{World, create, delete};
use super::topics::whole;
use crate::connection::tests::fixture::until;
use crate::link::{OffsetsAnswer, OffsetsRequest, PartitionKey, ReplicaReport, ReplicaState};
use crate::sc::SettingsRefused;
use crate::sc::topic::CONSUMER_OFFSETS;
use crate::wire::ErrorCode;
use crate::wire::schema::metadata::topic::TopicSpec;

fn four() -> TopicSpec {
    TopicSpec::new_computed(4, 1, None)
}

#[tokio::test]
async fn an_spu_is_told_what_it_keeps_and_no_more() {
    let world = World::new(2);
    let process = world.start().await;
    let (first, second) = (world.spu(0).await, world.spu(1).await);
    whole(&process.sc).await;
    let mut client = world.admin(&process).await;
    assert_eq!(create(&mut client, "t", four()).await.0, ErrorCode::None);
    let held = |view: &crate::link::View| -> BTreeSet<String> {
        view.assignments.keys().map(ToString::to_string).collect()
    };
    let (one, two) = (held(&first.link.view().borrow()), held(&second.link.view().borrow()));
    assert_eq!(
        &one & &two,
        [format!("{CONSUMER_OFFSETS}-0")].into(),
        "of the consumers' offsets there are copies"
    );
    assert_eq!(one.len() + two.len(), 6);
    assert_eq!(first.link.view().borrow().topics.len(), 2);
    let id = first.link.view().borrow().topics["t"];
    assert_eq!(delete(&mut client, "t", false).await.0, ErrorCode::None);
    let metadata = || process.sc.state().borrow().metadata.clone();
    until("both have removed it", || !metadata().retired.contains_key(&id)).await;
    assert!(!first.link.view().borrow().topics.contains_key("t"));
}

#[tokio::test]
async fn a_deleted_topic_is_removed_from_an_spu_that_was_away() {
    let world = World::new(1);
    let process = world.start().await;
    let spu = world.spu(0).await;
    whole(&process.sc).await;
    let mut client = world.admin(&process).await;
    assert_eq!(create(&mut client, "t", four()).await.0, ErrorCode::None);
    let held: Vec<_> = spu.link.view().borrow().assignments.values().cloned().collect();
    let id = spu.link.view().borrow().topics["t"];
    drop(spu);
    let state = process.sc.state();
    until("it is away", || state.borrow().spus.values().all(|spu| !spu.online)).await;
    assert_eq!(delete(&mut client, "t", false).await.0, ErrorCode::None);
    let spu = world.spu_that_holds(0, held).await;
    let view = spu.link.view();
    until("it is told", || view.borrow().retired.contains(&id)).await;
    assert!(view.borrow().assignments.keys().all(|key| key.topic != "t"));
    assert!(state.borrow().metadata.retired.contains_key(&id), "not confirmed yet");
    spu.link.applied_view(view.borrow().revision);
    until("it is confirmed", || !state.borrow().metadata.retired.contains_key(&id)).await;
}

#[tokio::test]
async fn an_sc_without_its_disk_gets_everything_back_from_its_spus() {
    let world = World::new(2);
    let (held, before) = {
        let process = world.start().await;
        let (first, second) = (world.spu(0).await, world.spu(1).await);
        whole(&process.sc).await;
        let mut client = world.admin(&process).await;
        assert_eq!(create(&mut client, "t", four()).await.0, ErrorCode::None);
        let held = [first, second]
            .map(|spu| spu.link.view().borrow().assignments.values().cloned().collect::<Vec<_>>());
        (held, process.sc.state().borrow().metadata.clone())
    };
    std::fs::remove_dir_all(world.sc_dir()).unwrap();
    let process = world.start().await;
    let [first, second] = held;
    let first = world.spu_that_holds(0, first).await;
    let mut client = world.admin(&process).await;
    let (code, _) = create(&mut client, "too-early", four()).await;
    assert!(matches!(code, ErrorCode::Other(_)), "{code:?}");
    assert_eq!(first.link.view().borrow().revision, 0, "nothing is taken from an SPU before all have come");
    let _second = world.spu_that_holds(1, second).await;
    let state = process.sc.state();
    until("all is known", || state.borrow().partitions.len() == 5).await;
    let after = state.borrow().metadata.clone();
    for (name, topic) in &before.topics {
        assert_eq!(after.topics[name].id, topic.id);
        assert_eq!(after.topics[name].spec, topic.spec);
    }
    let view = first.link.view();
    until("the new epoch is told", || view.borrow().assignments.values().all(|held| held.epoch >= 1)).await;
}

#[tokio::test]
async fn a_consumers_offset_finds_the_spu_that_leads_them() {
    let world = World::new(2);
    let process = world.start().await;
    let (first, second) = (world.spu(0).await, world.spu(1).await);
    whole(&process.sc).await;
    let leads = !first.link.view().borrow().assignments.is_empty();
    let (leader, other) = if leads { (first, second) } else { (second, first) };
    let mut requests = leader.link.take_offsets_requests().unwrap();
    let key = PartitionKey { topic: "t".into(), partition: 0 };
    let request = OffsetsRequest::Update { consumer_id: "c".into(), key, offset: 7 };
    let asked = request.clone();
    tokio::spawn(async move {
        while let Some(call) = requests.recv().await {
            assert_eq!(call.request, asked);
            let _ = call.reply.send(OffsetsAnswer::Done);
        }
    });
    assert_eq!(other.link.offsets(request.clone()).await.unwrap(), OffsetsAnswer::Done);
    drop(leader);
    let state = process.sc.state();
    until("the leader is away", || state.borrow().spus.values().any(|spu| !spu.online)).await;
    assert!(matches!(other.link.offsets(request).await, Ok(OffsetsAnswer::NotNow(_))));
}

#[tokio::test]
async fn settings_reach_spus_and_older_or_foreign_ones_are_refused() {
    let world = World::new(1);
    let process = world.start().await;
    let spu = world.silent_spu(0).await;
    let mut newer = world.settings.clone();
    newer.generation = 7;
    process.sc.put_settings(newer.clone()).await.unwrap();
    let settings = spu.link.settings();
    until("they arrive", || settings.borrow().as_ref().is_some_and(|settings| settings.generation == 7))
        .await;
    let state = process.sc.state();
    assert!(state.borrow().settings_applied[&5001] < 7);
    spu.link.applied_settings(7);
    until("they are confirmed", || state.borrow().settings_applied[&5001] == 7).await;
    let older = process.sc.put_settings(world.settings.clone()).await;
    assert!(matches!(older, Err(SettingsRefused::Older { pushed: 1, in_force: 7 })));
    newer.cluster = uuid::Uuid::new_v4();
    assert!(matches!(process.sc.put_settings(newer.clone()).await, Err(SettingsRefused::Elsewhere)));
    newer.cluster = world.settings.cluster;
    newer.identity.as_mut().unwrap().key_pem = "no key".into();
    assert!(matches!(process.sc.put_settings(newer).await, Err(SettingsRefused::Invalid(_))));
}

#[tokio::test]
async fn a_connection_that_is_heard_late_does_not_take_the_place_of_a_newer_one() {
    let world = World::new(1);
    let process = world.start().await;
    let hello = |session| crate::sc::SpuHello {
        name: "main-0".into(),
        held: Vec::new(),
        generation: 0,
        session,
        peer: None,
        fresh: false,
        knows_moves: true,
    };
    assert!(process.sc.spu_came(hello(1_000_001)).await.is_ok());
    assert!(process.sc.spu_came(hello(1_000_000)).await.is_err());
    let key = PartitionKey { topic: CONSUMER_OFFSETS.into(), partition: 0 };
    let state = process.sc.state();
    until("its only partition is placed", || state.borrow().partitions.contains_key(&key)).await;
    let report = |log_end| ReplicaReport {
        key: key.clone(),
        topic_id: state.borrow().partitions[&key].topic_id,
        epoch: 0,
        state: ReplicaState::Online,
        base_offset: 0,
        high_watermark: 0,
        log_end,
        size: 0,
        durable: None,
        damaged: 0,
        lost_lead: false,
    };
    let (new, old) = (report(7), report(3));
    process.sc.report(5001, 1_000_001, vec![new]).await;
    process.sc.report(5001, 1_000_000, vec![old]).await;
    // Commands are taken in order, so that both were heard by the time of the next answer.
    assert!(process.sc.spu_came(hello(1_000_000)).await.is_err());
    assert_eq!(state.borrow().partitions[&key].numbers.log_end, 7);
    process.sc.spu_went(5001, 1_000_000).await;
    assert!(process.sc.state().borrow().spus["main-0"].online);
    process.sc.spu_went(5001, 1_000_001).await;
    assert!(process.sc.spu_came(hello(1_000_000)).await.is_err(), "the newer one is gone, and knew more");
    assert!(process.sc.spu_came(hello(1_000_002)).await.is_ok());
}

#[tokio::test]
async fn an_spu_that_leaves_the_settings_is_sent_away() {
    let world = World::new(2);
    let process = world.start().await;
    let (_first, second) = (world.spu(0).await, world.spu(1).await);
    whole(&process.sc).await;
    let mut fewer = world.settings.clone();
    fewer.generation += 1;
    fewer.spus[1].leaving = true;
    process.sc.put_settings(fewer.clone()).await.unwrap();
    fewer.generation += 1;
    fewer.spus.pop();
    process.sc.put_settings(fewer).await.unwrap();
    let registered = second.link.registered();
    until("it is sent away", || registered.borrow().is_none()).await;
    assert_eq!(process.sc.state().borrow().spus.len(), 1);
}

#[tokio::test]
async fn an_spu_that_holds_something_cannot_be_taken_away() {
    let world = World::new(2);
    let process = world.start().await;
    // The other way round, and the consumers' offsets are on the first all the same.
    let (_second, _first) = (world.spu(1).await, world.spu(0).await);
    whole(&process.sc).await;
    let mut client = world.admin(&process).await;
    assert_eq!(create(&mut client, "before", TopicSpec::new_computed(2, 1, None)).await.0, ErrorCode::None);
    let mut settings = world.settings.clone();
    settings.generation += 1;
    settings.spus[1].leaving = true;
    process.sc.put_settings(settings.clone()).await.unwrap();
    assert_eq!(create(&mut client, "after", TopicSpec::new_computed(2, 1, None)).await.0, ErrorCode::None);
    settings.generation += 1;
    settings.spus.pop();
    let refused = process.sc.put_settings(settings.clone()).await.unwrap_err();
    assert_eq!(refused.to_string(), "SPU main-1 still holds 1 partition");
    let state = process.sc.state();
    assert_eq!(state.borrow().settings.as_ref().unwrap().spus.len(), 2, "nothing of them is in force");
    assert_eq!(delete(&mut client, "before", false).await.0, ErrorCode::None);
    process.sc.put_settings(settings).await.unwrap();
    let metadata = || state.borrow().metadata.clone();
    until("nothing is left of it", || metadata().retired.is_empty()).await;
    assert!(state.borrow().partitions.values().all(|partition| partition.replicas == [5001]));
}

#[tokio::test]
async fn what_the_sc_decides_by_itself_is_decided_again_when_it_could_not_be_kept() {
    let world = World::new(1);
    let process = world.start().await;
    // Where the document is written before it takes the old one's place, none can be.
    let in_its_way = world.sc_dir().join("metadata.new");
    std::fs::create_dir_all(in_its_way.join("not-empty")).unwrap();
    let _only = world.spu(0).await;
    let state = process.sc.state();
    until("the SPU is there", || state.borrow().spus["main-0"].online).await;
    assert!(state.borrow().metadata.topics.is_empty(), "nothing is in force that is not kept");
    std::fs::remove_dir_all(in_its_way).unwrap();
    until("the consumers' offsets have a topic", || !state.borrow().metadata.topics.is_empty()).await;
}
