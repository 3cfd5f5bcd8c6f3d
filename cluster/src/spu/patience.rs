//! How long one produce request may take, all of its entries together: its client waits once for all of them.

use std::time::Duration;

use tokio::time::Instant;

use super::route::HELD;
use crate::wire::ErrorCode;
use crate::wire::schema::RequestKind;

/// The published client (fluvio-socket 0.50.1) gives a request up after a minute and sends it again, on the same
/// connection. So it is answered before that, and what was not begun by then is not done at all: it would be done
/// twice, and behind what was sent later.
const REQUEST: Duration = Duration::from_secs(50);

/// A disk that does not answer for this long is an error.
const DISK: Duration = Duration::from_secs(30);

/// How long the copies may take at least: a producer asks for its records, and not for a lot of errors while a copy
/// that died is still waited for.
const COPIES: Duration = Duration::from_secs(20);

/// How long a large batch waits for its turn to be opened.
const OPENING: Duration = Duration::from_secs(30);

/// The patience with one request, from when it came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    came: Instant,
    asked: Duration,
}

impl Patience {
    /// With a request that comes now and asks for this timeout.
    pub(super) fn from_now(asked: Duration) -> Self {
        Self { came: Instant::now(), asked }
    }

    /// What the client asked for, in all.
    pub(super) fn timeout(self) -> Duration {
        self.asked
    }

    /// What is left for the whole request.
    pub(super) fn left(self) -> Duration {
        REQUEST.saturating_sub(self.came.elapsed())
    }

    /// Whether something may still be begun; else the error that says so.
    pub(super) fn check(self) -> Result<(), ErrorCode> {
        if self.left().is_zero() { Err(timed_out(REQUEST)) } else { Ok(()) }
    }

    /// Until when it is held while nobody serves a partition.
    pub(super) fn held(self) -> Instant {
        self.came + HELD
    }

    /// From now, for a disk.
    pub(super) fn disk(self) -> Duration {
        DISK.min(self.left())
    }

    /// From now, for all copies in sync.
    pub(super) fn copies(self) -> Duration {
        self.asked.max(COPIES).min(self.left())
    }

    /// From now, for opening what is compressed.
    pub(super) fn opening(self) -> Duration {
        OPENING.min(self.left())
    }

    /// From now, what the client itself asked for.
    pub(super) fn asked(self) -> Duration {
        self.asked.saturating_sub(self.came.elapsed()).min(self.left())
    }
}

/// Something took longer than this.
pub(super) fn timed_out(after: Duration) -> ErrorCode {
    let timeout_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
    ErrorCode::RequestTimedOut { timeout_ms, kind: RequestKind::Produce }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With a request that came this long ago.
    fn after(elapsed: u64, asked: u64) -> Patience {
        let came = Instant::now().checked_sub(Duration::from_secs(elapsed)).unwrap();
        Patience { came, asked: Duration::from_secs(asked) }
    }

    #[test]
    fn each_wait_has_its_own_limit() {
        let (copies, disk) = (after(0, 2).copies(), after(0, 2).disk());
        assert_eq!(
            (copies, disk, after(0, 2).opening()),
            (COPIES, DISK, OPENING),
            "copies have longer than asked"
        );
        assert!(after(0, 40).copies() > COPIES, "or as long");
        assert!(after(1, 2).asked() <= Duration::from_secs(1), "the mark has not");
        assert!(after(19, 2).held() > Instant::now() && after(21, 2).held() < Instant::now());
    }

    #[test]
    fn whatever_a_request_waits_for_it_is_answered_before_its_client_gives_it_up() {
        for elapsed in [0, 20, 45, 49] {
            let (patience, left) = (after(elapsed, 300), REQUEST - Duration::from_secs(elapsed));
            for limit in [patience.disk(), patience.copies(), patience.opening(), patience.asked()] {
                assert!(limit <= left, "{limit:?} after {elapsed} s");
            }
            assert!(
                patience.timeout() == Duration::from_secs(300),
                "who forwards it passes on what was asked for"
            );
        }
        let over = after(51, 300);
        assert_eq!((over.disk(), over.copies(), over.left()), Default::default());
        assert!(matches!(over.check(), Err(ErrorCode::RequestTimedOut { timeout_ms: 50_000, .. })));
        assert!(after(20, 300).check().is_ok());
    }
}
