//! The section `[spu.scrub]`.

use serde::Deserialize;

/// How an SPU looks for what its disk did not keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScrubConfig {
    /// Every segment is read through once in this time. Default: a week.
    pub period_seconds: u64,
    /// Bytes a second that are read for it, at most. Default: 8 MiB.
    pub bytes_per_second: u64,
}

impl Default for ScrubConfig {
    fn default() -> Self {
        Self { period_seconds: 7 * 24 * 60 * 60, bytes_per_second: 8 << 20 }
    }
}

impl ScrubConfig {
    /// Longest period: what is read less often is as good as never read.
    const MOST_SECONDS: u64 = 366 * 24 * 60 * 60;

    pub(super) fn check(&self) -> Result<(), String> {
        if !(1..=Self::MOST_SECONDS).contains(&self.period_seconds) {
            let most = Self::MOST_SECONDS;
            return Err(format!("spu.scrub.period_seconds is {} and not 1 to {most}", self.period_seconds));
        }
        if self.bytes_per_second == 0 {
            return Err("spu.scrub.bytes_per_second is 0: nothing would ever be read".into());
        }
        Ok(())
    }
}
