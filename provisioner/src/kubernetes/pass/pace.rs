//! How soon a cluster is looked at again when nothing happens to it.

use std::time::Duration;

use uuid::Uuid;

use crate::kubernetes::plan::Facts;
use crate::status::{State, Status};
use crate::store::Wanted;

/// From here on, what is not there yet is told as trouble.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What the pause depends on.
pub struct Situation {
    /// The API server is away.
    pub away: bool,
    /// The cluster is as it is wanted.
    pub settled: bool,
    /// Troubles in a row.
    pub troubles: u32,
    /// Passes in a row in which nothing was done, and before which nothing was heard.
    pub idle: u32,
    /// Somebody could use it once.
    pub was_ready: bool,
    /// Until the data may go.
    pub until_purge: Option<Duration>,
    /// How often a cluster that runs is asked.
    pub health_every: Duration,
}

/// The pause before the next pass. Nearly everything that is waited for is heard of; what is not (a server that
/// begins to listen, a right that becomes known, a route) comes soon, or not for long.
pub fn pause(situation: &Situation) -> Duration {
    let millis = Duration::from_millis;
    let pause = match situation {
        Situation { away: true, .. } => millis(5_000),
        Situation { troubles: 2.., .. } => millis(200 << situation.troubles.min(8)).min(millis(30_000)),
        Situation { settled: true, .. } => situation.health_every,
        Situation { was_ready: true, .. } => millis(50 << situation.idle.min(12)).min(situation.health_every),
        _ => millis(50 << situation.idle.min(12)),
    };
    // A little after the end, since the database's clock decides. Once that is past, it is no reason to hurry.
    let end = situation.until_purge.filter(|left| !left.is_zero());
    end.map_or(pause, |left| pause.min(left + millis(200)))
}

/// Long pauses differ from cluster to cluster, so that ten thousand that were taken up together are not asked
/// together ever after.
pub fn spread(pause: Duration, cluster: Uuid) -> Duration {
    if pause < Duration::from_secs(5) {
        return pause;
    }
    let part = u32::from(cluster.as_bytes()[15]);
    pause - pause * part / 1024
}

/// Whether a cluster stays as it is until something happens to it.
pub fn is_settled(wanted: &Wanted, facts: &Facts, status: &Status) -> bool {
    if wanted.rests() {
        return facts.at_rest && facts.backends.is_empty() && !wanted.purge_due;
    }
    status.state == State::Running
        && facts
            .health
            .as_ref()
            .is_some_and(|health| health.ready && health.online() >= usize::from(facts.spus))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn situation(idle: u32) -> Situation {
        Situation {
            away: false,
            settled: false,
            troubles: 0,
            idle,
            was_ready: false,
            until_purge: None,
            health_every: Duration::from_secs(60),
        }
    }

    #[test]
    fn what_just_moved_is_looked_at_soon_and_what_rests_rarely() {
        let millis = |situation: Situation| pause(&situation).as_millis();
        let moved = [0, 1, 2, 5, 12, u32::MAX].map(|idle| millis(situation(idle)));
        assert_eq!(moved, [50, 100, 200, 1_600, 204_800, 204_800]);
        assert_eq!(millis(Situation { was_ready: true, ..situation(20) }), 60_000);
        assert_eq!(millis(Situation { settled: true, ..situation(0) }), 60_000);
        assert_eq!(millis(Situation { troubles: 2, ..situation(0) }), 800);
        assert_eq!(millis(Situation { troubles: u32::MAX, ..situation(0) }), 30_000);
        assert_eq!(millis(Situation { away: true, troubles: 9, ..situation(0) }), 5_000);
        let end = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(millis(Situation { settled: true, until_purge: end(3), ..situation(0) }), 3_200);
        assert_eq!(millis(Situation { settled: true, until_purge: end(0), ..situation(0) }), 60_000);
    }

    #[test]
    fn clusters_that_were_taken_up_together_drift_apart() {
        let minute = Duration::from_secs(60);
        let spread = |n: u128| spread(minute, Uuid::from_u128(n));
        assert!((0..256).all(|n| spread(n) <= minute && spread(n) > minute / 2));
        assert_ne!(spread(1), spread(2));
    }
}
