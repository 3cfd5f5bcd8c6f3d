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
    /// Since when the cluster is not as it is wanted.
    pub waited: Option<Duration>,
    /// Troubles in a row.
    pub troubles: u32,
    /// What is waited for is told by the servers, which nobody watches; else by the API server, which is watched.
    pub servers_answer: bool,
    /// Until the data may go.
    pub until_purge: Option<Duration>,
    /// How often a cluster that runs is asked.
    pub health_every: Duration,
}

/// The pause before the next pass.
pub fn pause(situation: &Situation) -> Duration {
    let seconds = Duration::from_secs;
    let pause = match situation {
        Situation { away: true, .. } => seconds(5),
        Situation { troubles: 2.., .. } => {
            Duration::from_millis(200 << situation.troubles.min(8)).min(seconds(30))
        }
        Situation { waited: None, .. } => situation.health_every,
        Situation { waited: Some(waited), servers_answer, .. } => match waited.as_secs() {
            0..5 if *servers_answer => Duration::from_millis(50),
            0..5 => Duration::from_millis(100),
            5..30 => Duration::from_millis(500),
            30..120 => seconds(2),
            _ => seconds(10),
        },
    };
    // A little after the end, since the database's clock decides. Once that is past, it is no reason to hurry.
    let end = situation.until_purge.filter(|left| !left.is_zero());
    end.map_or(pause, |left| pause.min(left + Duration::from_millis(200)))
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

    fn situation(waited: Option<u64>, troubles: u32, servers_answer: bool) -> Situation {
        Situation {
            away: false,
            waited: waited.map(Duration::from_secs),
            troubles,
            servers_answer,
            until_purge: None,
            health_every: Duration::from_secs(60),
        }
    }

    #[test]
    fn a_new_cluster_is_looked_at_often_and_a_settled_one_rarely() {
        let millis = |waited, troubles, answer| pause(&situation(waited, troubles, answer)).as_millis();
        assert_eq!(millis(None, 0, true), 60_000);
        assert_eq!(millis(Some(0), 0, true), 50);
        assert_eq!(millis(Some(0), 0, false), 100);
        assert_eq!(millis(Some(60), 0, true), 2_000);
        assert_eq!(millis(Some(9_999), 0, true), 10_000);
        assert_eq!(millis(Some(60), 2, true), 800);
        assert_eq!(millis(Some(60), u32::MAX, true), 30_000);
        let away = pause(&Situation { away: true, ..situation(Some(0), 9, true) });
        assert_eq!(away.as_secs(), 5);
        let end =
            pause(&Situation { until_purge: Some(Duration::from_secs(3)), ..situation(None, 0, false) });
        assert_eq!(end.as_secs(), 3);
        let over =
            pause(&Situation { away: true, until_purge: Some(Duration::ZERO), ..situation(None, 0, false) });
        assert_eq!(over.as_secs(), 5);
    }

    #[test]
    fn clusters_that_were_taken_up_together_drift_apart() {
        let minute = Duration::from_secs(60);
        let spread = |n: u128| spread(minute, Uuid::from_u128(n));
        assert!((0..256).all(|n| spread(n) <= minute && spread(n) > minute / 2));
        assert_ne!(spread(1), spread(2));
    }
}
