//! G5: after an automatic rollback a Stage rests for 10 minutes before the next automatic delivery, at least 3.
//!
//! Why: what a rollback did is only seen after a while, and two deliveries in a row leave nobody time to look.
//! Anchor: GitLab's automatic rollback runs at most once in 3 minutes. Retries need no more than their backoff (G4).

use super::{Input, budget};
use crate::decision::Action;
use crate::write::Verdict;

/// No setting makes the cooldown shorter, in seconds.
pub const FLOOR_SECONDS: u32 = 180;

/// Postpones a delivery until the Stage has rested.
pub fn check(action: &Action, input: &Input<'_>) -> Verdict {
    if !action.operation.kind().is_delivery() {
        return Verdict::Allow;
    }
    match budget::cooldown_end(input.rules, input.incident, input.deliveries) {
        Some(until) if until > input.now => Verdict::Postpone {
            until,
            because: format!(
                "the Stage was rolled back automatically and rests {} more",
                crate::time::format_duration(until.since(input.now))
            ),
        },
        Some(_) | None => Verdict::Allow,
    }
}
