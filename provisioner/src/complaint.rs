//! A trouble that lasts is said again now and then, not at each try.

use std::time::{Duration, Instant};

use tracing::warn;

use crate::store::StoreError;

/// Between two of them about the same.
const EVERY: Duration = Duration::from_secs(5);

/// When the last one was made, while the trouble lasts.
#[derive(Debug, Default)]
pub struct Complaint(Option<Instant>);

impl Complaint {
    /// Hears how a round of a director ended.
    pub fn hear(&mut self, round: Result<(), StoreError>) {
        match round {
            Ok(()) => self.0 = None,
            Err(error) if self.0.is_none_or(|at| at.elapsed() >= EVERY) => {
                warn!(%error, "cannot read what is wanted; clusters go on as they are");
                self.0 = Some(Instant::now());
            }
            Err(_) => {}
        }
    }
}
