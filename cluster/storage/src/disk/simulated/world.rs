//! The disk's contents by path, and the operation that fails.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::path::{Component, Path};

use super::Fault;
use super::nodes::{NameChange, Node, empty_folder};
use super::random::Random;

const ROOT: u64 = 0;

/// All of it, and what is to go wrong.
pub(super) struct World {
    pub(super) nodes: BTreeMap<u64, Node>,
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
        Self::with(BTreeMap::from([(ROOT, empty_folder())]), ROOT, Random(seed), u64::MAX)
    }

    /// A disk with these contents, on which nothing has happened and nothing goes wrong yet.
    pub(super) fn with(nodes: BTreeMap<u64, Node>, last_id: u64, random: Random, free_space: u64) -> Self {
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

    pub(super) fn set_fault(&mut self, fault: Option<Fault>) {
        (self.operations, self.fault, self.fault_fired) = (0, fault, false);
    }

    /// What the machine finds when it starts again. This one is dead.
    pub(super) fn after_power_cut(&mut self) -> Self {
        self.cut_at = Some(0);
        self.operations += 1;
        let mut random = Random(self.random.next());
        let mut nodes: BTreeMap<_, _> =
            self.nodes.iter().map(|(id, node)| (*id, node.after_power_cut(&mut random))).collect();
        keep_named(&mut nodes);
        Self::with(nodes, self.last_id, random, self.free_space)
    }

    /// What was neither synced nor still waits to be written is not what is read any more.
    pub(super) fn forget_unwritten(&mut self) {
        for node in self.nodes.values_mut() {
            if let Node::File { now, durable, pending } = node {
                now.clone_from(durable);
                pending.iter().for_each(|change| change.apply(now));
            }
        }
    }

    /// Whether anything was asked of it after the power went.
    pub(super) fn is_dead(&self) -> bool {
        self.cut_at.is_some_and(|at| self.operations > at)
    }

    /// Counts the operation; says whether it fails.
    pub(super) fn step(&mut self) -> io::Result<()> {
        self.operations += 1;
        if self.is_dead() {
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

/// Nobody has a file open when the machine starts, so what has no name is gone.
fn keep_named(nodes: &mut BTreeMap<u64, Node>) {
    let (mut named, mut folders) = (BTreeSet::from([ROOT]), vec![ROOT]);
    while let Some(folder) = folders.pop() {
        if let Some(Node::Folder { now, .. }) = nodes.get(&folder) {
            named.extend(now.values());
            folders.extend(now.values());
        }
    }
    nodes.retain(|id, _| named.contains(id));
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
