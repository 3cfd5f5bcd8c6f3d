//! Everything between the SPUs and the SC, and what must hold.

mod faults;
mod streams;

use std::collections::{BTreeMap, VecDeque};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::copy::{Failed, Record};
use super::nature::{Nature, Step};
use super::sc::{Hello, SPUS, Sc, TOPIC, Word};
use super::spu::Spu;
use crate::link::{PartitionKey, ReplicaReport};
use crate::sc::decide::InSyncAsked;
use crate::spu::copies::leading::Leading;
use streams::Stream;

/// From an SPU to the SC, in order on each link.
enum ToSc {
    Came(Hello),
    Asked(InSyncAsked),
    Report(ReplicaReport),
    Went,
}

pub(super) struct World {
    random: StdRng,
    nature: Nature,
    now_ms: u64,
    next: u64,
    spus: BTreeMap<i32, Spu>,
    sc: Sc,
    /// By the link's number: whose it is, and what is on its way.
    to_sc: BTreeMap<u64, (i32, VecDeque<ToSc>)>,
    to_spu: BTreeMap<u64, (i32, VecDeque<Word>)>,
    streams: BTreeMap<u64, Stream>,
    pub(super) committed: Vec<Record>,
    faults: bool,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut world = Self {
            nature: Nature::of(&mut random),
            now_ms: 0,
            next: 0,
            spus: SPUS.map(|id| (id, Spu::new(id, random.random()))).collect(),
            sc: Sc::new(random.random()),
            to_sc: BTreeMap::new(),
            to_spu: BTreeMap::new(),
            streams: BTreeMap::new(),
            committed: Vec::new(),
            faults: true,
            random,
        };
        SPUS.for_each(|id| world.dial_sc(id));
        world
    }

    pub(super) fn epoch(&self) -> u32 {
        self.sc.placed().map_or(0, |placed| placed.epoch)
    }

    /// One thing happens somewhere, and what must hold is looked at.
    pub(super) fn step(&mut self) {
        self.now_ms += self.random.random_range(0..40);
        let id = self.random.random_range(SPUS);
        match self.nature.step(&mut self.random) {
            Step::Produce if self.faults => self.produce(id),
            Step::Sync => self.sync(id),
            Step::HearInSc => self.hear_in_sc(),
            Step::HearFromSc => self.hear_from_sc(),
            Step::Follow => self.follow(id),
            Step::Feed => self.feed(),
            Step::HearInStream => self.hear_in_stream(),
            Step::Calm => self.in_sc(Sc::rest),
            Step::House => self.keep_house(id),
            Step::Fault if self.faults => self.fault(id),
            Step::Produce | Step::Fault => {}
        }
        self.lead(id);
        self.report(id);
        self.bury();
    }

    fn report(&mut self, id: i32) {
        let spu = self.spus.get_mut(&id).unwrap();
        let Some(link) = spu.link.filter(|_| spu.acts()) else { return };
        if let (Some(report), Some((_, queue))) = (spu.report(), self.to_sc.get_mut(&link)) {
            queue.push_back(ToSc::Report(report));
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn produce(&mut self, id: i32) {
        let number = self.number();
        let spu = self.spus.get_mut(&id).unwrap();
        if let (true, Some(_), Some(epoch)) = (spu.acts(), &spu.lead, spu.epoch()) {
            // Whoever sent it hears so if it is not taken.
            spu.copy.append(epoch, number).ok();
        }
    }

    fn sync(&mut self, id: i32) {
        let spu = self.spus.get_mut(&id).unwrap();
        if !spu.acts() {
            return;
        }
        if spu.copy.sync().is_ok()
            && let Some(stream) = spu.feed.and_then(|feed| self.streams.get_mut(&feed))
        {
            stream.say(spu);
        }
    }

    fn keep_house(&mut self, id: i32) {
        let (forgotten, now_ms) = (self.random.random_bool(0.5), self.now_ms);
        let spu = self.spus.get_mut(&id).unwrap();
        if !spu.acts() {
            return;
        }
        let led_before = spu.lead.is_some() && spu.copy.is_writable();
        match spu.keep_house(forgotten, now_ms) {
            Ok(true) => self.end_streams(|stream, _| stream.leader == id || stream.copy == id),
            Ok(false) => {}
            // It starts again, and with that its disk is looked at once more.
            Err(Failed) => self.crash(id),
        }
        self.leads_with_everything(id, led_before);
    }

    /// Who was in the middle of something when the power went.
    fn bury(&mut self) {
        for id in SPUS {
            if self.spus[&id].alive && !self.spus[&id].copy.has_power() {
                self.crash(id);
            }
        }
        if !self.sc.has_power() {
            self.end_sc(|sc, _| sc.crash());
        }
    }

    /// What a leader does whenever something moved.
    fn lead(&mut self, id: i32) {
        let (now_ms, spu) = (self.now_ms, self.spus.get_mut(&id).unwrap());
        let ends = spu.copy.ends();
        let (true, Some(lead)) = (spu.acts(), &mut spu.lead) else { return };
        lead.moved(ends, now_ms);
        let committed = lead.committed();
        let asked = lead.ask(now_ms);
        assert!(committed <= ends.leo, "SPU {id} committed {committed} of {}", ends.leo);
        spu.copy.commit(committed);
        let epoch = spu.epoch().unwrap();
        for at in 0..usize::try_from(committed).unwrap() {
            let record = spu.copy.records()[at];
            match self.committed.get(at) {
                Some(known) => assert_eq!(*known, record, "offset {at} was committed as another record"),
                None => self.committed.push(record),
            }
        }
        if let (Some(wanted), Some(link)) = (asked, spu.link) {
            let key = PartitionKey { topic: "t".into(), partition: 0 };
            let asked = InSyncAsked { key, topic_id: TOPIC, epoch, wanted };
            if let Some((_, queue)) = self.to_sc.get_mut(&link) {
                queue.push_back(ToSc::Asked(asked));
            }
        }
    }

    fn dial_sc(&mut self, id: i32) {
        let link = self.number();
        let spu = self.spus.get_mut(&id).unwrap();
        (spu.link, spu.said) = (Some(link), None);
        let hello = Hello { fresh: !spu.welcomed, held: spu.assignment.clone() };
        self.to_sc.insert(link, (id, VecDeque::from([ToSc::Came(hello)])));
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
        match message {
            ToSc::Came(hello) => {
                self.in_sc(|sc| sc.came(id, link, hello));
                // The whole of it, whatever was told on its former link.
                if let (Some(word), Some((_, queue))) = (self.sc.word_for(id), self.to_spu.get_mut(&link)) {
                    queue.push_back(word);
                }
            }
            ToSc::Asked(asked) => self.in_sc(|sc| sc.asked(id, &asked)),
            ToSc::Report(report) => self.in_sc(|sc| sc.report(id, link, report)),
            ToSc::Went => {
                self.to_sc.remove(&link);
                self.in_sc(|sc| sc.went(id, link));
            }
        }
    }

    /// Something happens in the SC, and whoever is registered hears what came of it.
    fn in_sc(&mut self, happens: impl FnOnce(&mut Sc)) {
        let before = self.sc.placed().cloned();
        happens(&mut self.sc);
        if self.sc.placed() == before.as_ref() {
            return;
        }
        for (link, (id, queue)) in &mut self.to_spu {
            if let Some(word) = self.sc.word_for(*id).filter(|_| self.sc.knows(*link)) {
                queue.push_back(word);
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
        if self.faults && self.nature.slow == *id && self.random.random_bool(0.95) {
            return;
        }
        let (id, word) = (*id, queue.pop_front().unwrap());
        let led_before = self.spus[&id].lead.is_some();
        // What could not be done is tried again when it keeps house.
        self.spus.get_mut(&id).unwrap().take(&word, self.now_ms).ok();
        self.leads_with_everything(id, led_before);
        self.end_streams(|stream, spus| {
            let epoch_of = |id: i32| spus[&id].epoch();
            let counts = |lead: &Leading| lead.feeds(stream.copy, stream.feed);
            !spus[&stream.leader].lead.as_ref().is_some_and(counts)
                || epoch_of(stream.leader) != Some(stream.epoch)
                || epoch_of(stream.copy) != Some(stream.epoch)
        });
    }

    /// Whoever begins to lead has everything that was ever committed, unless another leads by now: then it can commit
    /// nothing more.
    fn leads_with_everything(&self, id: i32, led_before: bool) {
        let spu = &self.spus[&id];
        if spu.lead.is_none() || led_before || spu.epoch() != Some(self.epoch()) {
            return;
        }
        let records = spu.copy.records();
        for (at, record) in self.committed.iter().enumerate() {
            assert_eq!(records.get(at), Some(record), "SPU {id} leads without the committed offset {at}");
        }
    }

    fn pick(&mut self, among: &[u64]) -> Option<u64> {
        if among.is_empty() { None } else { Some(among[self.random.random_range(0..among.len())]) }
    }

    /// Everybody comes back and nothing breaks any more: all copies become one, with all that was committed.
    pub(super) fn heal(&mut self) {
        (self.faults, self.nature) = (false, Nature::even());
        self.sc.mend_disk();
        for id in SPUS {
            let spu = self.spus.get_mut(&id).unwrap();
            spu.paused = false;
            spu.copy.mend_disk();
            if !spu.alive {
                spu.start();
            }
            if spu.link.is_none() {
                self.dial_sc(id);
            }
        }
        for _ in 0..40_000 {
            self.step();
            if self.is_one() {
                return;
            }
        }
        panic!("the copies did not become one: {:?} {:?}", self.sc, self.spus);
    }

    fn is_one(&self) -> bool {
        let Some(placed) = self.sc.placed() else { return false };
        let whole = |spu: &i32| {
            let copy = &self.spus[spu].copy;
            copy.synced() == self.committed && copy.read_all().is_ok_and(|read| read == self.committed)
        };
        placed.replicas.len() == 3
            && placed.replicas.iter().all(whole)
            && placed.in_sync.spus.len() == 3
            && placed.moving_to.is_empty()
            && self.sc.leaving.is_none_or(|leaving| !placed.replicas.contains(&leaving))
    }
}
