//! Partitions come and go with the SC's word, and stay without it.

use std::path::Path;

use tokio::time::timeout;

use super::fixture::{Controller, SliceSeen, Unit, assignment, batch, numbers, produced, stream_fetch};
use crate::connection::tests::fixture::{Cluster, DEADLINE, request};
use crate::link::{Assignment, ReplicaState};
use crate::sc::topic::TopicOptions;

fn folders(root: &Path) -> usize {
    std::fs::read_dir(root.join("main-0/log")).unwrap().count()
}

/// An SPU with the topic `numbers`, and the SC that it listens to.
async fn controlled(folder: &Path, cluster: &Cluster) -> (Unit, Controller) {
    let listener = Controller::listen(folder);
    let unit = Unit::with_numbers(folder, cluster).await;
    (unit, Controller::accept(&listener).await)
}

#[tokio::test]
async fn an_spu_serves_what_it_kept_before_any_sc_is_there() {
    let (folder, cluster) = (tempfile::tempdir().unwrap(), Cluster::new());
    let unit = Unit::with_numbers(folder.path(), &cluster).await;
    produced(&mut unit.client(&cluster).await, "numbers", &[(1, &batch(&["a", "b"]))]).await;
    unit.stop().await;
    let kept = crate::spu::kept_assignments(&folder.path().join("main-0")).unwrap();
    let mut expected = numbers();
    expected.sort_by(|left, right| left.key.cmp(&right.key));
    assert_eq!(kept, expected);
    let unit = Unit::start(folder.path(), cluster.settings(), kept).await;
    let answers = produced(&mut unit.client(&cluster).await, "numbers", &[(1, &batch(&["c"]))]).await;
    assert_eq!(answers, [(1, 0, 2)]);
}

#[tokio::test]
async fn a_deleted_topic_ends_its_streams_and_its_files() {
    let (folder, cluster) = (tempfile::tempdir().unwrap(), Cluster::new());
    let (unit, mut controller) = controlled(folder.path(), &cluster).await;
    controller.put(numbers(), &[]).await;
    let mut client = unit.client(&cluster).await;
    produced(&mut client, "numbers", &[(0, &batch(&["a"]))]).await;
    client.send(&request(1003, 25, &stream_fetch("numbers", 1, 100, None))).await;
    assert!(client.call(18, 2, &[]).await.is_some());
    assert_eq!(folders(folder.path()), 3);

    // Made again under its name at once: another topic, and empty.
    let again = vec![assignment("numbers", 0, 9, TopicOptions::default()), numbers().remove(2)];
    controller.put(again.clone(), &[1]).await;
    assert_eq!(SliceSeen::parse(client.response().await.unwrap()).code, 2007);
    assert_eq!(folders(folder.path()), 2);
    assert_eq!(produced(&mut client, "numbers", &[(0, &batch(&["b"]))]).await, [(0, 0, 0)]);
    // Told twice, nothing changes.
    controller.put(again, &[1]).await;
    assert_eq!(produced(&mut client, "numbers", &[(0, &batch(&["b"]))]).await, [(0, 0, 1)]);
}

#[tokio::test]
async fn a_deletion_is_confirmed_only_when_nothing_is_left_of_it() {
    let (folder, cluster) = (tempfile::tempdir().unwrap(), Cluster::new());
    let (unit, mut controller) = controlled(folder.path(), &cluster).await;
    controller.put(numbers(), &[]).await;
    assert_eq!(folders(folder.path()), 3);
    // A file where the first partition's folder has to go: the disk refuses, whoever asks.
    let topic_id = numbers()[0].topic_id.simple().to_string();
    let partition = |suffix: &str| folder.path().join(format!("main-0/log/numbers-{topic_id}-{suffix}"));
    std::fs::write(partition("0.deleted"), b"in the way").unwrap();
    controller.tell(numbers().split_off(2), &[1]).await;
    let tried = async {
        // Removed behind the first, so by then the first was refused.
        while partition("1").exists() {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, tried).await.unwrap();
    assert!(partition("0").exists());
    std::fs::remove_file(partition("0.deleted")).unwrap();
    controller.applied().await;
    assert!(!partition("0").exists(), "confirmed, and still there");
    assert_eq!(folders(folder.path()), 1);
    drop(unit);
}

#[tokio::test]
async fn what_is_neither_assigned_nor_deleted_is_kept_and_not_served() {
    let (folder, cluster) = (tempfile::tempdir().unwrap(), Cluster::new());
    let (unit, mut controller) = controlled(folder.path(), &cluster).await;
    controller.put(numbers(), &[]).await;
    let mut client = unit.client(&cluster).await;
    produced(&mut client, "numbers", &[(0, &batch(&["a"]))]).await;
    client.send(&request(1003, 25, &stream_fetch("numbers", 1, 100, None))).await;
    controller.put(numbers().split_off(2), &[]).await;
    assert_eq!(SliceSeen::parse(client.response().await.unwrap()).code, 6);
    assert_eq!(produced(&mut client, "numbers", &[(0, &batch(&["b"]))]).await[0].1, 6);
    assert_eq!(folders(folder.path()), 3);
    controller.put(numbers(), &[]).await;
    assert_eq!(produced(&mut client, "numbers", &[(0, &batch(&["b"]))]).await, [(0, 0, 1)]);
}

#[tokio::test]
async fn a_copy_that_others_have_in_its_place_is_removed_and_begins_empty_if_it_comes_back() {
    let (folder, cluster) = (tempfile::tempdir().unwrap(), Cluster::new());
    let (unit, mut controller) = controlled(folder.path(), &cluster).await;
    controller.put(numbers(), &[]).await;
    let mut client = unit.client(&cluster).await;
    produced(&mut client, "numbers", &[(0, &batch(&["a"])), (1, &batch(&["b"]))]).await;
    let mut without = numbers();
    without.remove(0);
    for _ in 0..2 {
        controller.put_dropping(without.clone(), &[(1, 0)]).await;
        assert_eq!(folders(folder.path()), 2, "of its topic, only the partition that moved is gone");
    }
    assert_eq!(produced(&mut client, "numbers", &[(1, &batch(&["b"]))]).await, [(1, 0, 1)]);
    controller.put(numbers(), &[]).await;
    assert_eq!(produced(&mut client, "numbers", &[(0, &batch(&["c"]))]).await, [(0, 0, 0)]);
}

#[tokio::test]
async fn a_changed_epoch_is_in_every_batch_stored_after_it() {
    let (folder, cluster) = (tempfile::tempdir().unwrap(), Cluster::new());
    let (unit, mut controller) = controlled(folder.path(), &cluster).await;
    let mut client = unit.client(&cluster).await;
    produced(&mut client, "numbers", &[(0, &batch(&["a"]))]).await;
    let mut view = numbers();
    view[0].epoch = 4;
    controller.put(view, &[]).await;
    produced(&mut client, "numbers", &[(0, &batch(&["b"]))]).await;
    client.send(&request(1003, 25, &stream_fetch("numbers", 0, 1 << 20, None))).await;
    let slice = SliceSeen::parse(client.response().await.unwrap());
    let epochs: Vec<i32> = slice.batches.iter().map(|batch| batch.header().leader_epoch).collect();
    assert_eq!(epochs, [3, 4]);
}

/// The only partition of `copied`, which another SPU has a copy of.
fn copied(topic_id: u128, epoch: u32) -> Assignment {
    let alone = assignment("copied", 0, topic_id, TopicOptions::default());
    Assignment { epoch, replicas: vec![5001, 5002], factor: 2, ..alone }
}

#[tokio::test]
async fn what_an_spu_led_before_it_began_anew_it_leads_in_a_later_epoch_only_and_says_so() {
    let (folder, cluster) = (tempfile::tempdir().unwrap(), Cluster::new());
    let listener = Controller::listen(folder.path());
    let unit = Unit::start(folder.path(), cluster.settings(), vec![copied(1, 3)]).await;
    let mut controller = Controller::accept(&listener).await;
    controller.tell(vec![copied(1, 3)], &[]).await;
    assert_eq!(controller.reported("copied", |report| report.lost_lead).await.epoch, 3);
    controller.tell(vec![copied(1, 4)], &[]).await;
    assert_eq!(controller.reported("copied", |report| !report.lost_lead).await.epoch, 4);
    // Another topic of that name begins with the first epoch, and nothing of it was lost.
    controller.tell(vec![copied(9, 0)], &[1]).await;
    let report = controller.reported("copied", |report| report.epoch == 0).await;
    assert_eq!((report.topic_id, report.lost_lead), (uuid::Uuid::from_u128(9), false));
    drop(unit);
}

#[tokio::test]
async fn a_lead_that_cannot_be_kept_on_disk_does_not_begin_and_the_sc_hears_so() {
    let (folder, cluster) = (tempfile::tempdir().unwrap(), Cluster::new());
    let (_unit, mut controller) = controlled(folder.path(), &cluster).await;
    controller.put(vec![copied(1, 3)], &[]).await;
    // Where the document is written before it takes the old one's place, none can be.
    let in_its_way = folder.path().join("main-0/whole.new");
    std::fs::create_dir_all(in_its_way.join("not-empty")).unwrap();
    controller.tell(vec![copied(1, 4)], &[]).await;
    let report = controller.reported("copied", |report| report.epoch == 4).await;
    assert_eq!((report.state, report.lost_lead), (ReplicaState::Online, true));
    std::fs::remove_dir_all(in_its_way).unwrap();
    controller.tell(vec![copied(1, 5)], &[]).await;
    assert_eq!(controller.reported("copied", |report| !report.lost_lead).await.epoch, 5);
}

#[tokio::test]
async fn a_consumer_does_not_go_on_in_a_topic_that_was_made_again_under_its_name() {
    let (folder, cluster) = (tempfile::tempdir().unwrap(), Cluster::new());
    let (unit, mut controller) = controlled(folder.path(), &cluster).await;
    controller.put(vec![copied(8, 3)], &[]).await;
    let mut client = unit.client(&cluster).await;
    client.send(&request(1003, 25, &stream_fetch("copied", 0, 100, None))).await;
    assert!(client.call(18, 2, &[]).await.is_some());
    // Its lead is over before its log is gone, so the consumer looks where it goes on.
    controller.put(vec![copied(9, 3)], &[8]).await;
    assert_eq!(SliceSeen::parse(client.response().await.unwrap()).code, 2007);
}

#[tokio::test]
async fn the_sc_hears_at_once_that_a_leaders_log_failed() {
    let (folder, cluster) = (tempfile::tempdir().unwrap(), Cluster::new());
    let listener = Controller::listen(folder.path());
    let unit = Unit::with_numbers(folder.path(), &cluster).await;
    let mut controller = Controller::accept(&listener).await;
    controller.put(vec![copied(1, 3)], &[]).await;
    // The next epoch's segment has nowhere to be.
    let log = folder.path().join(format!("main-0/log/copied-{}-0", uuid::Uuid::from_u128(1).simple()));
    std::fs::remove_dir_all(log).unwrap();
    controller.put(vec![copied(1, 4)], &[]).await;
    let stored = produced(&mut unit.client(&cluster).await, "copied", &[(0, &batch(&["a"]))]).await;
    assert_eq!(stored[0].1, 56);
    let report = controller.reported("copied", |report| report.state == ReplicaState::Failed).await;
    assert_eq!(report.epoch, 4);
}
