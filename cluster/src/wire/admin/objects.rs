//! Objects that are not topics: what a client asks to store, and which are to go.

use bytes::Bytes;

use super::Kind;
use crate::sc::Refusal;
use crate::sc::objects::{CustomSpu, Encoded, Key, TableFormat};
use crate::usage::Usage;
use crate::wire::schema::metadata::smartmodule::{
    SmartModuleMetadata, SmartModulePackageKey, SmartModuleSpec,
};
use crate::wire::schema::metadata::spu::{CustomSpuKey, CustomSpuSpec};
use crate::wire::schema::metadata::tableformat::TableFormatSpec;
use crate::wire::schema::sc::objects::{CommonCreateRequest, CreateRequest, DeleteRequest};
use crate::wire::schema::{Decoder, Encoder};
use crate::wire::{Fields, Header, Malformed, decode};

/// The version of [`Encoded`].
const KEPT_VERSION: i16 = 19;
/// Clients from this version on send whether a package is public.
const KNOWS_VISIBILITY: i16 = 19;
/// How every file of gzip begins.
const GZIP: &[u8] = &[0x1f, 0x8b];

/// An object to store.
#[derive(Debug)]
pub struct CreateObject {
    /// By which it is kept.
    pub name: String,
    /// What it is.
    pub object: Result<NewObject, Refusal>,
    /// Only say whether it could be stored.
    pub dry_run: bool,
}

/// What to store.
#[derive(Debug)]
pub enum NewObject {
    /// A table format.
    TableFormat(TableFormat),
    /// A SmartModule.
    SmartModule {
        /// What its package says of it.
        meta: Option<Encoded>,
        /// Its code, compressed with gzip. It shares the request's memory.
        wasm: Bytes,
    },
    /// An SPU.
    CustomSpu(CustomSpu),
}

/// Reads what is to be stored; `None` if there is no storing objects of this kind.
pub fn create(
    usage: &Usage,
    header: &Header,
    kind: Kind,
    content: &Bytes,
) -> Result<Option<CreateObject>, Malformed> {
    let version = header.version;
    Ok(Some(match kind {
        Kind::TableFormat => {
            let asked: CreateRequest<TableFormatSpec> = decode(usage, content.clone(), version)?;
            let (common, spec) = asked.parts();
            let format = encoded(&spec).map(|spec| NewObject::TableFormat(TableFormat { spec }));
            CreateObject { name: common.name, object: format, dry_run: common.dry_run }
        }
        Kind::CustomSpu => {
            let asked: CreateRequest<CustomSpuSpec> = decode(usage, content.clone(), version)?;
            let (common, spec) = asked.parts();
            let spu = encoded(&spec).map(|kept| NewObject::CustomSpu(CustomSpu { id: spec.id, spec: kept }));
            CreateObject { name: common.name, object: spu, dry_run: common.dry_run }
        }
        Kind::SmartModule => smart_module(usage, version, content.clone())?,
        Kind::Topic | Kind::Partition | Kind::Spu | Kind::SpuGroup | Kind::Mirror => return Ok(None),
    }))
}

/// Reads which object is to go; `None` if there is no deleting objects of this kind.
pub fn delete(usage: &Usage, header: &Header, kind: Kind, content: &Bytes) -> Result<Option<Key>, Malformed> {
    Ok(Some(match kind {
        Kind::TableFormat => {
            let asked: DeleteRequest<TableFormatSpec> = decode(usage, content.clone(), header.version)?;
            Key::TableFormat(asked.key())
        }
        Kind::SmartModule => {
            let asked: DeleteRequest<SmartModuleSpec> = decode(usage, content.clone(), header.version)?;
            let name = asked.key();
            let package = SmartModulePackageKey::from_qualified_name(&name);
            let store_id = package.map_or_else(|_| name.clone(), |package| package.store_id());
            Key::SmartModule { name, store_id }
        }
        Kind::CustomSpu => {
            let asked: DeleteRequest<CustomSpuSpec> = decode(usage, content.clone(), header.version)?;
            match asked.key() {
                CustomSpuKey::Name(name) => Key::SpuNamed(name),
                CustomSpuKey::Id(id) => Key::SpuWithId(id),
            }
        }
        Kind::Topic | Kind::Partition | Kind::Spu | Kind::SpuGroup | Kind::Mirror => return Ok(None),
    }))
}

/// A SmartModule is taken apart by our own reader: upstream's panics where the code is shorter than announced, and copies
/// it.
fn smart_module(usage: &Usage, version: i16, content: Bytes) -> Result<CreateObject, Malformed> {
    let mut fields = Fields::new(content.clone());
    skip_common(&mut fields)?;
    let common =
        decode::<CommonCreateRequest>(usage, content.slice(..content.len() - fields.remaining()), version)?;
    let from = content.len() - fields.remaining();
    skip_meta(&mut fields, version)?;
    let meta = content.slice(from..content.len() - fields.remaining());
    let meta: Option<SmartModuleMetadata> = decode(usage, meta, version)?;
    if fields.bool()? {
        // A summary, which clients do not send.
        fields.u32()?;
    }
    let is_binary = fields.u8()? == 0;
    let n_bytes = usize::try_from(fields.u32()?).map_err(|_| Malformed::Short)?;
    let wasm = fields.slice(n_bytes)?;

    let name = meta.as_ref().map_or(common.name, SmartModuleMetadata::store_id);
    let object = if is_binary && wasm.starts_with(GZIP) {
        meta.as_ref().map(encoded).transpose().map(|meta| NewObject::SmartModule { meta, wasm })
    } else {
        let error = "its code is not WebAssembly compressed with gzip".to_owned();
        Err(Refusal::SmartModuleInvalid { name: name.clone(), error })
    };
    Ok(CreateObject { name, object, dry_run: common.dry_run })
}

/// Name, whether it is a dry run, and a timeout.
fn skip_common(fields: &mut Fields) -> Result<(), Malformed> {
    fields.string()?;
    fields.bool()?;
    if fields.bool()? {
        fields.u32()?;
    }
    Ok(())
}

/// An optional `SmartModuleMetadata`.
fn skip_meta(fields: &mut Fields, version: i16) -> Result<(), Malformed> {
    if !fields.bool()? {
        return Ok(());
    }
    // Name, group, version and the version of the interface.
    for _ in 0..4 {
        fields.string()?;
    }
    let _description = fields.optional_string()?;
    let _license = fields.optional_string()?;
    if version >= KNOWS_VISIBILITY {
        fields.u8()?;
    }
    let _repository = fields.optional_string()?;
    for _ in 0..fields.u16()? {
        let _name = fields.string()?;
        let _description = fields.optional_string()?;
        let _optional = fields.bool()?;
    }
    Ok(())
}

/// The spec as it is kept.
fn encoded(spec: &impl Encoder) -> Result<Encoded, Refusal> {
    let mut bytes = Vec::new();
    match spec.encode(&mut bytes, KEPT_VERSION) {
        Ok(()) => Ok(Encoded(bytes.into())),
        Err(error) => Err(Refusal::Object(format!("the object cannot be kept: {error}"))),
    }
}

/// What was kept. It was encoded here and its document has a checksum, so it can be decoded; were it not so, it is shown
/// as empty.
pub(super) fn decoded<S: Decoder + Default>(kept: &Encoded) -> S {
    S::decode_from(&mut kept.0.clone(), KEPT_VERSION).unwrap_or_else(|error| {
        tracing::error!(%error, "a stored object cannot be decoded");
        S::default()
    })
}
