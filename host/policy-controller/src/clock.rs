//! The clocks of one replica, as a value.
//!
//! In: the system's wall clock, or a test's. Out: `now` as a [`Timestamp`] for records and decisions; waits and the
//! claim's deadline use tokio's monotonic clock, which a simulation can pause.
//! Nothing else in this crate may read a clock.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use policy_core::time::Timestamp;

/// Where `now` comes from.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The machine's wall clock.
    pub fn system() -> Self {
        Self::from_fn(|| {
            let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs());
            Timestamp(u32::try_from(seconds).unwrap_or(u32::MAX))
        })
    }

    /// A clock of somebody else's making.
    pub fn from_fn(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time of day.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}
