//! Table formats, SmartModules and custom SPUs: what clients store in the SC beside topics.
//!
//! The SC decides nothing by them but whether they may be there, so it keeps their specs as clients gave them. They are
//! part of the metadata, and no SPU has a copy: an SC that lost its disk has lost them. In the metadata's document they
//! are the field `objects`, which is absent while there are none:
//! ```text
//! {"table_formats": {"NAME": {"spec": ENCODED}},
//!  "smart_modules": {"NAME": {"meta": ENCODED or null, "file": UUID, "bytes": N, "sha256": HEX}},
//!  "custom_spus":   {"NAME": {"id": N, "spec": ENCODED}}}
//! ```
//! where ENCODED is [`Encoded`], and a kind of which there is none is absent. The code of a SmartModule is not in there,
//! since the document is written anew at every change of a topic: it is a file of its own, see [`files`].

mod decide;
mod encoded;
pub mod files;
mod shown;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use decide::{Asked, Key, MODULE_BYTES_MAX, OwnSpu, decide};
pub use encoded::Encoded;
pub use shown::{OWN_GROUP, SpuGroup, all_spus, groups};

/// Objects of one kind by name. One that did not change stays the same allocation, by which watchers know.
pub type Table<T> = Arc<BTreeMap<String, Arc<T>>>;

/// All of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Objects {
    /// How clients show records of JSON as a table.
    #[serde(default, skip_serializing_if = "none")]
    pub table_formats: Table<TableFormat>,
    /// Programs for records.
    #[serde(default, skip_serializing_if = "none")]
    pub smart_modules: Table<SmartModule>,
    /// SPUs that a user announced.
    #[serde(default, skip_serializing_if = "none")]
    pub custom_spus: Table<CustomSpu>,
}

fn none<T>(table: &Table<T>) -> bool {
    table.is_empty()
}

impl Objects {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        none(&self.table_formats) && none(&self.smart_modules) && none(&self.custom_spus)
    }
}

/// A table format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableFormat {
    /// Upstream's `TableFormatSpec`.
    pub spec: Encoded,
}

/// A SmartModule without its code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SmartModule {
    /// Upstream's `SmartModuleMetadata`, if it came with one.
    pub meta: Option<Encoded>,
    /// Where its code is.
    #[serde(flatten)]
    pub code: Code,
}

/// Where the code of a SmartModule is, and what it must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Code {
    /// Name of its file, which no other upload ever has.
    pub file: Uuid,
    /// Length as the client gave it, compressed.
    pub bytes: u32,
    /// Digest of that, in hexadecimal.
    pub sha256: String,
}

impl Code {
    /// Of this code before it is written.
    pub fn unwritten(wasm: &[u8]) -> Self {
        let bytes = u32::try_from(wasm.len()).unwrap_or(u32::MAX);
        Self { file: Uuid::nil(), bytes, sha256: String::new() }
    }
}

/// An SPU that a user announced. None of them is ever connected: this cluster's SPUs are those of its settings, and only
/// they get partitions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomSpu {
    /// Its id, which no other SPU has.
    pub id: i32,
    /// Upstream's `CustomSpuSpec`.
    pub spec: Encoded,
}

#[cfg(test)]
mod tests;
