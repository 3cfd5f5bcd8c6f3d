//! Requests that change something.

use std::time::Duration;

use tokio::time::timeout;
use uuid::Uuid;

use super::modules::Modules;
use super::{PROVISION_PATIENCE, unsupported};
use crate::connection::Close;
use crate::sc::decide::NewTopic;
use crate::sc::metadata::Standing;
use crate::sc::objects::{Asked, Key};
use crate::sc::{Refusal, Sc};
use crate::wire::admin::{
    Create, CreateObject, Delete, NewObject, Update, checked_topic_name, status_ok, status_refused,
};
use crate::wire::{Frame, Header};

pub async fn create(
    sc: Sc,
    modules: Modules,
    header: Header,
    asked: Create,
    may: bool,
) -> Result<Frame, Close> {
    let (name, done) = match asked {
        Create::Topic { name, .. }
        | Create::Other { name, .. }
        | Create::Object(CreateObject { name, .. })
            if !may =>
        {
            (name, Err(Refusal::Denied("create topics or other objects")))
        }
        Create::Object(CreateObject { name, object, dry_run }) => {
            let done = store(&sc, &modules, name.clone(), object, dry_run).await;
            (name, done.map(drop))
        }
        Create::Other { name, kind } => (name, Err(unsupported(kind))),
        Create::Topic { name, spec, dry_run, timeout_ms } => {
            let new = NewTopic { name: checked_topic_name(name.clone()), spec, id: Uuid::new_v4() };
            let done = match sc.create(new, dry_run).await {
                Ok(_) if dry_run => Ok(()),
                Ok(_) => serves(&sc, &name, patience(timeout_ms)).await,
                Err(refusal) => Err(refusal),
            };
            (name, done)
        }
    };
    answer(&header, name, done)
}

async fn store(
    sc: &Sc,
    modules: &Modules,
    name: String,
    object: Result<NewObject, Refusal>,
    dry_run: bool,
) -> Result<u64, Refusal> {
    let asked = match object? {
        NewObject::TableFormat(format) => Asked::TableFormat(name, format),
        NewObject::CustomSpu(spu) => Asked::CustomSpu(name, spu),
        NewObject::SmartModule { meta, wasm } => return modules.store(name, meta, wasm, dry_run).await,
    };
    sc.change_object(asked, dry_run).await
}

fn name_of(key: &Key) -> String {
    match key {
        Key::TableFormat(name) | Key::SmartModule { name, .. } | Key::SpuNamed(name) => name.clone(),
        Key::SpuWithId(id) => id.to_string(),
    }
}

pub async fn delete(sc: Sc, header: Header, asked: Delete, may: bool) -> Result<Frame, Close> {
    let (name, done) = match asked {
        Delete::Topic { name, .. } if !may => (name, Err(Refusal::Denied("delete topics"))),
        Delete::Other(_) | Delete::Object(_) if !may => {
            (String::new(), Err(Refusal::Denied("delete objects")))
        }
        Delete::Object(key) => {
            let name = name_of(&key);
            (name, sc.change_object(Asked::Delete(key), false).await.map(drop))
        }
        Delete::Other(kind) => (String::new(), Err(unsupported(kind))),
        Delete::Topic { name, force } => {
            let done = sc.delete(name.clone(), force).await.map(drop);
            (name, done)
        }
    };
    answer(&header, name, done)
}

pub async fn update(sc: Sc, header: Header, asked: Update, may: bool) -> Result<Frame, Close> {
    let (name, done) = match asked {
        Update::AddPartitions { name, .. } | Update::AddMirror { name } if !may => {
            (name, Err(Refusal::Denied("change topics")))
        }
        Update::Other(_) if !may => (String::new(), Err(Refusal::Denied("change objects"))),
        Update::Other(kind) => (String::new(), Err(unsupported(kind))),
        Update::AddMirror { name } => {
            (name, Err(Refusal::Unsupported("mirroring is not available on this cluster".into())))
        }
        Update::AddPartitions { name, count } => {
            let done = match sc.add_partitions(name.clone(), count).await {
                Ok(_) => serves(&sc, &name, PROVISION_PATIENCE).await,
                Err(refusal) => Err(refusal),
            };
            (name, done)
        }
    };
    answer(&header, name, done)
}

fn answer(header: &Header, name: String, done: Result<(), Refusal>) -> Result<Frame, Close> {
    Ok(match done {
        Ok(()) => status_ok(header, name)?,
        Err(refusal) => status_refused(header, name, &refusal)?,
    })
}

/// No longer than ours, since the published client gives up on its own after a minute.
fn patience(timeout_ms: Option<u32>) -> Duration {
    timeout_ms.map_or(PROVISION_PATIENCE, |ms| Duration::from_millis(ms.into()).min(PROVISION_PATIENCE))
}

/// Waits until every partition of the topic serves. A topic that waits for resources is done as it is: that is
/// in its status, and it gets its place by itself.
async fn serves(sc: &Sc, name: &str, patience: Duration) -> Result<(), Refusal> {
    let mut state = sc.state();
    let settled = state.wait_for(|state| {
        // Deleted again meanwhile: nothing to wait for.
        state.topics.get(name).is_none_or(|view| view.online || view.topic.standing != Standing::Provisioned)
    });
    match timeout(patience, settled).await {
        Ok(_) => Ok(()),
        Err(_) => Err(Refusal::NotProvisioned(format!(
            "topic '{name}' exists, but not all its partitions serve yet: they will as soon as their SPUs are back"
        ))),
    }
}
