//! How soon a keeper looks again when nothing wakes it.

use std::time::Duration;

use super::HEALTH_EVERY;
use crate::status::{State, Status};

/// From here on, what is not there yet is told as trouble.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The pause before the next pass: close at first, when things take milliseconds, then wider and wider. After
/// trouble it doubles with each time, to five seconds.
pub fn pause(unsettled: Option<Duration>, troubles: u32) -> Duration {
    if troubles > 1 {
        return Duration::from_millis(100 << troubles.min(6)).min(Duration::from_secs(5));
    }
    match unsettled {
        None => HEALTH_EVERY,
        Some(waited) if waited < Duration::from_secs(3) => Duration::from_millis(10),
        Some(waited) if waited < Duration::from_secs(30) => Duration::from_millis(200),
        Some(_) => Duration::from_secs(1),
    }
}

/// Whether a state lasts until something changes.
pub fn is_settled(status: &Status) -> bool {
    matches!(status.state, State::Running | State::Paused | State::Deleted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_cluster_is_looked_at_often_and_a_settled_one_rarely() {
        let millis =
            |waited: Option<u64>, troubles| pause(waited.map(Duration::from_millis), troubles).as_millis();
        assert_eq!(millis(None, 0), 10_000);
        assert_eq!(millis(Some(5), 0), 10);
        assert_eq!(millis(Some(5_000), 0), 200);
        assert_eq!(millis(Some(60_000), 0), 1_000);
        assert_eq!(millis(Some(60_000), 2), 400);
        assert_eq!(millis(Some(60_000), u32::MAX), 5_000);
    }
}
