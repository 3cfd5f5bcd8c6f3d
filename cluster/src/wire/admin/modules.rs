//! SmartModules, as clients get to see them.
//!
//! Upstream's encoder would copy their code several times, so these answers are put together here, and the code goes into
//! the frame as it lies in memory.

use bytes::{BufMut, Bytes, BytesMut};

use super::Kind;
use super::answer::NOBODY;
use super::objects::decoded;
use crate::sc::objects::Encoded;
use crate::wire::encode::{finish, put, put_string, start};
use crate::wire::schema::metadata::smartmodule::{
    SmartModuleMetadata, SmartModulePackageKey, SmartModuleWasmSummary,
};
use crate::wire::{EncodeError, Frame, Header};

/// What stands before an object that is there, and one that is gone, in news.
const UPDATED: u8 = 0;
const DELETED: u8 = 1;
/// WebAssembly and not its text form.
const BINARY: u8 = 0;

/// A SmartModule to show.
#[derive(Debug)]
pub struct ShownModule<'a> {
    /// By which it is kept.
    pub name: &'a str,
    /// What its package says of it.
    pub meta: Option<&'a Encoded>,
    /// Its code.
    pub code: ShownCode,
}

/// What is shown of its code.
#[derive(Debug, Clone)]
pub enum ShownCode {
    /// How many bytes it has.
    Length(u32),
    /// All of it.
    Whole(Bytes),
}

/// Tells by its name and its package whether a SmartModule is one of those asked for, each as `[group/]name[@version]`.
/// Without any all are, and as for other types, with one that is empty.
pub fn asked_for(asked: &[String]) -> impl Fn(&str, Option<&Encoded>) -> bool {
    let all = asked.is_empty() || asked.iter().any(String::is_empty);
    // A version that is none is nobody's.
    let keys = asked.iter().filter_map(|asked| SmartModulePackageKey::from_qualified_name(asked).ok());
    let keys: Vec<_> = keys.collect();
    move |name, meta| {
        let is_one = || {
            let meta: Option<SmartModuleMetadata> = meta.map(decoded);
            let package = meta.as_ref().map(|meta| &meta.package);
            keys.iter().any(|key| key.is_match(name, package))
        };
        all || is_one()
    }
}

/// A SmartModule's name as `[group/]name[@version]`.
pub fn qualified_name(name: &str, meta: Option<&Encoded>) -> String {
    let meta: Option<SmartModuleMetadata> = meta.map(decoded);
    meta.map_or_else(|| name.to_owned(), |meta| meta.package.fqdn())
}

/// Whether a SmartModule of this qualified name is the one asked for, which may leave out group and version.
pub fn is_called(qualified: &str, asked: &str) -> bool {
    let parts = |name| SmartModulePackageKey::from_qualified_name(name).ok();
    parts(qualified).zip(parts(asked)).is_some_and(|(has, asked)| {
        has.name == asked.name
            && (asked.group.is_none() || asked.group == has.group)
            && (asked.version.is_none() || asked.version == has.version)
    })
}

/// A list of SmartModules.
pub fn list_modules(header: &Header, modules: &[ShownModule<'_>]) -> Result<Frame, EncodeError> {
    let mut pieces = Pieces::default();
    pieces.all(modules, header.version)?;
    pieces.frame(header)
}

/// News of SmartModules: all there are, or those that changed and the names of those that went.
pub fn update_modules(
    header: &Header,
    epoch: i64,
    whole: bool,
    updated: &[ShownModule<'_>],
    deleted: &[&str],
) -> Result<Frame, EncodeError> {
    // The client takes no notice of an update without any object and would wait for its first one for ever.
    let deleted = if updated.is_empty() && deleted.is_empty() { &[NOBODY] } else { deleted };
    let (all, changed) = if whole { (updated, &[][..]) } else { (&[][..], updated) };
    let mut pieces = Pieces::default();
    pieces.open.put_i64(epoch);
    pieces.count(changed.len() + deleted.len())?;
    for module in changed {
        pieces.open.put_u8(UPDATED);
        pieces.module(module, header.version)?;
    }
    for name in deleted {
        pieces.open.put_u8(DELETED);
        let gone = ShownModule { name, meta: None, code: ShownCode::Whole(Bytes::new()) };
        pieces.module(&gone, header.version)?;
    }
    pieces.all(all, header.version)?;
    pieces.frame(header)
}

/// A body in the making.
#[derive(Default)]
struct Pieces {
    done: Vec<Bytes>,
    open: BytesMut,
}

impl Pieces {
    fn count(&mut self, n: usize) -> Result<(), EncodeError> {
        let n = i32::try_from(n).map_err(|_| EncodeError("too many objects".into()))?;
        self.open.put_i32(n);
        Ok(())
    }

    fn all(&mut self, modules: &[ShownModule<'_>], version: i16) -> Result<(), EncodeError> {
        self.count(modules.len())?;
        modules.iter().try_for_each(|module| self.module(module, version))
    }

    /// Name, spec and status; the latter has no bytes.
    fn module(&mut self, module: &ShownModule<'_>, version: i16) -> Result<(), EncodeError> {
        put_string(&mut self.open, module.name)?;
        let meta: Option<SmartModuleMetadata> = module.meta.map(decoded);
        put(&mut self.open, &meta, version)?;
        let (summary, code) = match &module.code {
            ShownCode::Length(wasm_length) => {
                (Some(SmartModuleWasmSummary { wasm_length: *wasm_length }), Bytes::new())
            }
            ShownCode::Whole(code) => (None, code.clone()),
        };
        put(&mut self.open, &summary, version)?;
        self.open.put_u8(BINARY);
        let n_bytes = u32::try_from(code.len()).map_err(|_| EncodeError("larger than a frame".into()))?;
        self.open.put_u32(n_bytes);
        self.done.push(self.open.split().freeze());
        self.done.push(code);
        Ok(())
    }

    fn frame(mut self, header: &Header) -> Result<Frame, EncodeError> {
        self.done.push(self.open.freeze());
        self.done.retain(|piece| !piece.is_empty());
        let n_bytes = self.done.iter().map(Bytes::len).sum();
        let mut out = start(header, 32);
        put_string(&mut out, Kind::SmartModule.label())?;
        out.put_u32(u32::try_from(n_bytes).map_err(|_| EncodeError("larger than a frame".into()))?);
        finish(out, n_bytes).map(|head| Frame::pieces(head, self.done))
    }
}
