//! Everything between the SPUs and the SC, and what must hold.

use std::collections::{BTreeMap, VecDeque};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use uuid::Uuid;

use super::sc::Sc;
use super::spu::{Record, Spu, offset};
use crate::link::{Assignment, PartitionKey};
use crate::peer::{Fed, Follow, Placed};
use crate::sc::decide::InSyncAsked;
use crate::spu::copies::answer::{Facts, cut_to, objection};

/// From an SPU to the SC, in order on each link.
enum ToSc {
    Came { found: Option<bool> },
    Asked(InSyncAsked),
    Went,
}

/// From a leader to a copy, in order on each stream.
struct Batch {
    at: i64,
    records: Vec<Record>,
    hw: i64,
}

/// One stream from a leader to a copy.
struct Stream {
    leader: i32,
    copy: i32,
    epoch: u32,
    sent_to: i64,
    batches: VecDeque<Batch>,
    acks: VecDeque<i64>,
}

pub(super) struct World {
    random: StdRng,
    now_ms: u64,
    next: u64,
    spus: BTreeMap<i32, Spu>,
    sc: Sc,
    /// By the link's number: whose it is, and what is on its way.
    to_sc: BTreeMap<u64, (i32, VecDeque<ToSc>)>,
    to_spu: BTreeMap<u64, (i32, VecDeque<Assignment>)>,
    streams: BTreeMap<u64, Stream>,
    pub(super) committed: Vec<Record>,
    faults: bool,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut world = Self {
            random: StdRng::seed_from_u64(seed),
            now_ms: 0,
            next: 0,
            spus: (1..=3).map(|id| (id, Spu::new(id))).collect(),
            sc: Sc::new(),
            to_sc: BTreeMap::new(),
            to_spu: BTreeMap::new(),
            streams: BTreeMap::new(),
            committed: Vec::new(),
            faults: true,
        };
        (1..=3).for_each(|id| world.dial_sc(id));
        world
    }

    pub(super) fn epoch(&self) -> u32 {
        self.sc.placed().epoch
    }

    /// One thing happens somewhere, and what must hold is looked at.
    pub(super) fn step(&mut self) {
        self.now_ms += self.random.random_range(0..40);
        let id = self.random.random_range(1..=3);
        match self.random.random_range(0..100) {
            0..15 if self.faults => self.produce(id),
            15..30 => self.sync(id),
            30..45 => self.hear_in_sc(),
            45..60 => self.hear_from_sc(),
            60..70 => self.follow(id),
            70..80 => self.feed(),
            80..94 => self.hear_in_stream(),
            _ if self.faults => self.fault(id),
            _ => {}
        }
        self.lead(id);
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn produce(&mut self, id: i32) {
        let number = self.number();
        let spu = self.spus.get_mut(&id).unwrap();
        if let (true, Some(_), Some(epoch)) = (spu.acts(), &spu.lead, spu.epoch()) {
            spu.log.push(Record { epoch: i32::try_from(epoch).unwrap(), number });
        }
    }

    fn sync(&mut self, id: i32) {
        let spu = self.spus.get_mut(&id).unwrap();
        if !spu.acts() {
            return;
        }
        spu.synced = spu.log.len();
        let durable = offset(spu.synced);
        if let Some(stream) = spu.feed.and_then(|feed| self.streams.get_mut(&feed)) {
            stream.acks.push_back(durable);
        }
    }

    /// What a leader does whenever something moved.
    fn lead(&mut self, id: i32) {
        let (now_ms, spu) = (self.now_ms, self.spus.get_mut(&id).unwrap());
        let ends = spu.ends();
        let (true, Some(lead)) = (spu.acts(), &mut spu.lead) else { return };
        lead.moved(ends, now_ms);
        let committed = lead.committed();
        let asked = lead.ask(now_ms);
        assert!(committed <= ends.leo, "SPU {id} committed {committed} of {}", ends.leo);
        spu.hw = spu.hw.max(committed);
        let epoch = spu.epoch().unwrap();
        for at in 0..usize::try_from(committed).unwrap() {
            let record = spu.log[at];
            match self.committed.get(at) {
                Some(known) => assert_eq!(*known, record, "offset {at} was committed as another record"),
                None => self.committed.push(record),
            }
        }
        if let (Some(wanted), Some(link)) = (asked, spu.link) {
            let key = PartitionKey { topic: "t".into(), partition: 0 };
            let asked = InSyncAsked { key, topic_id: Uuid::from_u128(7), epoch, wanted };
            if let Some((_, queue)) = self.to_sc.get_mut(&link) {
                queue.push_back(ToSc::Asked(asked));
            }
        }
    }

    fn dial_sc(&mut self, id: i32) {
        let link = self.number();
        self.spus.get_mut(&id).unwrap().link = Some(link);
        let spu = &self.spus[&id];
        let found = (!spu.welcomed).then_some(spu.assignment.is_some());
        self.to_sc.insert(link, (id, VecDeque::from([ToSc::Came { found }])));
        self.to_spu.insert(link, (id, VecDeque::new()));
    }

    fn cut_sc(&mut self, id: i32) {
        if let Some(link) = self.spus.get_mut(&id).unwrap().link.take() {
            self.to_spu.remove(&link);
            if let Some((_, queue)) = self.to_sc.get_mut(&link) {
                // What was on its way may or may not come through, the end always does.
                let n_left = self.random.random_range(0..=queue.len());
                queue.truncate(n_left);
                queue.push_back(ToSc::Went);
            }
        }
    }

    fn hear_in_sc(&mut self) {
        let waiting: Vec<u64> =
            self.to_sc.iter().filter(|(_, (_, queue))| !queue.is_empty()).map(|(link, _)| *link).collect();
        let Some(link) = self.pick(&waiting) else { return };
        let (id, queue) = self.to_sc.get_mut(&link).unwrap();
        let (id, message) = (*id, queue.pop_front().unwrap());
        let before = self.sc.metadata.clone();
        match message {
            ToSc::Came { found } => {
                self.sc.came(id, link, found);
                let word = self.sc.word_for(id);
                if let Some((_, queue)) = self.to_spu.get_mut(&link) {
                    queue.push_back(word);
                }
            }
            ToSc::Asked(asked) => self.sc.asked(id, &asked),
            ToSc::Went => {
                self.to_sc.remove(&link);
                self.sc.went(id, link);
            }
        }
        if self.sc.metadata != before {
            for (link, (id, queue)) in &mut self.to_spu {
                if self.sc.knows(*link) {
                    queue.push_back(self.sc.word_for(*id));
                }
            }
        }
    }

    fn hear_from_sc(&mut self) {
        let hears = |id: &i32, spus: &BTreeMap<i32, Spu>| spus[id].acts();
        let waiting: Vec<u64> = self
            .to_spu
            .iter()
            .filter(|(_, (id, queue))| !queue.is_empty() && hears(id, &self.spus))
            .map(|(link, _)| *link)
            .collect();
        let Some(link) = self.pick(&waiting) else { return };
        let (id, queue) = self.to_spu.get_mut(&link).unwrap();
        let (id, word) = (*id, queue.pop_front().unwrap());
        let led_before = self.spus[&id].lead.is_some();
        self.spus.get_mut(&id).unwrap().take(word, self.now_ms);
        let spu = &self.spus[&id];
        if spu.lead.is_some() && !led_before {
            // Whoever begins to lead has everything that was ever committed.
            for (at, record) in self.committed.iter().enumerate() {
                assert_eq!(spu.log.get(at), Some(record), "SPU {id} leads without the committed offset {at}");
            }
        }
        self.end_streams(|stream, spus| {
            let epoch_of = |id: i32| spus[&id].epoch();
            epoch_of(stream.leader) != Some(stream.epoch) || epoch_of(stream.copy) != Some(stream.epoch)
        });
    }

    /// A copy asks its leader, and either cuts back or is fed from then on.
    fn follow(&mut self, id: i32) {
        let copy = &self.spus[&id];
        let Some(assignment) = copy.assignment.clone().filter(|_| copy.acts() && copy.feed.is_none()) else {
            return;
        };
        let leader = &self.spus[&assignment.leader];
        let leads = leader.acts() && leader.lead.is_some() && leader.epoch() == Some(assignment.epoch);
        if assignment.leader == id || !leads {
            return;
        }
        let (position, last_epoch) = (copy.leo(), copy.epoch_before(copy.leo()));
        let placed = Placed { key: assignment.key.clone(), topic_id: assignment.topic_id };
        let follow = Follow { spu: id, placed, epoch: assignment.epoch, position, last_epoch };
        let facts = Facts {
            log_start: 0,
            leo: leader.leo(),
            epoch_before: leader.epoch_before(position),
            end_of_epoch: last_epoch.and_then(|epoch| leader.end_of_epoch(epoch)),
        };
        match objection(&follow, &facts) {
            None => {}
            Some(Fed::Diverged { epoch, end }) => {
                let to = cut_to(copy.end_of_epoch(epoch), end);
                assert!(to >= copy.hw, "SPU {id} would cut off what is committed: {to} of {}", copy.hw);
                assert!(to < position, "SPU {id} cuts nothing off");
                let copy = self.spus.get_mut(&id).unwrap();
                copy.log.truncate(usize::try_from(to).unwrap());
                copy.synced = copy.synced.min(copy.log.len());
                return;
            }
            Some(other) => panic!("{other:?}"),
        }
        let durable = offset(copy.synced);
        let stream = self.number();
        let (leader, epoch) = (assignment.leader, assignment.epoch);
        self.spus.get_mut(&id).unwrap().feed = Some(stream);
        let acks = VecDeque::from([durable]);
        let fed = Stream { leader, copy: id, epoch, sent_to: position, batches: VecDeque::new(), acks };
        self.streams.insert(stream, fed);
        self.spus.get_mut(&leader).unwrap().lead.as_mut().unwrap().fed(id, true);
    }

    fn feed(&mut self) {
        let open: Vec<u64> = self.streams.keys().copied().collect();
        let Some(stream) = self.pick(&open) else { return };
        let stream = self.streams.get_mut(&stream).unwrap();
        let leader = &self.spus[&stream.leader];
        if !leader.acts() {
            return;
        }
        let from = usize::try_from(stream.sent_to).unwrap();
        let records = leader.log[from..].to_vec();
        stream.batches.push_back(Batch { at: stream.sent_to, records, hw: leader.hw });
        stream.sent_to = leader.leo();
    }

    fn hear_in_stream(&mut self) {
        let open: Vec<u64> = self.streams.keys().copied().collect();
        let Some(number) = self.pick(&open) else { return };
        let stream = self.streams.get_mut(&number).unwrap();
        if self.random.random_bool(0.5) {
            let copy = self.spus.get_mut(&stream.copy).unwrap();
            let Some(batch) = copy.acts().then(|| stream.batches.pop_front()).flatten() else { return };
            assert_eq!(batch.at, copy.leo());
            copy.log.extend(batch.records);
            copy.hw = copy.hw.max(batch.hw.min(copy.leo()));
        } else {
            let leader = self.spus.get_mut(&stream.leader).unwrap();
            let (acts, ends) = (leader.acts(), leader.ends());
            let Some(lead) = leader.lead.as_mut().filter(|_| acts) else { return };
            if let Some(durable) = stream.acks.pop_front() {
                lead.moved(ends, self.now_ms);
                lead.heard(stream.copy, durable, self.now_ms);
            }
        }
    }

    fn fault(&mut self, id: i32) {
        let kept = self.random.random_range(0..4);
        let what = self.random.random_range(0..10);
        if !self.spus[&id].alive {
            if what < 5 {
                self.spus.get_mut(&id).unwrap().start();
                self.dial_sc(id);
            }
            return;
        }
        let linked = self.spus[&id].link.is_some();
        match what {
            0 | 1 => self.crash(id, kept),
            2 | 3 => {
                let spu = self.spus.get_mut(&id).unwrap();
                spu.paused = !spu.paused;
            }
            // The SC hears nothing of it any more, or hears of it again; the SPU itself goes on all the time.
            4 | 5 if linked => self.cut_sc(id),
            6 | 7 if self.spus[&id].acts() && !linked => self.dial_sc(id),
            8 => self.end_streams(|stream, _| stream.copy == id),
            _ => self.now_ms += 3_000,
        }
    }

    /// A process dies, and now and then its disk with it.
    fn crash(&mut self, id: i32, kept: usize) {
        self.cut_sc(id);
        self.spus.get_mut(&id).unwrap().crash(kept);
        self.end_streams(|stream, _| stream.leader == id || stream.copy == id);
        let in_sync = &self.sc.placed().in_sync.spus;
        let not_the_last = in_sync.iter().any(|spu| *spu != id);
        if not_the_last && self.others_have_all(id) && self.random.random_bool(0.2) {
            self.spus.get_mut(&id).unwrap().lose_disk();
        }
    }

    /// Whether a disk may be lost: two of three have everything that was committed.
    fn others_have_all(&self, id: i32) -> bool {
        let has_all = |spu: &Spu| self.committed.len() <= spu.synced && spu.log.starts_with(&self.committed);
        self.spus.values().filter(|spu| spu.id != id).all(has_all)
    }

    fn end_streams(&mut self, ends: impl Fn(&Stream, &BTreeMap<i32, Spu>) -> bool) {
        let ended: Vec<u64> = self
            .streams
            .iter()
            .filter(|(_, stream)| ends(stream, &self.spus))
            .map(|(number, _)| *number)
            .collect();
        for number in ended {
            let Some(stream) = self.streams.remove(&number) else { continue };
            let copy = self.spus.get_mut(&stream.copy).unwrap();
            copy.feed = copy.feed.filter(|feed| *feed != number);
            let leader = self.spus.get_mut(&stream.leader).unwrap();
            // The lead of a later epoch never heard of it.
            let same_epoch = leader.epoch() == Some(stream.epoch);
            if let Some(lead) = leader.lead.as_mut().filter(|_| same_epoch) {
                lead.fed(stream.copy, false);
            }
        }
    }

    fn pick(&mut self, among: &[u64]) -> Option<u64> {
        if among.is_empty() { None } else { Some(among[self.random.random_range(0..among.len())]) }
    }

    /// Everybody comes back and nothing breaks any more: all copies become one, with all that was committed.
    pub(super) fn heal(&mut self) {
        self.faults = false;
        for id in 1..=3 {
            self.spus.get_mut(&id).unwrap().paused = false;
            if !self.spus[&id].alive {
                self.spus.get_mut(&id).unwrap().start();
                self.dial_sc(id);
            } else if self.spus[&id].link.is_none() {
                self.dial_sc(id);
            }
        }
        for _ in 0..20_000 {
            self.step();
            if self.is_one() {
                return;
            }
        }
        panic!("the copies did not become one: {:?}", self.spus);
    }

    fn is_one(&self) -> bool {
        let first = &self.spus[&1];
        let n_committed = offset(self.committed.len());
        self.sc.placed().in_sync.spus.len() == 3
            && self.spus.values().all(|spu| spu.log == first.log && spu.synced == spu.log.len())
            && n_committed == first.leo()
            && first.log == self.committed
    }
}
