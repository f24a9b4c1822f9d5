//! G15: a person's hold wins. No delivery lifts it or puts ours in its place.
//!
//! Why: a hold is how a person tells Kargo to leave a Stage alone, and a Promotion of the candidate lifts it without
//! asking, even when that Promotion fails (kargo-live.md section 4). What is left is a retry of the very Freight that
//! is held, as long as it is not the candidate: the hold stays where it is. A hold whose maker is not known counts
//! as a person's. The dry run before the create checks the same on Kargo's own word.

use super::{Input, target};
use crate::context::HoldFacts;
use crate::decision::{Action, ActionKind, Operation};
use crate::write::Verdict;

/// Refuses a delivery to an origin on which a person holds Freight.
pub fn check(action: &Action, input: &Input<'_>) -> Verdict {
    if !action.operation.kind().is_delivery() {
        return Verdict::Allow;
    }
    let origin = if let Operation::Rollback { origin: Some(origin), .. } = &action.operation {
        Some(origin.clone())
    } else {
        target::failing_origin(input)
    };
    let held = input
        .context
        .stage
        .holds
        .iter()
        .find(|hold| !hold.ours && origin.as_ref().is_none_or(|origin| *origin == hold.origin));
    match held {
        Some(hold) if !stays_in_place(action, hold, input) => Verdict::Refuse {
            because: format!(
                "`{}` holds Freight `{}` of {}",
                hold.actor.as_deref().unwrap_or("somebody"),
                hold.freight,
                hold.origin
            ),
        },
        Some(_) | None => Verdict::Allow,
    }
}

/// Whether the delivery is a retry of the held Freight that Kargo would not take for a resume.
fn stays_in_place(action: &Action, hold: &HoldFacts, input: &Input<'_>) -> bool {
    let is_retry = action.operation.kind() == ActionKind::Retry;
    let same = target::failing(input).is_some_and(|freight| freight.as_str() == hold.freight);
    let candidate = input.context.freight.candidates.iter().any(|piece| piece.name == hold.freight);
    is_retry && same && !candidate
}
