//! How long something may go on before it is a failure: one duration per thing that Kargo never ends by itself.
//!
//! In: what a FailurePolicy sets, read and bounded by `policy-api`. Out: seconds that [`crate::detect`] compares with.
//! Defaults are late rather than wrong: a deadline that passes opens an incident, and people lose faith in a message
//! that says "stuck" about something that was merely slow. `docs/triggers.md` says where each one comes from.

use serde::{Deserialize, Serialize};

macro_rules! deadlines {
    ($($(#[$doc:meta])* $field:ident = $key:literal, $default:expr;)+) => {
        /// How long something may go on before it is a failure, in seconds.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields, default)]
        pub struct Deadlines { $($(#[$doc])* pub $field: u32),+ }

        impl Default for Deadlines {
            fn default() -> Self {
                Self { $($field: $default),+ }
            }
        }

        impl Deadlines {
            /// Names of the deadlines as a FailurePolicy has them, in the order of the fields.
            pub const KEYS: &'static [&'static str] = &[$($key),+];

            /// The deadline of that name.
            pub fn get_mut(&mut self, key: &str) -> Option<&mut u32> {
                match key { $($key => Some(&mut self.$field),)+ _ => None }
            }
        }
    };
}

deadlines! {
    /// From the end of a Succeeded Promotion until its Stage records it. Measured: 213 ms at most; Kargo looks at every
    /// Stage at least every five minutes (`regular_stages.go:425`), so twice that. A Promotion that the Stage has
    /// passed over is lost for good, and needs no deadline.
    promotion_not_recorded = "promotionNotRecorded", 600;
    /// How long one step may run.
    promotion_stalled = "promotionStalled", 3_600;
    /// How long a step may show Failed in a Promotion that runs, without a counted error: an `http` step that gets no
    /// 2xx and has no expressions. Kargo repeats it every five minutes for ever (kargo-live.md 2, "silent stall").
    promotion_silent = "promotionSilent", 600;
    /// How long a step may wait for a person to merge a pull request.
    pull_request_open = "pullRequestOpen", 3 * 86_400;
    /// How long a Promotion may wait to start.
    promotion_pending = "promotionPending", 3_600;
    /// How long a verification may take. It blocks the Stage's queue meanwhile.
    verification_stuck = "verificationStuck", 7_200;
    /// How long the Freight of a Stage may stay without a verification that can never come.
    verification_missing = "verificationMissing", 60;
    /// How long a Stage may be Unhealthy after a Promotion that succeeded.
    stage_unhealthy = "stageUnhealthy", 180;
    /// How long a Stage may take to become Healthy for the first time after a Promotion that succeeded. Without that no
    /// verification ever starts (`regular_stages.go:1246-1251`).
    stage_never_healthy = "stageNeverHealthy", 1_800;
    /// How long the health of a Stage may be unknown after a Promotion that succeeded.
    stage_health_unknown = "stageHealthUnknown", 600;
    /// How long new Freight may lie before a Stage that takes it by itself and does not.
    auto_promotion_blocked = "autoPromotionBlocked", 3_600;
    /// How old a hold may get while newer Freight waits behind it.
    hold_age = "holdAge", 14 * 86_400;
    /// How long a failure may wait until Kargo has recorded it before people are told that Kargo hangs.
    settling = "settling", 600;
    /// How long an incident may wait for Kargo at all; then it is handed to people.
    give_up = "giveUp", 86_400;
}

impl Deadlines {
    /// No deadline is shorter, in seconds: Kargo's own writes lag by less, and its requeues do not.
    pub const MIN_SECONDS: u32 = 10;
    /// No deadline is longer: 90 days.
    pub const MAX_SECONDS: u32 = 90 * 86_400;

    /// Whether all of them are the usual ones.
    pub fn are_usual(&self) -> bool {
        *self == Self::default()
    }
}
