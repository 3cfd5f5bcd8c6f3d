//! Whether an object may come or go, as a pure function from one metadata to the next.

use std::sync::Arc;

use super::{CustomSpu, Encoded, SmartModule, Table, TableFormat};
use crate::sc::Refusal;
use crate::sc::metadata::Metadata;

/// Objects of each kind. They are in the metadata's document, which has to stay small.
const OBJECTS_MAX: usize = 100;
/// Bytes of one spec, for the same reason; a table format of a hundred columns has a tenth of it.
const SPEC_BYTES_MAX: usize = 16 << 10;
/// Bytes of one SmartModule as it is uploaded, compressed. The largest in use have less than two million.
pub const MODULE_BYTES_MAX: u32 = 8 << 20;
/// Bytes of all SmartModules: what a client gets that asks for all of them at once.
const MODULES_BYTES_MAX: u64 = 32 << 20;
/// Characters of a name.
const NAME_MAX: usize = 255;

/// A change that a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// A table format of this name, which there must not be.
    TableFormat(String, TableFormat),
    /// A SmartModule of this name; one that is there is replaced.
    SmartModule(String, SmartModule),
    /// A custom SPU of this name.
    CustomSpu(String, CustomSpu),
    /// That an object goes.
    Delete(Key),
}

/// Which object is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// A table format.
    TableFormat(String),
    /// A SmartModule, by the name that it is listed by or by `[group/]name[@version]` as its store has it.
    SmartModule {
        /// As asked.
        name: String,
        /// What upstream makes of it.
        store_id: String,
    },
    /// A custom SPU by name.
    SpuNamed(String),
    /// A custom SPU by id.
    SpuWithId(i32),
}

/// An SPU of the cluster's settings: its id and its name.
pub type OwnSpu<'a> = (i32, &'a str);

/// The metadata after the change.
pub fn decide(metadata: &Metadata, own: &[OwnSpu<'_>], asked: Asked) -> Result<Metadata, Refusal> {
    let mut next = metadata.clone();
    let objects = &mut next.objects;
    match asked {
        Asked::TableFormat(name, format) => {
            checked(&name, &format.spec)?;
            if objects.table_formats.contains_key(&name) {
                return Err(Refusal::TableFormatExists(name));
            }
            put(&mut objects.table_formats, "table formats", name, format)?;
        }
        Asked::SmartModule(name, module) => {
            checked(&name, module.meta.as_ref().unwrap_or(&Encoded(Default::default())))?;
            has_room(&objects.smart_modules, &name, &module)?;
            put(&mut objects.smart_modules, "SmartModules", name, module)?;
        }
        Asked::CustomSpu(name, spu) => {
            checked(&name, &spu.spec)?;
            is_free(&objects.custom_spus, own, &name, spu.id)?;
            put(&mut objects.custom_spus, "custom SPUs", name, spu)?;
        }
        Asked::Delete(Key::TableFormat(name)) => {
            take(&mut objects.table_formats, &name).ok_or(Refusal::TableFormatNotFound(name))?;
        }
        Asked::Delete(Key::SmartModule { name, store_id }) => {
            take(&mut objects.smart_modules, &name)
                .or_else(|| take(&mut objects.smart_modules, &store_id))
                .ok_or(Refusal::SmartModuleNotFound(name))?;
        }
        Asked::Delete(Key::SpuNamed(name)) => {
            let is_own = own.iter().any(|(_, own)| *own == name);
            take(&mut objects.custom_spus, &name).ok_or_else(|| no_custom_spu(name, is_own))?;
        }
        Asked::Delete(Key::SpuWithId(id)) => {
            let named =
                objects.custom_spus.iter().find(|(_, spu)| spu.id == id).map(|(name, _)| name.clone());
            let is_own = own.iter().any(|(own, _)| *own == id);
            named
                .and_then(|name| take(&mut objects.custom_spus, &name))
                .ok_or_else(|| no_custom_spu(id.to_string(), is_own))?;
        }
    }
    next.revision += 1;
    Ok(next)
}

fn put<T>(table: &mut Table<T>, kind: &str, name: String, object: T) -> Result<(), Refusal> {
    if table.len() >= OBJECTS_MAX && !table.contains_key(&name) {
        return Err(Refusal::Object(format!(
            "this cluster keeps at most {OBJECTS_MAX} {kind}: delete one first"
        )));
    }
    Arc::make_mut(table).insert(name, Arc::new(object));
    Ok(())
}

fn take<T>(table: &mut Table<T>, name: &str) -> Option<Arc<T>> {
    table.contains_key(name).then(|| Arc::make_mut(table).remove(name)).flatten()
}

/// Upstream has no rule for these names; this one keeps them printable and fit for upstream's package keys, which are
/// split at `/` and `@`.
fn checked(name: &str, spec: &Encoded) -> Result<(), Refusal> {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "-_.+".contains(letter);
    if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(fits) {
        let rule = format!("has 1 to {NAME_MAX} characters out of a-z, A-Z, 0-9, '-', '_', '.' and '+'");
        return Err(Refusal::Object(format!("the name of an object {rule}")));
    }
    if spec.len() > SPEC_BYTES_MAX {
        let rule = format!("the description of an object has at most {SPEC_BYTES_MAX} bytes");
        return Err(Refusal::Object(format!("{rule}, and this one has {}", spec.len())));
    }
    Ok(())
}

fn has_room(modules: &Table<SmartModule>, name: &str, new: &SmartModule) -> Result<(), Refusal> {
    let mib = |bytes: u64| bytes >> 20;
    if new.code.bytes > MODULE_BYTES_MAX {
        let rule = format!("a SmartModule has at most {} MiB compressed", mib(MODULE_BYTES_MAX.into()));
        return Err(Refusal::Object(format!("{rule}, and this one has {} bytes", new.code.bytes)));
    }
    let others = modules.iter().filter(|(other, _)| *other != name);
    let used: u64 = others.map(|(_, module)| u64::from(module.code.bytes)).sum();
    if used + u64::from(new.code.bytes) > MODULES_BYTES_MAX {
        let rule =
            format!("all SmartModules of a cluster have at most {} MiB compressed", mib(MODULES_BYTES_MAX));
        return Err(Refusal::Object(format!("{rule}, and the others have {used} bytes: delete one first")));
    }
    Ok(())
}

/// An SPU's name and id are its own. What the settings name later goes first all the same: they are not asked.
fn is_free(custom: &Table<CustomSpu>, own: &[OwnSpu<'_>], name: &str, id: i32) -> Result<(), Refusal> {
    // SPUs' names are parts of DNS names.
    if name.contains('.') || id < 0 {
        return Err(Refusal::Object("an SPU's name has no dot, and its id is not negative".into()));
    }
    let taken_by_own = own.iter().any(|(own_id, own_name)| *own_id == id || *own_name == name);
    if taken_by_own || custom.iter().any(|(other, spu)| other == name || spu.id == id) {
        return Err(Refusal::SpuExists(format!(
            "there is an SPU of the name '{name}' or the id {id} already"
        )));
    }
    Ok(())
}

fn no_custom_spu(asked: String, is_own: bool) -> Refusal {
    match is_own {
        true => Refusal::OwnSpu(format!(
            "SPU '{asked}' is one of the cluster's own: they are changed on the cluster's page, or with `fluvio cluster start --spu N`"
        )),
        false => Refusal::SpuNotFound(format!("no custom SPU '{asked}'")),
    }
}
