//! A disk that forgets: keeps what was synced apart from what was not, loses power, fails when told to.
//!
//! More forgetful than a real one: a file's sync makes its bytes durable but not its name, a failed sync loses
//! what it should have written while reads still show it, and a power cut keeps any part of what was not synced.
//! The same seed and the same operations give the same disk.

mod files;
mod nodes;
mod random;
mod world;

use std::io;
#[cfg(test)]
use std::ops::Range;
#[cfg(test)]
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[cfg(test)]
pub(crate) use random::Random;

#[cfg(test)]
use nodes::Node;
use world::World;

/// Which operation fails, counted from 1, and how.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// Its number since the fault was planned.
    pub at: u64,
    /// What it fails with.
    pub kind: io::ErrorKind,
    /// All operations from there on, or just the one.
    pub lasting: bool,
}

type SyncHook = Arc<dyn Fn() + Send + Sync>;

/// The disk. Clones are the same one.
#[derive(Clone)]
pub struct SimulatedDisk(Arc<Shared>);

struct Shared {
    world: Mutex<World>,
    on_sync: Mutex<Option<SyncHook>>,
}

impl SimulatedDisk {
    /// An empty one.
    pub fn new(seed: u64) -> Self {
        Self::of(World::empty(seed))
    }

    fn of(world: World) -> Self {
        Self(Arc::new(Shared { world: Mutex::new(world), on_sync: Mutex::new(None) }))
    }

    /// Plans a fault, or takes it away; the counting begins anew.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.world().set_fault(fault);
    }

    /// Plans the power cut: that many operations from now on, everything fails.
    pub fn cut_power_after(&self, operations: u64) {
        let mut world = self.world();
        world.cut_at = Some(world.operations + operations);
    }

    /// Nothing that was planned comes: neither a fault nor a power cut.
    pub fn mend(&self) {
        let mut world = self.world();
        world.set_fault(None);
        world.cut_at = None;
    }

    /// Whether anything was asked of it after its power went.
    pub fn is_dead(&self) -> bool {
        self.world().is_dead()
    }

    /// Cuts the power now: the disk as the machine finds it when it starts again. This one is dead.
    pub fn restart(&self) -> Self {
        Self::of(self.world().after_power_cut())
    }

    /// The kernel needs the memory for something else: what a failed sync should have written is gone for reads, too.
    pub fn forget_unwritten(&self) {
        self.world().forget_unwritten();
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What only the tests of the log itself ask for.
#[cfg(test)]
impl SimulatedDisk {
    pub(crate) fn fault_fired(&self) -> bool {
        self.world().fault_fired
    }

    pub(crate) fn failed_syncs(&self) -> u64 {
        self.world().failed_syncs
    }

    pub(crate) fn set_free_space(&self, bytes: u64) {
        self.world().free_space = bytes;
    }

    /// Called in every sync of a file, before it happens.
    pub(crate) fn on_sync(&self, hook: SyncHook) {
        *self.0.on_sync.lock().unwrap() = Some(hook);
    }

    /// A copy that can be damaged without touching this one.
    pub(crate) fn copy(&self) -> Self {
        let world = self.world();
        let (nodes, random) = (world.nodes.clone(), world.random.clone());
        Self::of(World::with(nodes, world.last_id, random, world.free_space))
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

    /// These bytes of a file cannot be read from now on, as where a sector is gone.
    pub(crate) fn make_unreadable(&self, path: &Path, bytes: Range<u64>) {
        let mut world = self.world();
        let id = world.find(path).unwrap();
        world.unreadable = Some((id, bytes));
    }
}
