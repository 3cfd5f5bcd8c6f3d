//! The log: segments, index, recovery, retention, group commit.
