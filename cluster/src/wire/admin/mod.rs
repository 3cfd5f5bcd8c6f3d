//! What clients ask of the SC and what it answers.
//!
//! An object travels as a label, a length and that many bytes, whose meaning the label decides. So the label is
//! read by our own reader, and only the bytes of a type that the request can have go to the schema crates.

mod answer;
mod modules;
mod names;
mod objects;
mod spec;
mod stored;

use bytes::Bytes;

use super::schema::metadata::topic::{TopicSpec as WireTopicSpec, UpdateTopicAction};
use super::schema::sc::objects::{
    CommonCreateRequest, CreateRequest, DeleteRequest, ListRequest, UpdateRequest,
};
use super::{Fields, Header, Malformed, decode};
use crate::sc::Refusal;
use crate::sc::objects::Key;
use crate::sc::topic::TopicSpec;
use crate::usage::Usage;

pub use answer::{
    Change, empty_list, empty_update, list_partitions, list_spus, list_topics, mirroring_refused, status_ok,
    status_refused, update_partitions, update_spus, update_topics,
};
pub use modules::{
    ShownCode, ShownModule, asked_for, is_called, list_modules, qualified_name, update_modules,
};
pub use names::checked_topic_name;
pub use objects::{CreateObject, NewObject};
pub use stored::{
    list_custom_spus, list_spu_groups, list_table_formats, update_custom_spus, update_spu_groups,
    update_table_formats,
};

/// Api keys of the SC.
pub mod key {
    /// Create an object.
    pub const CREATE: u16 = 1001;
    /// Delete an object.
    pub const DELETE: u16 = 1002;
    /// List objects of one type.
    pub const LIST: u16 = 1003;
    /// Be told of all objects of one type and of each change.
    pub const WATCH: u16 = 1004;
    /// Connect as a mirror.
    pub const MIRRORING: u16 = 1005;
    /// Change an object.
    pub const UPDATE: u16 = 1006;
}

/// Before this version objects had no length before them; no client in use speaks it.
const FIRST_WITH_LENGTH: i16 = 11;

/// Bytes of a request that brings no code of a SmartModule. Far more than any client sends, and so few that what a schema
/// crate makes of them is bounded as well.
const PLAIN_BYTES_MAX: usize = 1 << 20;

/// Names that one request to list may give: each is compared with each object.
const NAMES_MAX: usize = 1000;

/// The types of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Topics.
    Topic,
    /// Partitions.
    Partition,
    /// SPUs.
    Spu,
    /// SPUs that a user registers.
    CustomSpu,
    /// Groups of SPUs.
    SpuGroup,
    /// SmartModules.
    SmartModule,
    /// Table formats.
    TableFormat,
    /// Mirrors.
    Mirror,
}

const LABELS: [(&str, Kind); 8] = [
    ("Topic", Kind::Topic),
    ("Partition", Kind::Partition),
    ("SPU", Kind::Spu),
    ("CustomSpu", Kind::CustomSpu),
    ("SpuGroup", Kind::SpuGroup),
    ("SmartModule", Kind::SmartModule),
    ("TableFormat", Kind::TableFormat),
    ("Mirror", Kind::Mirror),
];

impl Kind {
    fn of(label: &str) -> Option<Self> {
        LABELS.iter().find(|(known, _)| *known == label).map(|(_, kind)| *kind)
    }

    /// Its label on the wire.
    pub fn label(self) -> &'static str {
        LABELS.iter().find(|(_, kind)| *kind == self).map_or("", |(label, _)| label)
    }
}

/// A request to create.
#[derive(Debug)]
pub enum Create {
    /// A topic.
    Topic {
        /// As given.
        name: String,
        /// Checked against the rules of upstream.
        spec: Result<TopicSpec, Refusal>,
        /// Only say whether it could be created.
        dry_run: bool,
        /// How long the client waits for the answer.
        timeout_ms: Option<u32>,
    },
    /// An object that is stored as it is given.
    Object(CreateObject),
    /// Something else.
    Other {
        /// As given.
        name: String,
        /// `None`: of an unknown type.
        kind: Option<Kind>,
    },
}

/// A request to delete.
#[derive(Debug)]
pub enum Delete {
    /// A topic.
    Topic {
        /// As given.
        name: String,
        /// Even if it is a system topic.
        force: bool,
    },
    /// An object that was stored.
    Object(Key),
    /// Something else; `None` is of an unknown type.
    Other(Option<Kind>),
}

/// A request to change.
#[derive(Debug)]
pub enum Update {
    /// More partitions.
    AddPartitions {
        /// Of which topic.
        name: String,
        /// How many more.
        count: u32,
    },
    /// A mirror for a topic.
    AddMirror {
        /// The topic.
        name: String,
    },
    /// Something else; `None` is of an unknown type.
    Other(Option<Kind>),
}

/// A request to list.
#[derive(Debug)]
pub struct List {
    /// `None`: of an unknown type.
    pub kind: Option<Kind>,
    /// Objects whose name contains one of these; all if there are none.
    pub names: Vec<String>,
    /// System objects instead of the users'.
    pub system: bool,
    /// SmartModules without their code.
    pub summary: bool,
}

/// A request to watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watch {
    /// `None`: of an unknown type.
    pub kind: Option<Kind>,
    /// SmartModules without their code.
    pub summary: bool,
}

impl Create {
    /// The topic that is asked for.
    pub fn topic(&self) -> Option<&str> {
        if let Self::Topic { name, .. } = self { Some(name) } else { None }
    }
}

impl Delete {
    /// The topic that is to go.
    pub fn topic(&self) -> Option<&str> {
        if let Self::Topic { name, .. } = self { Some(name) } else { None }
    }
}

impl Update {
    /// The topic that is to change.
    pub fn topic(&self) -> Option<&str> {
        match self {
            Self::AddPartitions { name, .. } | Self::AddMirror { name } => Some(name),
            Self::Other(_) => None,
        }
    }
}

/// Reads a request to create. Of what is no topic only the name is read unless the client may store it (`may_store`).
pub fn create(usage: &Usage, header: &Header, body: Bytes, may_store: bool) -> Result<Create, Malformed> {
    let (kind, content) = labelled(header, body)?;
    if !may_store && kind != Some(Kind::Topic) {
        return Ok(Create::Other { name: Fields::new(content).string()?, kind });
    }
    if let Some(kind) = kind
        && let Some(object) = objects::create(usage, header, kind, &content)?
    {
        return Ok(Create::Object(object));
    }
    if kind != Some(Kind::Topic) {
        let common: CommonCreateRequest = decode(usage, content, header.version)?;
        return Ok(Create::Other { name: common.name, kind });
    }
    let request: CreateRequest<WireTopicSpec> = decode(usage, content, header.version)?;
    let (common, spec) = request.parts();
    let spec = spec::from_wire(&spec);
    Ok(Create::Topic { name: common.name, spec, dry_run: common.dry_run, timeout_ms: common.timeout })
}

/// Reads a request to delete.
pub fn delete(usage: &Usage, header: &Header, body: Bytes) -> Result<Delete, Malformed> {
    let (kind, content) = labelled(header, body)?;
    if let Some(kind) = kind
        && let Some(key) = objects::delete(usage, header, kind, &content)?
    {
        return Ok(Delete::Object(key));
    }
    if kind != Some(Kind::Topic) {
        return Ok(Delete::Other(kind));
    }
    let request: DeleteRequest<WireTopicSpec> = decode(usage, content, header.version)?;
    Ok(Delete::Topic { force: request.is_force(), name: request.key() })
}

/// Reads a request to change.
pub fn update(usage: &Usage, header: &Header, body: Bytes) -> Result<Update, Malformed> {
    let (kind, content) = labelled(header, body)?;
    if kind != Some(Kind::Topic) {
        return Ok(Update::Other(kind));
    }
    let request: UpdateRequest<WireTopicSpec> = decode(usage, content, header.version)?;
    let action = request.action.clone();
    let name = request.key();
    Ok(match action {
        UpdateTopicAction::AddPartition(add) => Update::AddPartitions { name, count: add.count },
        UpdateTopicAction::AddMirror(_) => Update::AddMirror { name },
    })
}

/// Reads a request to list.
pub fn list(usage: &Usage, header: &Header, body: Bytes) -> Result<List, Malformed> {
    let (kind, content) = labelled(header, body)?;
    // They come first, and each takes at least its length.
    if Fields::new(content.clone()).count(2)? > NAMES_MAX {
        return Err(Malformed::Value("list request: it asks for more than 1,000 names"));
    }
    // The bytes are the same for every type of object.
    let request: ListRequest<WireTopicSpec> = decode(usage, content, header.version)?;
    let names: Vec<super::schema::sc::objects::ListFilter> = request.name_filters.into();
    let names = names.into_iter().map(|filter| filter.name).collect();
    Ok(List { kind, names, system: request.system, summary: request.summary })
}

/// Reads a request to watch. Of its epoch upstream makes nothing, nor does the SC.
pub fn watch(header: &Header, body: Bytes) -> Result<Watch, Malformed> {
    let (kind, content) = labelled(header, body)?;
    let mut fields = Fields::new(content);
    fields.i64()?;
    Ok(Watch { kind, summary: fields.bool()? })
}

/// Whether so many bytes are more than this request may have, which is looked at before they are decoded.
pub fn is_too_large(header: &Header, body: &Bytes) -> bool {
    let is_upload = || {
        let label = Fields::new(body.clone()).string();
        header.key == key::CREATE && label.is_ok_and(|label| label == Kind::SmartModule.label())
    };
    body.len() > PLAIN_BYTES_MAX && !is_upload()
}

/// The type of the request's object, and its bytes.
fn labelled(header: &Header, body: Bytes) -> Result<(Option<Kind>, Bytes), Malformed> {
    if header.version < FIRST_WITH_LENGTH {
        return Err(Malformed::Value("version: objects are read from version 11 on"));
    }
    let mut fields = Fields::new(body);
    let label = fields.string()?;
    let length = usize::try_from(fields.u32()?).map_err(|_| Malformed::Short)?;
    Ok((Kind::of(&label), fields.slice(length)?))
}

#[cfg(test)]
mod tests;
