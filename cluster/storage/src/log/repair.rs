//! Mending a damaged segment with the same batches from another copy.
//!
//! The file is written anew beside the damaged one, byte for byte where it is whole, with the other copy's batches
//! where it is not. These are taken only if they are what was there: they go on from the same offset, are of the
//! segment's epoch, check out, and fill the damaged bytes exactly. Then it is synced, looked through where it was
//! mended, and takes the damaged one's name: `<first offset, 20 digits>.mended.new` becomes `….log`, and the folder
//! is synced. A crash leaves the old file or the new one, and what is left half made is removed at the next opening.
//!
//! Nothing is cut off and no offset moves, so a copy stays in sync while it is mended: it has every record of before,
//! and some of them again. Only closed segments are mended; an active one is closed first, which is a file more and
//! nothing else. Positions stay, so the index stays right; it is written anew all the same, since whatever damaged
//! the one may have damaged the other.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::scrub::open_apart;
use super::{Damage, Log, View};
use crate::batch::Batch;
use crate::disk::{Disk, File, read_exact_at};
use crate::error::{AppendError, RepairError};
use crate::segment::index::{Index, Mark};
use crate::segment::{HEADER_BYTES, OpenSegment, Place, Segment, encode, scan};
use crate::store::Store;

/// Bytes copied at once.
const WINDOW: usize = 1 << 20;

/// What a disk reads at least: where it refuses, so much is left out and no more.
const BLOCK: usize = 4096;

/// A segment that is written anew. One at a time for each partition.
pub(crate) struct Rewriting {
    view: Arc<View>,
    segment: Arc<Segment>,
    old: Arc<OpenSegment>,
    new: Arc<dyn File>,
    /// Where the new file is before it gets its name, and the index with it.
    path: PathBuf,
    index_path: PathBuf,
    has_index: bool,
    runs: Vec<Run>,
}

/// One run of damage, and how far it is mended.
struct Run {
    from: Place,
    to: Place,
    at: Place,
}

impl Run {
    fn is_mended(&self) -> bool {
        self.at == self.to
    }
}

impl Rewriting {
    /// Begins with damage of one closed segment, as it was found, in order.
    pub(crate) fn begin(view: Arc<View>, store: &Store, damage: &[Damage]) -> Result<Self, RepairError> {
        view.check_writable()?;
        let base = damage.first().ok_or(RepairError::Gone)?.segment;
        let segment = view.segment_of(base).filter(|segment| segment.base() == base);
        let segment = segment.filter(|segment| view.holds(segment).1).ok_or(RepairError::Gone)?;
        store.quota.check_reserve(segment.len()).map_err(|full| not_now(&full))?;
        let old = open_apart(&view, &segment).map_err(|error| not_now(&error))?;
        let path = segment.log_path().with_extension("mended.new");
        let index_path = path.with_extension("index.new");
        let new = store.disk.create(&path).map_err(|error| not_now(&error))?;
        let run = |damage: &Damage| {
            let from = Place { position: damage.position, offset: damage.from };
            let to = Place { position: damage.end, offset: damage.to };
            // Of a header nothing has to be brought: it is known.
            Run { from, to, at: if damage.from == damage.to { to } else { from } }
        };
        let runs = damage.iter().map(run).collect();
        Ok(Self { view, segment, old, new, path, index_path, has_index: false, runs })
    }

    /// Takes another copy's batches for a run of damage, going on where the last ones ended; batches behind it are
    /// left alone. Says which offset comes next: the run's end when it is whole.
    pub(crate) fn put(&mut self, number: usize, batches: &Bytes) -> Result<i64, RepairError> {
        let Some(run) = self.runs.get_mut(number) else { return Err(RepairError::Gone) };
        let (mut at, mut rest) = (run.at, batches.clone());
        let epoch = self.segment.identity().leader_epoch;
        while at.offset < run.to.offset && !rest.is_empty() {
            let batch = Batch::parse(&rest).map_err(|error| RepairError::OtherBatches(error.to_string()))?;
            let next = follow(at, &batch, epoch).filter(|next| fits(*next, run.to));
            let Some(next) = next else {
                // Whoever brings the rest may have others from the start.
                run.at = run.from;
                let found = batch.header();
                let reason = format!("at offset {} there is another batch: {found:?}", at.offset);
                return Err(RepairError::OtherBatches(reason));
            };
            let write = self.new.write_all_at(&[IoSlice::new(batch.bytes())], at.position);
            write.map_err(|error| not_now(&error))?;
            rest = rest.split_off(batch.bytes().len());
            at = next;
        }
        run.at = at;
        Ok(at.offset)
    }

    /// Fills in what was whole, makes all of it durable, and looks through what was mended. What nobody brought
    /// stays as damaged as it is.
    pub(crate) fn complete(&mut self) -> Result<(), RepairError> {
        if !self.runs.iter().any(Run::is_mended) {
            return Err(RepairError::OtherBatches("no copy has any of it".to_owned()));
        }
        self.fill_in().and_then(|()| self.new.sync_data()).map_err(|error| not_now(&error))?;
        for run in self.runs.iter().filter(|run| run.is_mended() && run.from.offset < run.to.offset) {
            let Place { position, offset } = run.from;
            let scanned = scan(&*self.new, self.segment.identity(), position, offset, run.to.position);
            let scanned = scanned.map_err(|error| not_now(&error))?;
            if scanned.stopped.is_some() || scanned.next_offset != run.to.offset {
                return Err(not_now(&"what was written cannot be read back"));
            }
        }
        if self.runs.iter().all(Run::is_mended) {
            self.has_index = self.renew_index().map_err(|error| not_now(&error))?;
        }
        Ok(())
    }

    /// What was mended, by the first offset of each run, and what was not.
    pub(crate) fn mended(&self) -> Vec<bool> {
        self.runs.iter().map(Run::is_mended).collect()
    }

    fn fill_in(&self) -> io::Result<()> {
        self.new.write_all_at(&[IoSlice::new(&encode(self.segment.identity()))], 0)?;
        let mut position = HEADER_BYTES as u64;
        for run in &self.runs {
            copy(&*self.old.log, &*self.new, position, run.from.position)?;
            if !run.is_mended() {
                copy_what_can_be_read(&*self.old.log, &*self.new, run.from.position, run.to.position)?;
            }
            position = run.to.position.max(position);
        }
        copy(&*self.old.log, &*self.new, position, self.segment.len())
    }

    /// Whether there is one that goes with the new file.
    fn renew_index(&self) -> io::Result<bool> {
        let segment = &self.segment;
        let scanned =
            scan(&*self.new, segment.identity(), HEADER_BYTES as u64, segment.base(), segment.len())?;
        if scanned.next_offset != segment.next_offset() {
            // Something else was damaged meanwhile: the next look will say what.
            return Ok(false);
        }
        let index = Index::create(&*self.view.disk, &self.index_path, segment.base())?;
        index.append(0, &scanned.entries)?;
        if let Some(committed) = self.old.index.as_ref().and_then(Index::committed) {
            index.set_committed(committed)?;
        }
        let (len, next_offset) = (segment.len(), segment.next_offset());
        index.set_mark(Mark { len, next_offset, last_append_ms: segment.last_append_ms() })?;
        index.sync().map(|()| true)
    }
}

impl Drop for Rewriting {
    fn drop(&mut self) {
        // What got its name is not found here any more; the rest is removed at the next opening at the latest.
        self.view.disk.remove(&self.path).ok();
        self.view.disk.remove(&self.index_path).ok();
    }
}

impl Log {
    /// Closes the segment that begins here, if it is the active one.
    pub(crate) fn close_segment(&mut self, base: i64) -> Result<(), AppendError> {
        let active = &self.active.segment;
        if active.base() != base || active.is_empty() {
            return Ok(());
        }
        self.roll(active.identity().leader_epoch)
    }

    /// Gives the segment that was written anew its name.
    pub(crate) fn replace(&mut self, rewriting: &Rewriting) -> Result<(), RepairError> {
        self.view.check_writable()?;
        if !self.view.holds(&rewriting.segment).1 {
            return Err(RepairError::Gone);
        }
        let (disk, segment) = (&*self.store.disk, &rewriting.segment);
        // The index first: it is right for the damaged file as well.
        if rewriting.has_index {
            disk.rename(&rewriting.index_path, &segment.index_path()).map_err(|error| not_now(&error))?;
        }
        disk.rename(&rewriting.path, segment.log_path()).map_err(|error| not_now(&error))?;
        segment.count_replaced();
        *self.view.opened() = None;
        // Without it a power cut may bring the damaged file back, which is no worse than it was.
        sync(disk, &self.folder)
    }
}

fn sync(disk: &dyn Disk, folder: &Path) -> Result<(), RepairError> {
    disk.sync_dir(folder).map_err(|error| not_now(&error))
}

/// Where the log goes on behind this batch; none if it is not the one that belongs here.
fn follow(at: Place, batch: &Batch, epoch: i32) -> Option<Place> {
    let header = batch.header();
    let belongs = header.base_offset == at.offset && header.leader_epoch == epoch;
    let offset = header.next_offset().filter(|_| belongs)?;
    Some(Place { position: at.position + header.total_bytes as u64, offset })
}

/// Whether what ends here can be a part of a run that ends there.
fn fits(next: Place, end: Place) -> bool {
    next == end || next.offset < end.offset && next.position < end.position
}

fn copy(from: &dyn File, to: &dyn File, mut position: u64, end: u64) -> io::Result<()> {
    let mut window = vec![0; window_of(position, end, WINDOW)];
    while position < end {
        let bytes = window_of(position, end, window.len());
        read_exact_at(from, &mut window[..bytes], position)?;
        to.write_all_at(&[IoSlice::new(&window[..bytes])], position)?;
        position += bytes as u64;
    }
    Ok(())
}

/// The same, but what the disk refuses becomes zeros.
fn copy_what_can_be_read(from: &dyn File, to: &dyn File, mut position: u64, end: u64) -> io::Result<()> {
    while position < end {
        let mut block = vec![0; window_of(position, end, BLOCK)];
        if read_exact_at(from, &mut block, position).is_err() {
            block.fill(0);
        }
        to.write_all_at(&[IoSlice::new(&block)], position)?;
        position += block.len() as u64;
    }
    Ok(())
}

fn window_of(position: u64, end: u64, most: usize) -> usize {
    usize::try_from(end.saturating_sub(position)).unwrap_or(most).min(most)
}

fn not_now(reason: &dyn std::fmt::Display) -> RepairError {
    RepairError::NotNow { reason: reason.to_string().into() }
}

impl From<AppendError> for RepairError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Closed => Self::Gone,
            error => not_now(&error),
        }
    }
}
