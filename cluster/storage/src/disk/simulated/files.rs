//! The operations that the storage code does on it.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::{Arc, PoisonError};

use super::SimulatedDisk;
use super::nodes::{Change, NameChange, Node, empty_folder};
use super::world::{last_name, parent};
use crate::disk::{Disk, File};

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
        let asked = position..position + read as u64;
        if let Some((id, gone)) = &world.unreadable
            && *id == self.id
            && asked.start < gone.end
            && gone.start < asked.end
        {
            return Err(io::Error::other("a sector cannot be read"));
        }
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn sync_data(&self) -> io::Result<()> {
        let hook = self.disk.0.on_sync.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(hook) = hook {
            hook();
        }
        let mut world = self.disk.world();
        let outcome = world.step();
        let dead = world.is_dead();
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

    fn forget_cached(&self, _position: u64, _bytes: u64) {
        // There is no memory in between: what is read is what is there.
    }
}
