//! The disk's contents by path, and the operation that fails.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::path::{Component, Path};

use super::Fault;
use super::nodes::{NameChange, Node, empty_folder};
use super::random::Random;

const ROOT: u64 = 0;

/// All of it, and what is to go wrong.
pub(super) struct World {
    pub(super) nodes: HashMap<u64, Node>,
    pub(super) last_id: u64,
    pub(super) random: Random,
    pub(super) operations: u64,
    pub(super) fault: Option<Fault>,
    pub(super) fault_fired: bool,
    pub(super) cut_at: Option<u64>,
    pub(super) free_space: u64,
    pub(super) failed_syncs: u64,
    /// A file and the bytes of it that cannot be read.
    pub(super) unreadable: Option<(u64, Range<u64>)>,
}

impl World {
    /// An empty disk.
    pub(super) fn empty(seed: u64) -> Self {
        Self::with(HashMap::from([(ROOT, empty_folder())]), ROOT, Random(seed), u64::MAX)
    }

    /// A disk with these contents, on which nothing has happened and nothing goes wrong yet.
    pub(super) fn with(nodes: HashMap<u64, Node>, last_id: u64, random: Random, free_space: u64) -> Self {
        Self {
            nodes,
            last_id,
            random,
            operations: 0,
            fault: None,
            fault_fired: false,
            cut_at: None,
            free_space,
            failed_syncs: 0,
            unreadable: None,
        }
    }

    /// Counts the operation; says whether it fails.
    pub(super) fn step(&mut self) -> io::Result<()> {
        self.operations += 1;
        if self.cut_at.is_some_and(|at| self.operations > at) {
            return Err(io::Error::other("the power is gone"));
        }
        match self.fault {
            Some(fault) if self.operations == fault.at || (fault.lasting && self.operations > fault.at) => {
                self.fault_fired = true;
                Err(fault.kind.into())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<u64> {
        let mut id = ROOT;
        for name in names(path) {
            let Some(Node::Folder { now, .. }) = self.nodes.get(&id) else {
                return Err(io::ErrorKind::NotADirectory.into());
            };
            id = *now.get(name).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(id)
    }

    pub(super) fn change_names(&mut self, folder: &Path, change: NameChange) -> io::Result<()> {
        let id = self.find(folder)?;
        let Some(Node::Folder { now, pending, .. }) = self.nodes.get_mut(&id) else {
            return Err(io::ErrorKind::NotADirectory.into());
        };
        change.apply(now);
        pending.push(change);
        Ok(())
    }

    pub(super) fn add(&mut self, path: &Path, node: Node) -> io::Result<u64> {
        self.last_id += 1;
        let id = self.last_id;
        self.nodes.insert(id, node);
        self.change_names(parent(path), NameChange::Set(last_name(path), id))?;
        Ok(id)
    }
}

fn names(path: &Path) -> impl Iterator<Item = &str> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => name.to_str(),
        _ => None,
    })
}

pub(super) fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

pub(super) fn last_name(path: &Path) -> String {
    names(path).last().unwrap_or_default().to_owned()
}
