//! A disk that forgets: keeps what was synced apart from what was not, loses power, fails when told to.
//!
//! More forgetful than a real one: a file's sync makes its bytes durable but not its name, a failed sync loses
//! what it should have written while reads still show it, and a power cut keeps any part of what was not synced.

mod files;
mod nodes;
mod random;
mod world;

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) use random::Random;

use nodes::Node;
use world::World;

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

impl SimulatedDisk {
    pub(crate) fn new(seed: u64) -> Self {
        Self::of(World::empty(seed))
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
        Self::of(World::with(nodes, world.last_id, random, world.free_space))
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

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
