//! G9: one delivery at a time: an attempt without an outcome blocks the next one.
//!
//! Why: a Promotion's name is chosen by Kargo, so nothing but our own claim says that one was asked for, and a create
//! whose answer was lost may persist later. A claim without a Promotion postpones until its successor could have
//! seen what came of it (20 s, the claim protocol); an attempt whose Promotion is known and not over refuses.

use super::Input;
use crate::context::Outcome;
use crate::decision::Action;
use crate::write::Verdict;

/// How long a claim without outcome blocks, in seconds.
pub const CLAIM_SECONDS: u32 = 20;

/// Refuses or postpones a delivery while another attempt has no outcome.
pub fn check(action: &Action, input: &Input<'_>) -> Verdict {
    if !action.operation.kind().is_delivery() {
        return Verdict::Allow;
    }
    let open = input.incident.attempts.iter().find(|attempt| attempt.outcome == Outcome::Pending);
    match open {
        None => Verdict::Allow,
        Some(attempt) => match &attempt.promotion {
            Some(promotion) => Verdict::Refuse {
                because: format!("attempt {}, Promotion `{promotion}`, is not over", attempt.number),
            },
            None => Verdict::Postpone {
                until: attempt.claimed.plus(CLAIM_SECONDS).max(input.now.plus(CLAIM_SECONDS)),
                because: format!("attempt {} was claimed and has no outcome yet", attempt.number),
            },
        },
    }
}
