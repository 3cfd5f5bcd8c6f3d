//! Opening a log: what is there is checked, what a crash tore off the end is cut, anything else that is wrong
//! is refused.
//!
//! Every segment but the last was synced whole before the next one got its name. So a closed segment must end
//! exactly where the next begins. In the last one, all before the index's mark was synced once; behind the mark
//! batches are taken as far as they check out, and the rest is a torn write that nobody was promised.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::View;
use super::write::{Active, Log, make_index, not_created};
use crate::config::{Commit, Config};
use crate::disk::{File, read_exact_at};
use crate::error::{Corruption, OpenError};
use crate::segment::index::{Entry, Index, Mark, SPACING};
use crate::segment::{self, HEADER_BYTES, Identity, LogFile, OpenSegment, Scanned, Segment};
use crate::store::{Store, new_folder, remove_if_there};

/// A tail up to this long is written anew before it is trusted. It is longer than what can be in flight.
const REWRITTEN_BYTES: u64 = 64 << 20;
const WINDOW: usize = 1 << 20;

impl Log {
    /// Opens the log in this folder, making it if there is none.
    pub(crate) fn open(store: Store, folder: PathBuf, config: Config) -> Result<Self, OpenError> {
        let names = match store.disk.list(&folder) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_folder(&store, &folder, &config)?;
                store.disk.list(&folder).map_err(OpenError::io(&folder))?
            }
            Err(error) => return Err(OpenError::io(&folder)(error)),
        };
        // A name that can be seen may not be durable yet, if a sync failed and this follows in the same boot.
        for named in [folder.as_path(), folder.parent().unwrap_or(&folder)] {
            store.disk.sync_dir(named).map_err(OpenError::io(named))?;
        }
        let bases = tidy(&store, &folder, &names)?;
        let Some((&last, closed)) = bases.split_last() else {
            return Err(damaged(&folder, 0, "the partition's folder holds no log file".into()));
        };
        let mut segments = VecDeque::new();
        for (at, &base) in closed.iter().enumerate() {
            segments.push_back(Arc::new(open_closed(&store, &folder, base, bases[at + 1])?));
        }
        let active = open_active(&store, &folder, last)?;
        segments.push_back(Arc::clone(&active.segment));
        let committed = match config.commit {
            Commit::Alone => active.next_offset,
            Commit::Told => committed(&store, &segments).clamp(bases[0], active.next_offset),
        };
        let view = View::new(Arc::clone(&store.disk), segments, &config, committed);
        store.quota.count(view.size());
        let mut log = Self { store, folder, config: config.clone(), view: Arc::new(view), active };
        log.configure(config);
        Ok(log)
    }
}

/// The newest high-water mark that an index knows. It may be older than the last one, never newer.
fn committed(store: &Store, segments: &VecDeque<Arc<Segment>>) -> i64 {
    let noted = |segment: &Arc<Segment>| {
        Index::open(&*store.disk, &segment.index_path(), segment.base()).and_then(|index| index.committed())
    };
    segments.iter().rev().find_map(noted).unwrap_or(0)
}

/// Makes the folder with its first segment. It gets its name when it is whole, so that a folder without a
/// segment is never taken for a new partition.
fn make_folder(store: &Store, folder: &Path, config: &Config) -> Result<(), OpenError> {
    let disk = &*store.disk;
    let unnamed = new_folder(folder);
    store.make_root()?;
    remove_if_there(disk, &unnamed)?;
    disk.create_dir(&unnamed).map_err(OpenError::io(&unnamed))?;
    let (base, leader_epoch) = (config.first_offset, config.leader_epoch);
    let identity = Identity { base, created_ms: store.clock.now_ms(), leader_epoch };
    segment::create(disk, &unnamed, identity).map_err(not_created(&unnamed))?;
    disk.rename(&unnamed, folder).map_err(OpenError::io(folder))
}

/// Removes what a crash left half made; returns the base offsets of the segments, in order.
fn tidy(store: &Store, folder: &Path, names: &[String]) -> Result<Vec<i64>, OpenError> {
    let mut bases: Vec<i64> = names.iter().filter_map(|name| segment::parse_log_name(name)).collect();
    bases.sort_unstable();
    for name in names {
        let orphan = name
            .strip_suffix(".index")
            .is_some_and(|base| base.parse().is_ok_and(|base: i64| bases.binary_search(&base).is_err()));
        if orphan || name.ends_with(".new") {
            let path = folder.join(name);
            store.disk.remove(&path).map_err(OpenError::io(path))?;
        }
    }
    Ok(bases)
}

/// A segment that has one behind it: it must be whole.
fn open_closed(store: &Store, folder: &Path, base: i64, next_base: i64) -> Result<Segment, OpenError> {
    let LogFile { file, identity, len } = segment::open(&*store.disk, folder, base)?;
    let segment = Segment::new(folder, identity);
    let path = segment.log_path();
    let mark = Index::open(&*store.disk, &segment.index_path(), base).and_then(|index| index.mark());
    if let Some(mark) = mark.filter(|mark| mark.len == len && mark.next_offset == next_base) {
        segment.extend(len, next_base, mark.last_append_ms);
        return Ok(segment);
    }
    let start = HEADER_BYTES as u64;
    let scanned = segment::scan(&*file, identity, start, base, len).map_err(OpenError::io(path))?;
    if scanned.next_offset != next_base {
        let end = scanned.next_offset;
        let mut reason = format!("it ends with offset {end} and the next segment begins with {next_base}");
        if let Some(stopped) = scanned.stopped {
            reason = format!("{stopped}; {reason}");
        }
        return Err(damaged(path, scanned.position, reason));
    }
    let append_ms = append_time(store, scanned.max_timestamp);
    segment.extend(scanned.position, next_base, append_ms);
    if let Some(index) = make_index(store, &segment) {
        let mark = Mark { len: scanned.position, next_offset: next_base, last_append_ms: append_ms };
        let noted = index.append(0, &scanned.entries).and_then(|_| index.set_mark(mark));
        noted.map_err(OpenError::io(segment.index_path()))?;
    }
    Ok(segment)
}

/// The last segment: its torn end is cut.
pub(super) fn open_active(store: &Store, folder: &Path, base: i64) -> Result<Active, OpenError> {
    let LogFile { file, identity, len } = segment::open(&*store.disk, folder, base)?;
    let segment = Segment::new(folder, identity);
    let path = segment.log_path().to_owned();
    let index = Index::open(&*store.disk, &segment.index_path(), base);
    let mark = index.as_ref().and_then(Index::mark).unwrap_or(Mark {
        len: HEADER_BYTES as u64,
        next_offset: base,
        last_append_ms: identity.created_ms,
    });
    if len < mark.len {
        let reason = format!("{} bytes were on disk once and {len} are there", mark.len);
        return Err(damaged(&path, len, reason));
    }
    let scanned =
        segment::scan(&*file, identity, mark.len, mark.next_offset, len).map_err(OpenError::io(&path))?;
    settle(&*file, &path, mark.len, len, &scanned)?;
    let append_ms = match scanned.position == mark.len {
        true => mark.last_append_ms,
        false => append_time(store, scanned.max_timestamp).max(mark.last_append_ms),
    };
    segment.extend(scanned.position, scanned.next_offset, append_ms);
    let (index, entries) = renew_index(store, &segment, index, &mark, &scanned.entries);
    let files = Arc::new(OpenSegment { identity, log: file, index });
    segment.set_active(Some(Arc::clone(&files)));
    Ok(Active {
        segment: Arc::new(segment),
        files,
        written: scanned.position,
        synced: scanned.position,
        next_offset: scanned.next_offset,
        entries,
        fresh_entries: Vec::new(),
        entry_due: scanned.entries.last().map_or(scanned.position, |entry| entry.position) + SPACING,
    })
}

/// Makes what was found behind the mark durable and cuts what is not good.
fn settle(file: &dyn File, path: &Path, marked: u64, len: u64, scanned: &Scanned) -> Result<(), OpenError> {
    let end = scanned.position;
    if len == marked {
        return Ok(());
    }
    if end < len {
        let reason = scanned.stopped.as_deref().unwrap_or("it ends early");
        tracing::warn!(path = %path.display(), at = end, bytes = len - end, reason, "cutting a torn end off");
        file.truncate(end).map_err(OpenError::io(path))?;
    }
    // If this process follows one whose sync failed, the kernel may hold these bytes in memory, believe them
    // written, and be wrong. Written once more they are dirty, and the sync below is worth something.
    if end - marked <= REWRITTEN_BYTES {
        rewrite(file, marked, end).map_err(OpenError::io(path))?;
    }
    file.sync_data().map_err(OpenError::io(path))
}

fn rewrite(file: &dyn File, mut from: u64, to: u64) -> io::Result<()> {
    let mut window = vec![0; WINDOW.min(usize::try_from(to - from).unwrap_or(WINDOW))];
    while from < to {
        let bytes = window.len().min(usize::try_from(to - from).unwrap_or(WINDOW));
        read_exact_at(file, &mut window[..bytes], from)?;
        file.write_all_at(&[IoSlice::new(&window[..bytes])], from)?;
        from += bytes as u64;
    }
    Ok(())
}

/// Brings the index up to what the log holds; returns it with the number of its entries.
fn renew_index(
    store: &Store,
    segment: &Segment,
    index: Option<Index>,
    mark: &Mark,
    entries: &[Entry],
) -> (Option<Index>, u64) {
    let renewed = Mark {
        len: segment.len(),
        next_offset: segment.next_offset(),
        last_append_ms: segment.last_append_ms(),
    };
    let renew = |index: &Index| {
        let kept = index.cut(mark.len)?;
        let count = index.append(kept, entries)?;
        index.set_mark(renewed).map(|()| count)
    };
    let Some(index) = index.or_else(|| make_index(store, segment)) else { return (None, 0) };
    match renew(&index) {
        Ok(count) => (Some(index), count),
        Err(error) => {
            tracing::warn!(path = %segment.index_path().display(), %error, "cannot renew the index");
            (None, 0)
        }
    }
}

/// When the last batch was appended, if the index does not say: what the batches say, but not the future. Too
/// late rather than too early, so that retention never removes anything before its time.
fn append_time(store: &Store, max_timestamp: i64) -> i64 {
    let now = store.clock.now_ms();
    if max_timestamp > 0 { max_timestamp.min(now) } else { now }
}

fn damaged(file: &Path, position: u64, reason: String) -> OpenError {
    OpenError::Corrupt(Corruption { file: file.to_owned(), position, reason })
}
