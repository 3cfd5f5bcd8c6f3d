//! From growing counters to figures by the minute. No clock and no database in here.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use uuid::Uuid;

use super::Totals;

/// Minutes since 1970.
pub type Minute = i64;

/// One row of the `usage` table: the absolute figures of one minute.
pub type Row = Totals;

/// The rows that are not written yet, and those of the current minute.
#[derive(Debug)]
pub struct Minutes {
    room: usize,
    now: Minute,
    last: HashMap<Uuid, Totals>,
    rows: BTreeMap<(Minute, Uuid), Row>,
    changed: BTreeSet<(Minute, Uuid)>,
    dropped: u64,
}

impl Minutes {
    /// At most `room` rows wait for the database; the oldest are lost beyond.
    pub fn new(room: usize) -> Self {
        Self {
            room,
            now: Minute::MIN,
            last: HashMap::new(),
            rows: BTreeMap::new(),
            changed: BTreeSet::new(),
            dropped: 0,
        }
    }

    /// Adds what a former process with the same name already wrote for a minute: the row's figures are
    /// absolute, so ours must contain them.
    pub fn adopt(&mut self, minute: Minute, cluster: Uuid, written: Row) {
        let row = self.rows.entry((minute, cluster)).or_default();
        let open = row.open;
        add(row, written);
        row.open = open;
    }

    /// Writes the cluster's row of the current minute even if nothing changed: a former process left its
    /// connections open in the table.
    pub fn touch(&mut self, cluster: Uuid) {
        let open = self.last.get(&cluster).map_or(0, |last| last.open);
        self.rows.entry((self.now, cluster)).or_default().open = open;
        self.changed.insert((self.now, cluster));
    }

    /// Adds the growth since the last sample to `minute`. A clock that went back is ignored: a past minute
    /// may already be written and forgotten.
    pub fn sample(&mut self, minute: Minute, all: &[(Uuid, Totals)]) {
        self.now = self.now.max(minute);
        for (cluster, totals) in all {
            let last = self.last.insert(*cluster, *totals).unwrap_or_default();
            if last == *totals {
                continue;
            }
            let row = self.rows.entry((self.now, *cluster)).or_default();
            add(row, growth(last, *totals));
            row.open = totals.open;
            self.changed.insert((self.now, *cluster));
        }
        if self.last.len() > all.len() {
            let seen: BTreeSet<Uuid> = all.iter().map(|(id, _)| *id).collect();
            self.last.retain(|id, _| seen.contains(id));
        }
        let (now, changed) = (self.now, &self.changed);
        self.rows.retain(|key, _| key.0 == now || changed.contains(key));
        while self.rows.len() > self.room {
            if let Some((key, _)) = self.rows.pop_first() {
                self.changed.remove(&key);
                self.dropped += 1;
            }
        }
    }

    /// The rows to write, oldest first, at most `most`.
    pub fn changed(&self, most: usize) -> Vec<((Minute, Uuid), Row)> {
        self.changed.iter().take(most).filter_map(|key| Some((*key, *self.rows.get(key)?))).collect()
    }

    /// These rows are in the database now.
    pub fn written(&mut self, rows: &[((Minute, Uuid), Row)]) {
        for (key, row) in rows {
            if self.rows.get(key) == Some(row) {
                self.changed.remove(key);
            }
        }
    }

    /// Rows that wait for the database.
    pub fn waiting(&self) -> usize {
        self.changed.len()
    }

    /// Rows that were lost for want of room.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

fn add(row: &mut Row, more: Row) {
    row.bytes_in += more.bytes_in;
    row.bytes_out += more.bytes_out;
    row.opened += more.opened;
    row.refused += more.refused;
}

/// A counter that is lower than it was began again at zero: the cluster went and came back.
fn growth(last: Totals, now: Totals) -> Row {
    let grown = |last: u64, now: u64| now.checked_sub(last).unwrap_or(now);
    Row {
        bytes_in: grown(last.bytes_in, now.bytes_in),
        bytes_out: grown(last.bytes_out, now.bytes_out),
        opened: grown(last.opened, now.opened),
        refused: grown(last.refused, now.refused),
        open: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    fn totals(bytes_in: u64, opened: u64, open: u64) -> Totals {
        Totals { bytes_in, opened, open, ..Totals::default() }
    }

    #[test]
    fn growth_lands_in_its_minute_and_rows_are_absolute() {
        let mut minutes = Minutes::new(100);
        minutes.sample(10, &[(id(1), totals(100, 1, 1))]);
        minutes.sample(10, &[(id(1), totals(150, 1, 1))]);
        assert_eq!(minutes.changed(9), [((10, id(1)), totals(150, 1, 1))]);
        minutes.written(&minutes.changed(9));
        assert_eq!(minutes.waiting(), 0);
        minutes.sample(10, &[(id(1), totals(160, 2, 2))]);
        assert_eq!(minutes.changed(9), [((10, id(1)), totals(160, 2, 2))]);
        minutes.sample(11, &[(id(1), totals(165, 2, 0))]);
        assert_eq!(minutes.changed(9), [((10, id(1)), totals(160, 2, 2)), ((11, id(1)), totals(5, 0, 0))]);
    }

    #[test]
    fn silence_writes_nothing_and_a_close_writes_zero_open() {
        let mut minutes = Minutes::new(100);
        minutes.sample(1, &[(id(1), totals(9, 1, 1))]);
        minutes.written(&minutes.changed(9));
        for minute in 2..100 {
            minutes.sample(minute, &[(id(1), totals(9, 1, 1))]);
            assert_eq!(minutes.waiting(), 0);
        }
        minutes.sample(100, &[(id(1), totals(9, 1, 0))]);
        assert_eq!(minutes.changed(9), [((100, id(1)), totals(0, 0, 0))]);
    }

    #[test]
    fn a_row_that_grew_while_it_was_written_is_written_again() {
        let mut minutes = Minutes::new(100);
        minutes.sample(1, &[(id(1), totals(9, 1, 1))]);
        let under_way = minutes.changed(9);
        minutes.sample(1, &[(id(1), totals(10, 1, 1))]);
        minutes.written(&under_way);
        assert_eq!(minutes.changed(9), [((1, id(1)), totals(10, 1, 1))]);
    }

    #[test]
    fn a_restart_within_a_minute_keeps_what_was_written_and_closes_what_was_open() {
        let mut minutes = Minutes::new(100);
        minutes.sample(7, &[(id(1), totals(5, 1, 1))]);
        minutes.adopt(7, id(1), totals(1000, 3, 3));
        minutes.touch(id(1));
        minutes.touch(id(2));
        assert_eq!(minutes.changed(9), [((7, id(1)), totals(1005, 4, 1)), ((7, id(2)), totals(0, 0, 0))]);
    }

    #[test]
    fn a_clock_that_goes_back_never_shrinks_a_written_minute() {
        let mut minutes = Minutes::new(100);
        minutes.sample(7, &[(id(1), totals(5, 1, 1))]);
        minutes.sample(3, &[(id(1), totals(6, 1, 1))]);
        assert_eq!(minutes.changed(9), [((7, id(1)), totals(6, 1, 1))]);
    }

    #[test]
    fn without_a_database_the_oldest_rows_go_and_memory_stays_bounded() {
        let mut minutes = Minutes::new(3);
        for minute in 0..10 {
            minutes.sample(minute, &[(id(1), totals(minute as u64 + 1, 1, 1))]);
        }
        let kept: Vec<_> = minutes.changed(9).iter().map(|(key, _)| key.0).collect();
        assert_eq!(kept, [7, 8, 9]);
        assert_eq!(minutes.dropped(), 7);
    }
}
