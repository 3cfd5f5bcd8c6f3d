//! SPUs come and go, and some do not come back.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Engine, RECOVERY_PATIENCE};
use crate::sc::SpuHello;
use crate::sc::due::take_due;

/// Copies and leaders are put in order when no SPU has come or gone for this long: a restart is over by then.
const CALM_AFTER: Duration = Duration::from_secs(30);

impl Engine {
    pub(super) async fn spu_came(&mut self, hello: SpuHello) -> Result<i32, String> {
        let settings = self.state.settings.clone().ok_or("the SC has no settings yet")?;
        let entry = settings.spus.iter().find(|spu| spu.name == hello.name);
        let spu = entry.ok_or_else(|| format!("the settings name no SPU {:?}", hello.name))?.id;
        if self.sessions.get(&spu).is_some_and(|newer| *newer > hello.session) {
            return Err("a newer connection of this SPU is there already".into());
        }
        self.learn(spu, &hello, settings.durability).await?;
        self.disturbed();
        self.live.online.insert(spu);
        self.live.gone.remove(&spu);
        self.live.lost.remove(&spu);
        match hello.knows_moves {
            true => self.live.old.remove(&spu),
            false => self.live.old.insert(spu),
        };
        if let Some(peer) = hello.peer {
            Arc::make_mut(&mut self.state.peers).insert(spu, peer);
        }
        self.live.reports.retain(|(_, reporter), _| *reporter != spu);
        self.sessions.insert(spu, hello.session);
        self.state.settings_applied.insert(spu, hello.generation);
        self.came.insert(spu);
        if !self.state.open && self.missing().is_empty() {
            self.open_with_what_was_gathered().await;
        } else if !self.state.open && self.due.give_up_waiting.is_none() {
            self.due.give_up_waiting = Some(Instant::now() + RECOVERY_PATIENCE);
        }
        self.publish_all();
        self.settle().await;
        Ok(spu)
    }

    pub(super) async fn spu_went(&mut self, spu: i32, session: u64) {
        // A newer connection of the same SPU may have come before the older one's end was seen.
        if self.sessions.get(&spu) != Some(&session) || !self.live.online.contains(&spu) {
            return;
        }
        tracing::warn!(spu, "the SPU is gone");
        self.disturbed();
        self.live.online.remove(&spu);
        self.live.old.remove(&spu);
        self.is_away(spu, Instant::now());
        self.state.settings_applied.remove(&spu);
        self.publish_all();
        self.settle().await;
    }

    /// What the clock says of them.
    pub(super) fn look_who_is_away(&mut self, now: Instant) {
        if take_due(&mut self.due.late, now) {
            match self.state.settings.is_some() {
                true => self.missing().into_iter().for_each(|spu| self.is_away(spu, now)),
                // Nobody is known yet who could be late.
                false => self.due.late = Some(now + RECOVERY_PATIENCE),
            }
        }
        if take_due(&mut self.due.lost, now) {
            let lost =
                self.live.gone.iter().filter(|(_, since)| now.duration_since(**since) >= self.lost_after);
            for spu in lost.map(|(spu, _)| *spu) {
                if self.live.lost.insert(spu) {
                    tracing::warn!(spu, "the SPU is lost: its copies are made again where there is room");
                }
            }
            self.expect_losses();
        }
        self.live.calm |= take_due(&mut self.due.calm, now);
    }

    fn is_away(&mut self, spu: i32, now: Instant) {
        self.live.gone.entry(spu).or_insert(now);
        self.expect_losses();
    }

    fn expect_losses(&mut self) {
        let waited_for = self.live.gone.iter().filter(|(spu, _)| !self.live.lost.contains(spu));
        self.due.lost = waited_for.filter_map(|(_, since)| since.checked_add(self.lost_after)).min();
    }

    fn disturbed(&mut self) {
        self.live.calm = false;
        self.due.calm = Some(Instant::now() + CALM_AFTER);
    }
}
