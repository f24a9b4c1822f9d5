//! G6: a failure that was older than 20 minutes when its Incident opened gets no delivery.
//!
//! Why: after an outage of our own, people have long acted on old failures, and answering them late undoes that.
//! Anchor: Kargo Enterprise ignores failures older than 20 minutes. Age is checked once, against the time when the
//! Incident opened: a retry that waits for an hour on purpose is not too old, and timers have their own clock.

use super::Input;
use crate::decision::Action;
use crate::time::format_duration;
use crate::write::Verdict;

/// Refuses a delivery for a failure that was old when its Incident opened.
pub fn check(action: &Action, input: &Input<'_>) -> Verdict {
    if !action.operation.kind().is_delivery() {
        return Verdict::Allow;
    }
    let age = input.incident.opened.since(input.incident.root.at);
    if age <= input.rules.max_age_seconds {
        return Verdict::Allow;
    }
    Verdict::Refuse {
        because: format!(
            "the failure was {} old when it was first seen, more than {}",
            format_duration(age),
            format_duration(input.rules.max_age_seconds)
        ),
    }
}
