//! Watch streams: everything once, then each change.
//!
//! A stream compares what its client saw last with what it would see now, so a slow client gets fewer and larger
//! changes, and never misses a deletion. What it may no longer see is deleted for it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::modules::{Answer, Modules};
use super::seen::{Objects, Seen};
use crate::connection::{Close, Session};
use crate::sc::state::State;
use crate::wire::Header;
use crate::wire::admin::{
    Change, Kind, update_custom_spus, update_partitions, update_spu_groups, update_spus,
    update_table_formats, update_topics,
};

/// Offsets and sizes alone are not sent more often than this; everything else goes at once.
const NUMBERS_PAUSE: Duration = Duration::from_millis(500);

/// What a stream tells.
pub struct Told {
    /// Of the request.
    pub header: Header,
    /// Objects of which type.
    pub kind: Kind,
    /// SmartModules without their code.
    pub summary: bool,
    /// Where their code comes from.
    pub modules: Modules,
}

/// Runs until the connection ends.
pub async fn run(
    told: Told,
    mut states: watch::Receiver<Arc<State>>,
    session: Arc<Session>,
) -> Result<(), Close> {
    let mut policy = session.policy_changes();
    // Before the look at what the client may see, so that no change falls between.
    policy.mark_unchanged();
    let mut sent = Seen::of(&states.borrow_and_update().clone(), &session);
    if let Some(answer) = told.news(None, &sent).await? {
        answer.send(&session.outbox).await?;
    }
    let mut sent_at = Instant::now();
    loop {
        let state = tokio::select! {
            state = next(&mut states, sent.urgent, sent_at + NUMBERS_PAUSE) => state,
            // What the client may see may have changed.
            Ok(()) = policy.changed() => Some(states.borrow_and_update().clone()),
        };
        let Some(state) = state else {
            // The engine stopped; the connection is about to end as well.
            return Ok(());
        };
        let seen = Seen::of(&state, &session);
        if let Some(answer) = told.news(Some(&sent), &seen).await? {
            answer.send(&session.outbox).await?;
            sent_at = Instant::now();
        }
        sent = seen;
    }
}

/// The next state worth looking at: at once if more than numbers changed, else not before `numbers_from`.
async fn next(
    states: &mut watch::Receiver<Arc<State>>,
    urgent: u64,
    numbers_from: Instant,
) -> Option<Arc<State>> {
    states.changed().await.ok()?;
    loop {
        let state = states.borrow_and_update().clone();
        if state.urgent != urgent || Instant::now() >= numbers_from {
            return Some(state);
        }
        match timeout_at(numbers_from, states.changed()).await {
            Ok(changed) => changed.ok()?,
            Err(_) => return Some(states.borrow_and_update().clone()),
        }
    }
}

impl Told {
    async fn news(&self, before: Option<&Seen>, now: &Seen) -> Result<Option<Answer>, Close> {
        let epoch = now.urgent.cast_signed();
        let header = &self.header;
        let frame = match self.kind {
            Kind::Topic => compare(epoch, before.map(|seen| &seen.topics), &now.topics)
                .map(|change| update_topics(header, &change)),
            Kind::Partition => compare(epoch, before.map(|seen| &seen.partitions), &now.partitions)
                .map(|change| update_partitions(header, &change)),
            Kind::Spu => compare(epoch, before.map(|seen| &seen.spus), &now.spus)
                .map(|change| update_spus(header, &change)),
            Kind::SpuGroup => compare(epoch, before.map(|seen| &seen.spu_groups), &now.spu_groups)
                .map(|change| update_spu_groups(header, &change)),
            Kind::CustomSpu => {
                compare(epoch, before.map(|seen| &seen.stored.custom_spus), &now.stored.custom_spus)
                    .map(|change| update_custom_spus(header, &change))
            }
            Kind::TableFormat => {
                compare(epoch, before.map(|seen| &seen.stored.table_formats), &now.stored.table_formats)
                    .map(|change| update_table_formats(header, &change))
            }
            Kind::SmartModule => {
                let before = before.map(|seen| &seen.stored.smart_modules);
                return match compare(epoch, before, &now.stored.smart_modules) {
                    Some(change) => self.modules.news(header, &change, self.summary).await.map(Some),
                    None => Ok(None),
                };
            }
            Kind::Mirror => None,
        };
        Ok(frame.transpose()?.map(Answer::from))
    }
}

/// What to send to a client that saw `before`; without it, everything. `None` if nothing changed.
fn compare<'a, K: Ord, V: PartialEq>(
    epoch: i64,
    before: Option<&'a Objects<K, V>>,
    now: &'a Objects<K, V>,
) -> Option<Change<'a, K, V>> {
    let all = now.iter().map(|(key, view)| (key, &**view));
    let Some(before) = before else {
        return Some(Change { epoch, whole: true, updated: all.collect(), deleted: Vec::new() });
    };
    if Arc::ptr_eq(before, now) {
        return None;
    }
    let same = |key: &K, view: &Arc<V>| before.get(key).is_some_and(|known| Arc::ptr_eq(known, view));
    let updated: Vec<_> =
        now.iter().filter(|(key, view)| !same(key, view)).map(|(key, view)| (key, &**view)).collect();
    let deleted: Vec<_> =
        before.iter().filter(|(key, _)| !now.contains_key(*key)).map(|(key, view)| (key, &**view)).collect();
    let changed = !(updated.is_empty() && deleted.is_empty());
    changed.then_some(Change { epoch, whole: false, updated, deleted })
}
