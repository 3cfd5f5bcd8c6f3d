//! What goes wrong: processes that die or stand still, links that end, disks that are lost, a clock that jumps.

use rand::RngExt;

use super::super::nature::Fault;
use super::super::sc::Sc;
use super::super::spu::Spu;
use super::World;
use crate::sc::metadata::NOBODY;

impl World {
    pub(super) fn fault(&mut self, id: i32) {
        let fault = self.nature.fault(&mut self.random);
        if !self.spus[&id].alive {
            if fault != Fault::Crash {
                self.spus.get_mut(&id).unwrap().start();
                self.dial_sc(id);
            }
            return;
        }
        let linked = self.spus[&id].link.is_some();
        match fault {
            Fault::Crash => self.crash(id),
            Fault::Pause => {
                let spu = self.spus.get_mut(&id).unwrap();
                spu.paused = !spu.paused;
            }
            // The SC hears nothing of it any more, or hears of it again; the SPU itself goes on all the time.
            Fault::Link if linked => self.cut_sc(id),
            Fault::Link if self.spus[&id].acts() => self.dial_sc(id),
            Fault::Link => {}
            Fault::Stream => self.end_streams(|stream, _| stream.copy == id),
            Fault::Leave => {
                let leaving = Some(id).filter(|id| self.sc.leaving != Some(*id));
                self.in_sc(|sc| {
                    sc.leaving = leaving;
                    sc.settle();
                });
            }
            Fault::ScDisk => self.lose_sc_disk(),
            Fault::Sc if self.random.random_bool(0.5) => {
                self.sc.cut_power_after(self.random.random_range(0..6))
            }
            Fault::Sc => self.end_sc(|sc, _| sc.crash()),
            Fault::Power => self.spus[&id].copy.cut_power_after(self.random.random_range(0..40)),
            Fault::Disk => self.break_disk(id),
            Fault::Clock => self.now_ms += 3_000,
        }
    }

    /// A process dies, and now and then its disk with it.
    pub(super) fn crash(&mut self, id: i32) {
        self.cut_sc(id);
        self.spus.get_mut(&id).unwrap().crash();
        self.end_streams(|stream, _| stream.leader == id || stream.copy == id);
        if self.faults && self.another_has_all(id) && self.random.random_bool(0.2) {
            let seed = self.random.random();
            self.spus.get_mut(&id).unwrap().lose_disk(seed);
        }
    }

    /// One thing that it asks of its disk fails, or all do until the disk is mended.
    fn break_disk(&mut self, id: i32) {
        let (at, full) = (self.random.random_range(1..30), self.random.random_bool(0.5));
        let (mended, lasting) = (self.random.random_bool(0.3), self.random.random_bool(0.2));
        match mended {
            true => self.spus[&id].copy.mend_disk(),
            false => self.spus[&id].copy.break_disk(at, full, lasting),
        }
    }

    /// Whether a disk may be lost: another one that counts has everything that was committed, and the SC is not about to
    /// find out who does since its own was lost.
    fn another_has_all(&self, id: i32) -> bool {
        let has_all = |spu: &Spu| spu.copy.synced().starts_with(&self.committed);
        let Some(placed) = self.sc.placed().filter(|placed| placed.leader != NOBODY) else { return false };
        placed.in_sync.spus.iter().any(|spu| *spu != id && has_all(&self.spus[spu]))
    }

    /// The SC begins without a disk, at a time when no SPU's is lost.
    fn lose_sc_disk(&mut self) {
        let Some(placed) = self.sc.placed() else { return };
        if !placed.replicas.iter().all(|spu| self.spus[spu].assignment.is_some()) {
            return;
        }
        self.end_sc(Sc::lose_disk);
    }

    /// The SC's process ends, and another begins.
    pub(super) fn end_sc(&mut self, end: impl FnOnce(&mut Sc, u64)) {
        end(&mut self.sc, self.random.random());
        self.to_sc.clear();
        self.to_spu.clear();
        self.spus.values_mut().for_each(|spu| spu.link = None);
    }
}
