//! A disk that forgets: keeps what was synced apart from what was not, loses power, fails when told to.
//!
//! More forgetful than a real one: a file's sync makes its bytes durable but not its name, a failed sync loses
//! what it should have written while reads still show it, and a power cut keeps any part of what was not synced.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, IoSlice};
use std::path::{Component, Path};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, File};

const ROOT: u64 = 0;
const SECTOR: usize = 512;

/// Which operation fails, counted from 1, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) at: u64,
    pub(crate) kind: io::ErrorKind,
    /// All operations from there on, or just the one.
    pub(crate) lasting: bool,
}

type SyncHook = Arc<dyn Fn() + Send + Sync>;

/// The disk. Clones are the same one.
#[derive(Clone)]
pub(crate) struct SimulatedDisk(Arc<Shared>);

struct Shared {
    world: Mutex<World>,
    on_sync: Mutex<Option<SyncHook>>,
}

struct World {
    nodes: HashMap<u64, Node>,
    last_id: u64,
    random: Random,
    operations: u64,
    fault: Option<Fault>,
    fault_fired: bool,
    cut_at: Option<u64>,
    free_space: u64,
    failed_syncs: u64,
}

#[derive(Clone)]
enum Node {
    Folder { now: BTreeMap<String, u64>, durable: BTreeMap<String, u64>, pending: Vec<NameChange> },
    File { now: Vec<u8>, durable: Vec<u8>, pending: Vec<Change> },
}

#[derive(Clone)]
enum NameChange {
    Set(String, u64),
    Remove(String),
    Rename(String, String),
}

#[derive(Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

/// SplitMix64: the same seed gives the same run.
#[derive(Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}

impl SimulatedDisk {
    pub(crate) fn new(seed: u64) -> Self {
        let nodes = HashMap::from([(ROOT, empty_folder())]);
        Self::of(World {
            nodes,
            last_id: ROOT,
            random: Random(seed),
            operations: 0,
            fault: None,
            fault_fired: false,
            cut_at: None,
            free_space: u64::MAX,
            failed_syncs: 0,
        })
    }

    fn of(world: World) -> Self {
        Self(Arc::new(Shared { world: Mutex::new(world), on_sync: Mutex::new(None) }))
    }

    /// Plans a fault, or takes it away; the counting begins anew.
    pub(crate) fn set_fault(&self, fault: Option<Fault>) {
        let mut world = self.world();
        world.operations = 0;
        world.fault = fault;
        world.fault_fired = false;
    }

    pub(crate) fn fault_fired(&self) -> bool {
        self.world().fault_fired
    }

    pub(crate) fn failed_syncs(&self) -> u64 {
        self.world().failed_syncs
    }

    pub(crate) fn set_free_space(&self, bytes: u64) {
        self.world().free_space = bytes;
    }

    /// Plans the power cut: that many operations from now on, everything fails.
    pub(crate) fn cut_power_after(&self, operations: u64) {
        let mut world = self.world();
        world.cut_at = Some(world.operations + operations);
    }

    /// Called in every sync of a file, before it happens.
    pub(crate) fn on_sync(&self, hook: SyncHook) {
        *self.0.on_sync.lock().unwrap() = Some(hook);
    }

    /// Cuts the power now: the disk as the machine finds it when it starts again. This one is dead.
    pub(crate) fn restart(&self) -> Self {
        let mut world = self.world();
        world.cut_at = Some(0);
        let mut random = Random(world.random.next());
        let nodes = world.nodes.iter().map(|(id, node)| (*id, node.after_power_cut(&mut random))).collect();
        Self::of(World {
            nodes,
            last_id: world.last_id,
            random,
            operations: 0,
            fault: None,
            fault_fired: false,
            cut_at: None,
            free_space: world.free_space,
            failed_syncs: 0,
        })
    }

    /// A copy that can be damaged without touching this one.
    pub(crate) fn copy(&self) -> Self {
        let world = self.world();
        Self::of(World {
            nodes: world.nodes.clone(),
            last_id: world.last_id,
            random: world.random.clone(),
            operations: 0,
            fault: None,
            fault_fired: false,
            cut_at: None,
            free_space: world.free_space,
            failed_syncs: 0,
        })
    }

    /// The bytes of a file, none if there is no such file.
    pub(crate) fn bytes(&self, path: &Path) -> Option<Vec<u8>> {
        let world = self.world();
        match world.nodes.get(&world.find(path).ok()?)? {
            Node::File { now, .. } => Some(now.clone()),
            Node::Folder { .. } => None,
        }
    }

    /// Puts other bytes into a file, durably, as bad luck would.
    pub(crate) fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut world = self.world();
        let id = world.find(path).unwrap();
        let Some(Node::File { now, durable, .. }) = world.nodes.get_mut(&id) else { panic!("not a file") };
        change(now);
        durable.clone_from(now);
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    fn after_power_cut(&self, random: &mut Random) -> Self {
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
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
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
    fn apply(&self, bytes: &mut Vec<u8>) {
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

impl World {
    /// Counts the operation; says whether it fails.
    fn step(&mut self) -> io::Result<()> {
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

    fn find(&self, path: &Path) -> io::Result<u64> {
        let mut id = ROOT;
        for name in names(path) {
            let Some(Node::Folder { now, .. }) = self.nodes.get(&id) else {
                return Err(io::ErrorKind::NotADirectory.into());
            };
            id = *now.get(name).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(id)
    }

    fn change_names(&mut self, folder: &Path, change: NameChange) -> io::Result<()> {
        let id = self.find(folder)?;
        let Some(Node::Folder { now, pending, .. }) = self.nodes.get_mut(&id) else {
            return Err(io::ErrorKind::NotADirectory.into());
        };
        change.apply(now);
        pending.push(change);
        Ok(())
    }

    fn add(&mut self, path: &Path, node: Node) -> io::Result<u64> {
        self.last_id += 1;
        let id = self.last_id;
        self.nodes.insert(id, node);
        self.change_names(parent(path), NameChange::Set(last_name(path), id))?;
        Ok(id)
    }
}

impl SimulatedDisk {
    fn handle(&self, id: u64) -> Arc<dyn File> {
        Arc::new(SimulatedFile { disk: self.clone(), id })
    }
}

impl Disk for SimulatedDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.step()?;
        for folder in path.ancestors().collect::<Vec<_>>().into_iter().rev() {
            if world.find(folder).is_err() {
                world.add(folder, empty_folder())?;
            }
        }
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut world = self.world();
        world.step()?;
        let id = match world.find(path) {
            Ok(id) => id,
            Err(_) => {
                let file = Node::File { now: Vec::new(), durable: Vec::new(), pending: Vec::new() };
                world.add(path, file)?
            }
        };
        if let Some(Node::File { now, pending, .. }) = world.nodes.get_mut(&id) {
            now.clear();
            pending.push(Change::Truncate(0));
        }
        Ok(self.handle(id))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut world = self.world();
        world.step()?;
        world.find(path).map(|id| self.handle(id))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.step()?;
        assert_eq!(parent(from), parent(to), "only renames within a folder are simulated");
        world.find(from)?;
        world.change_names(parent(from), NameChange::Rename(last_name(from), last_name(to)))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.step()?;
        world.find(path)?;
        world.change_names(parent(path), NameChange::Remove(last_name(path)))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        let outcome = world.step();
        let id = world.find(path)?;
        if let Some(Node::Folder { durable, pending, .. }) = world.nodes.get_mut(&id)
            && outcome.is_ok()
        {
            pending.drain(..).for_each(|change| change.apply(durable));
        }
        outcome
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut world = self.world();
        world.step()?;
        match world.nodes.get(&world.find(path)?) {
            Some(Node::Folder { now, .. }) => Ok(now.keys().cloned().collect()),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn free_space(&self, _path: &Path) -> io::Result<u64> {
        let mut world = self.world();
        world.step()?;
        Ok(world.free_space)
    }
}

struct SimulatedFile {
    disk: SimulatedDisk,
    id: u64,
}

impl File for SimulatedFile {
    fn write_all_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        let mut written: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        let mut world = self.disk.world();
        let outcome = world.step();
        if outcome.is_err() {
            // Some of it may have come through.
            let some = world.random.below(written.len() as u64 + 1);
            written.truncate(some as usize);
        }
        if let Some(Node::File { now, pending, .. }) = world.nodes.get_mut(&self.id) {
            let change = Change::Write(position as usize, written);
            change.apply(now);
            pending.push(change);
        }
        outcome
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut world = self.disk.world();
        world.step()?;
        let Some(Node::File { now, .. }) = world.nodes.get(&self.id) else {
            return Err(io::ErrorKind::IsADirectory.into());
        };
        let rest = now.get(position as usize..).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn sync_data(&self) -> io::Result<()> {
        let hook = self.disk.0.on_sync.lock().unwrap().clone();
        if let Some(hook) = hook {
            hook();
        }
        let mut world = self.disk.world();
        let outcome = world.step();
        let dead = world.cut_at.is_some_and(|at| world.operations > at);
        // In the very moment of the cut it may have come through, unheard.
        let at_the_cut =
            world.cut_at.is_some_and(|at| world.operations == at + 1) && world.random.below(2) == 0;
        world.failed_syncs += u64::from(outcome.is_err());
        if let Some(Node::File { durable, pending, .. }) = world.nodes.get_mut(&self.id) {
            if outcome.is_ok() || at_the_cut {
                pending.drain(..).for_each(|change| change.apply(durable));
            } else if !dead {
                // The kernel marks them clean all the same: a second sync has nothing to do.
                pending.clear();
            }
        }
        outcome
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut world = self.disk.world();
        world.step()?;
        if let Some(Node::File { now, pending, .. }) = world.nodes.get_mut(&self.id) {
            let change = Change::Truncate(len as usize);
            change.apply(now);
            pending.push(change);
        }
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        let mut world = self.disk.world();
        world.step()?;
        match world.nodes.get(&self.id) {
            Some(Node::File { now, .. }) => Ok(now.len() as u64),
            _ => Err(io::ErrorKind::IsADirectory.into()),
        }
    }
}

fn empty_folder() -> Node {
    Node::Folder { now: BTreeMap::new(), durable: BTreeMap::new(), pending: Vec::new() }
}

fn names(path: &Path) -> impl Iterator<Item = &str> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => name.to_str(),
        _ => None,
    })
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

fn last_name(path: &Path) -> String {
    names(path).last().unwrap_or_default().to_owned()
}
