//! Fetches from another copy what is damaged here.
//!
//! Only what is committed is fetched, and another copy gives only what is committed there: so both have the same
//! records at the same offsets, whoever of them leads, and the storage takes them only if they fill exactly what is
//! damaged in the same epoch. It weakens no promise: while it is mended and afterwards this copy has all that it had.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cluster_storage::{Damage, Isolation, Partition, ReadError, Repair, RepairError, Slice};
use tokio::sync::MutexGuard;
use tokio::time::timeout;
use tracing::{debug, error, info, warn};

use super::due::SegmentId;
use super::{now, segment_of};
use crate::link::{Assignment, PartitionKey};
use crate::peer::{Answer, Ask, Copied, Parcel, Placed};
use crate::spu::{Replica, Spu};

/// Bytes asked for at once.
const FETCH_BYTES: usize = 1 << 20;

/// How long another copy may take to give some.
const FETCH_PATIENCE: Duration = Duration::from_secs(10);

/// How long a reader waits for what it met to be mended, before it hears that it is damaged.
const READER_PATIENCE: Duration = Duration::from_secs(10);

impl Spu {
    /// Reads from a log of this SPU as [`Partition::read`] does; what is damaged is mended first, if that can be done
    /// soon.
    pub(in crate::spu) async fn read_whole(
        self: &Arc<Self>,
        key: &PartitionKey,
        log: &Partition,
        (from, max_bytes, isolation): (i64, usize, Isolation),
    ) -> Result<Slice, ReadError> {
        let read = log.read(from, max_bytes, isolation).await;
        // A sector that cannot be read is as damaged as one with other bytes in it.
        let damaged = matches!(read, Err(ReadError::Corrupt(_) | ReadError::Io { .. }));
        let found = self.replicas.get(&key.topic, key.partition).filter(|_| damaged);
        let Some(replica) = found else { return read };
        // By a task of its own, since the reader may go away meanwhile.
        let (spu, here) = (Arc::clone(self), log.clone());
        let mended = tokio::spawn(async move { spu.mend_at(&replica, &here, from).await });
        match timeout(READER_PATIENCE, mended).await {
            Ok(Ok(true)) => log.read(from, max_bytes, isolation).await,
            _ => read,
        }
    }

    /// Mends what is damaged at an offset. Whether it is whole now; what was tried in vain a moment ago is not tried
    /// again.
    async fn mend_at(&self, replica: &Replica, log: &Partition, offset: i64) -> bool {
        let base = log.segments().into_iter().rev().find(|base| *base <= offset);
        let Some(id) = base.map(|base| segment_of(replica, base)) else { return false };
        let tried = || self.scrub.known().tried_lately(&id, offset, now());
        if tried() {
            return false;
        }
        let one_at_a_time = self.scrub.mending.lock().await;
        // Somebody else may have met the same.
        if tried() {
            return false;
        }
        self.mend_now(&one_at_a_time, &id, (replica, log), offset).await
    }

    /// Looks at an offset and mends what is damaged there; whether it is whole now.
    pub(super) async fn mend_now(
        &self,
        one_at_a_time: &MutexGuard<'_, ()>,
        id: &SegmentId,
        (replica, log): (&Replica, &Partition),
        offset: i64,
    ) -> bool {
        let Ok(seen) = log.scrub(offset, 1).await else { return false };
        if !seen.damage.is_empty() {
            return self.mend(one_at_a_time, replica, log, seen.damage).await;
        }
        self.scrub.known().is_whole(id, offset);
        self.count_damage(&self.scrub.known());
        true
    }

    /// Mends damage of one segment as far as can be; whether all of it is whole now.
    pub(super) async fn mend(
        &self,
        _one_at_a_time: &MutexGuard<'_, ()>,
        replica: &Replica,
        log: &Partition,
        damage: Vec<Damage>,
    ) -> bool {
        let key = &replica.assignment.key;
        let mut is_news = false;
        for one in &damage {
            if self.scrub.known().try_now(&segment_of(replica, one.segment), one, now()) {
                is_news = true;
                self.usage.damage_found.add(1);
                error!(partition = %key, file = %one.file.display(), position = one.position, from = one.from,
                    to = one.to, reason = %one.reason, "stored records are damaged");
            }
        }
        self.count_damage(&self.scrub.known());
        self.report(replica);
        let of_records = |one: &Damage| one.from < one.to;
        if !replica.has_copies() && damage.iter().all(of_records) {
            return false;
        }
        let mended = match self.mended(replica, log, &damage).await {
            Ok(mended) => mended,
            Err(why) => {
                // It is tried again and again, and said once.
                if is_news {
                    warn!(partition = %key, %why, "damaged records cannot be mended now; what is whole is served");
                }
                return false;
            }
        };
        for (one, _) in damage.iter().zip(&mended).filter(|(_, mended)| **mended) {
            self.scrub.known().is_whole(&segment_of(replica, one.segment), one.from);
            self.usage.damage_mended.add(1);
            info!(partition = %key, from = one.from, to = one.to, "damaged records are mended");
        }
        self.count_damage(&self.scrub.known());
        self.report(replica);
        mended.iter().all(|mended| *mended)
    }

    async fn mended(
        &self,
        replica: &Replica,
        log: &Partition,
        damage: &[Damage],
    ) -> Result<Vec<bool>, RepairError> {
        let mut repair = log.repair(damage.to_vec()).await?;
        let committed = log.offsets().hw;
        for (number, one) in damage.iter().enumerate().filter(|(_, one)| one.to <= committed) {
            self.bring(&replica.assignment, &mut repair, (number, one)).await?;
        }
        repair.finish().await
    }

    /// Asks the leader and then the other copies until all of one damage is there.
    async fn bring(
        &self,
        assignment: &Assignment,
        repair: &mut Repair,
        (number, damage): (usize, &Damage),
    ) -> Result<(), RepairError> {
        let own = self.id();
        let others = assignment.replicas.iter().filter(|spu| **spu != assignment.leader);
        let mut at = damage.from;
        for spu in [&assignment.leader].into_iter().chain(others).filter(|spu| Some(**spu) != own) {
            while at < damage.to {
                let Some(batches) = self.copied(*spu, assignment, at).await else { break };
                match repair.put(number, batches).await {
                    Ok(next) if next > at => at = next,
                    Ok(_) => break,
                    Err(RepairError::OtherBatches(why)) => {
                        warn!(partition = %assignment.key, spu, %why, "another copy has other records");
                        at = damage.from;
                        break;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Batches of another copy from an offset on.
    async fn copied(&self, spu: i32, assignment: &Assignment, from: i64) -> Option<Bytes> {
        let placed = Placed { key: assignment.key.clone(), topic_id: assignment.topic_id };
        let ask = Ask::Copied(Copied { placed, from, max_bytes: FETCH_BYTES });
        let answer = timeout(FETCH_PATIENCE, self.peers.call::<Answer>(spu, &ask, Bytes::new())).await;
        match answer {
            Ok(Ok(Parcel { head: Answer::Slice { .. }, payload })) if !payload.is_empty() => Some(payload),
            other => {
                let other = other.map(|answered| answered.map(|parcel| parcel.head));
                debug!(partition = %assignment.key, spu, from, ?other, "another copy does not have it either");
                None
            }
        }
    }
}
