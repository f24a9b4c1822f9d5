//! Virtual time of day.
//!
//! In: when it begins, and tokio's clock, which is paused. Out: the time of day for objects and decisions. Nothing here
//! lets time pass: tokio does, while everything waits.

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// The clock of one play.
#[derive(Clone, Copy, Debug)]
pub struct VirtualClock {
    epoch: Timestamp,
    started: Instant,
}

impl VirtualClock {
    /// A clock that shows `epoch` now. It must be made inside of the runtime whose clock it follows.
    pub fn starting_at(epoch: Timestamp) -> Self {
        Self { epoch, started: Instant::now() }
    }

    /// The time of day.
    pub fn now(self) -> Timestamp {
        let passed = SignedDuration::try_from(self.started.elapsed()).unwrap_or_default();
        self.epoch.saturating_add(passed).unwrap_or(self.epoch)
    }
}
