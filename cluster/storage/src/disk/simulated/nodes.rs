//! What is on the disk: as it is read now, as it is kept for sure, and the changes in between.

use std::collections::BTreeMap;

use super::random::Random;

const SECTOR: usize = 512;

#[derive(Clone)]
pub(super) enum Node {
    Folder { now: BTreeMap<String, u64>, durable: BTreeMap<String, u64>, pending: Vec<NameChange> },
    File { now: Vec<u8>, durable: Vec<u8>, pending: Vec<Change> },
}

#[derive(Clone)]
pub(super) enum NameChange {
    Set(String, u64),
    Remove(String),
    Rename(String, String),
}

#[derive(Clone)]
pub(super) enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

impl Node {
    /// What the machine finds of it when it starts again.
    pub(super) fn after_power_cut(&self, random: &mut Random) -> Self {
        match self {
            Self::Folder { durable, pending, .. } => {
                let mut names = durable.clone();
                let kept = random.below(pending.len() as u64 + 1) as usize;
                pending[..kept].iter().for_each(|change| change.apply(&mut names));
                Self::Folder { now: names.clone(), durable: names, pending: Vec::new() }
            }
            Self::File { durable, pending, .. } => {
                let mut bytes = durable.clone();
                match random.below(3) {
                    0 => {}
                    1 => keep_prefix(&mut bytes, pending, random),
                    _ => keep_sectors(&mut bytes, pending, random),
                }
                Self::File { now: bytes.clone(), durable: bytes, pending: Vec::new() }
            }
        }
    }
}

/// The first changes, the last of them torn.
fn keep_prefix(bytes: &mut Vec<u8>, pending: &[Change], random: &mut Random) {
    let kept = random.below(pending.len() as u64 + 1) as usize;
    pending[..kept].iter().for_each(|change| change.apply(bytes));
    if let Some(Change::Write(position, written)) = pending.get(kept) {
        let torn = random.below(written.len() as u64 + 1) as usize;
        Change::Write(*position, written[..torn].to_vec()).apply(bytes);
    }
}

/// Any sectors of any changes.
fn keep_sectors(bytes: &mut Vec<u8>, pending: &[Change], random: &mut Random) {
    for change in pending {
        match change {
            Change::Truncate(_) if random.below(2) == 0 => {}
            Change::Truncate(_) => change.apply(bytes),
            Change::Write(position, written) => {
                for (number, sector) in written.chunks(SECTOR).enumerate() {
                    if random.below(2) == 0 {
                        Change::Write(position + number * SECTOR, sector.to_vec()).apply(bytes);
                    }
                }
            }
        }
    }
}

impl NameChange {
    pub(super) fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            Self::Set(name, id) => drop(names.insert(name.clone(), *id)),
            Self::Remove(name) => drop(names.remove(name)),
            Self::Rename(from, to) => {
                if let Some(id) = names.remove(from) {
                    names.insert(to.clone(), id);
                }
            }
        }
    }
}

impl Change {
    pub(super) fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(position, written) => {
                let end = position + written.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*position..end].copy_from_slice(written);
            }
            Self::Truncate(len) => bytes.resize(*len, 0),
        }
    }
}

pub(super) fn empty_folder() -> Node {
    Node::Folder { now: BTreeMap::new(), durable: BTreeMap::new(), pending: Vec::new() }
}
