use uuid::Uuid;

use super::listen::view_change;
use super::message::View;
use crate::sc::decide::{
    NewTopic, World, add_partitions, confirm_retired, create_topic, delete_topic, ensure_consumer_offsets,
};
use crate::sc::metadata::Metadata;
use crate::sc::objects::{Asked, Code, Key, SmartModule, decide};
use crate::sc::topic::{Replicas, TopicOptions, TopicSpec};

fn world() -> World {
    World { spus: vec![(5001, true), (5002, true)], partitions_limit: 100, ..World::default() }
}

fn with_topic(metadata: &Metadata, name: &str) -> Metadata {
    let replicas = Replicas::Computed { partitions: 3, replication_factor: 1, ignore_rack: false };
    let spec = TopicSpec { replicas, options: TopicOptions::default() };
    let new = NewTopic { name: Ok(name.into()), spec: Ok(spec), id: Uuid::new_v4() };
    create_topic(metadata, &world(), new).unwrap()
}

fn smart_module(name: &str) -> Asked {
    let module = SmartModule { meta: None, code: Code::unwritten(name.as_bytes()) };
    Asked::SmartModule(name.into(), module)
}

/// Some life of a cluster.
fn history() -> Vec<Metadata> {
    let mut moments = vec![Metadata::default()];
    let mut live = |next: &dyn Fn(&Metadata) -> Metadata| {
        let next = next(moments.last().unwrap());
        moments.push(next);
    };
    live(&|now| ensure_consumer_offsets(now, &world(), Uuid::new_v4()).unwrap());
    live(&|now| with_topic(now, "a"));
    live(&|now| with_topic(now, "b"));
    live(&|now| add_partitions(now, &world(), "a", 2).unwrap());
    live(&|now| delete_topic(now, "a", false).unwrap());
    live(&|now| with_topic(now, "a"));
    live(&|now| confirm_retired(now, 5002, &now.retired.keys().copied().collect()).unwrap());
    live(&|now| delete_topic(now, "b", false).unwrap());
    live(&|now| decide(now, &[], smart_module("one")).unwrap());
    live(&|now| decide(now, &[], smart_module("two")).unwrap());
    live(&|now| with_topic(now, "c"));
    let key = Key::SmartModule { name: "one".into(), store_id: "one".into() };
    live(&|now| decide(now, &[], Asked::Delete(key.clone())).unwrap());
    moments
}

#[test]
fn changes_one_by_one_or_several_at_once_lead_to_the_whole() {
    let moments = history();
    for spu in [5001, 5002, 5003] {
        for step in 1..moments.len() {
            let mut view = View::default();
            let mut before = None;
            for now in moments.iter().step_by(step) {
                if let Some(change) = view_change(spu, before, now) {
                    view = view.after(change);
                }
                before = Some(now);
                let whole = View::default().after(view_change(spu, None, now).unwrap());
                // The revision is the one with which something changed for this SPU.
                assert_eq!(
                    View { revision: whole.revision, ..view.clone() },
                    whole,
                    "SPU {spu}, steps of {step}"
                );
            }
        }
    }
}

#[test]
fn every_spu_knows_which_smart_modules_are_kept() {
    let moments = history();
    for (now, expected) in moments[9..].iter().zip([&["one"][..], &["one", "two"], &["one", "two"], &["two"]])
    {
        let view = View::default().after(view_change(5003, None, now).unwrap());
        assert!(view.smart_modules.iter().eq(expected), "{:?}", view.smart_modules);
    }
}

#[test]
fn an_spu_is_not_told_what_does_not_concern_it() {
    let moments = history();
    let confirmed_by_other = (&moments[6], &moments[7]);
    assert_eq!(view_change(5001, Some(confirmed_by_other.0), confirmed_by_other.1), None);
    assert!(view_change(5002, Some(confirmed_by_other.0), confirmed_by_other.1).is_some());
}
