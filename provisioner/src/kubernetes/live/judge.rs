//! Whose a live object is, and whether it is as it is wanted.

use kube::core::DynamicObject;
use serde_json::Value;
use uuid::Uuid;

use super::{Live, Watched, read};
use crate::kubernetes::covers::{covers, fingerprint};
use crate::kubernetes::names::cluster_of;
use crate::kubernetes::objects::{self, Kind, Ref, Shape, Site};

/// The cluster that an object belongs to.
pub fn owner(watched: Watched, object: &DynamicObject) -> Option<Uuid> {
    match watched {
        Watched::Written(Kind::Namespace) => cluster_of(object.metadata.name.as_deref()?),
        Watched::Volume => cluster_of(read::claimed_from(&object.data)?),
        _ => cluster_of(object.metadata.namespace.as_deref()?),
    }
}

/// The fingerprint of what a live object covers, as far as that is known; 0: of nothing.
pub fn judge(site: &Site, shape: &Shape, kind: Kind, object: &DynamicObject) -> u64 {
    let Some(name) = object.metadata.name.clone() else { return 0 };
    let wanted = match kind {
        // Which Secret the pods are to mount is known only after a look at the Secrets; until then, what
        // they mount is taken for right.
        Kind::StatefulSet if shape.internal.is_none() => {
            let internal = read::set(object).internal.map(|name| name.to_string());
            objects::build(site, &Shape { internal, ..shape.clone() }, &Ref { kind, name })
        }
        _ => objects::build(site, shape, &Ref { kind, name }),
    };
    wanted.filter(|wanted| covers_object(wanted, object)).map_or(0, |wanted| fingerprint(&wanted))
}

impl Live {
    /// Whether this very version of an object was taken in before, in this round of its watch, and compared with what
    /// was wanted.
    pub fn knows(&self, watched: Watched, object: &DynamicObject, round: u32) -> bool {
        let Watched::Written(kind) = watched else { return false };
        let Some((name, uid, version)) = read::identity(object) else { return false };
        self.entries.iter().any(|entry| {
            (entry.kind, entry.uid, entry.version, entry.round) == (kind, uid, version, round)
                && entry.name == name
                && entry.covered != 0
        })
    }
}

/// Whether a live object is as it is wanted.
pub fn covers_object(wanted: &Value, live: &DynamicObject) -> bool {
    let Some(wanted) = wanted.as_object() else { return false };
    let metadata = wanted.get("metadata").cloned().unwrap_or_default();
    let labels = serde_json::to_value(&live.metadata.labels).unwrap_or_default();
    let annotations = serde_json::to_value(&live.metadata.annotations).unwrap_or_default();
    let content =
        wanted.iter().filter(|(key, _)| !["apiVersion", "kind", "metadata"].contains(&key.as_str()));
    let content: serde_json::Map<String, Value> =
        content.map(|(key, value)| (key.clone(), value.clone())).collect();
    live.metadata.deletion_timestamp.is_none()
        && covers(&metadata["labels"], &labels)
        && covers(&metadata["annotations"], &annotations)
        && covers(&Value::Object(content), &live.data)
}
