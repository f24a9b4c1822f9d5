//! G6: a failure that was older than 20 minutes when its Incident opened gets no delivery, and neither does one that lay
//! in the future then.
//!
//! Why: after an outage of our own, people have long acted on old failures, and answering them late undoes that.
//! Anchor: Kargo Enterprise ignores failures older than 20 minutes. Age is checked once, against the time when the
//! Incident opened: a retry that waits for an hour on purpose is not too old, and timers have their own clock. The age of
//! what is said to happen years ahead is not known, so it counts as too old; clocks of a cluster that differ by more than
//! [`MAX_SKEW_SECONDS`] break its certificates first.

use super::Input;
use crate::decision::Action;
use crate::time::format_duration;
use crate::write::Verdict;

/// How far ahead of ours the clock may be that dated a failure.
const MAX_SKEW_SECONDS: u32 = 300;

/// Refuses a delivery for a failure that was old when its Incident opened, or that had not happened yet.
pub fn check(action: &Action, input: &Input<'_>) -> Verdict {
    if !action.operation.kind().is_delivery() {
        return Verdict::Allow;
    }
    let ahead = input.incident.root.at.since(input.incident.opened);
    if ahead > MAX_SKEW_SECONDS {
        return Verdict::Refuse {
            because: format!(
                "the failure is dated {} after it was first seen: a clock is wrong, and its age is not known",
                format_duration(ahead)
            ),
        };
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
