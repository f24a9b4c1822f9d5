//! G12: what a person aborted, or what we aborted ourselves, never leads to a delivery.
//!
//! Why: Kargo records a user's abort of a verification as `Failed` (`pkg/controller/stages`, v1.11.2; kargo-live.md
//! section 5), so that a naive reading rolls back because somebody pressed stop. Our own aborts look the same.
//! Anchor: Tekton does not retry what was cancelled.

use super::Input;
use crate::context::Outcome;
use crate::decision::Action;
use crate::failure::{Class, Failure, Trigger};
use crate::incident::IncidentState;
use crate::write::Verdict;

/// Refuses a delivery that answers an abort.
pub fn check(action: &Action, input: &Input<'_>) -> Verdict {
    if !action.operation.kind().is_delivery() {
        return Verdict::Allow;
    }
    if was_aborted_by_us(input.incident) {
        return Verdict::Refuse { because: "it was aborted by this host itself".to_owned() };
    }
    let aborted =
        [&input.incident.current, &input.incident.root].into_iter().find(|failure| is_abort(failure));
    match aborted {
        Some(failure) => {
            let actor = failure.user_abort.as_ref().and_then(|abort| abort.actor.as_deref());
            Verdict::Refuse { because: format!("`{}` aborted it on purpose", actor.unwrap_or("somebody")) }
        }
        None if input.context.classification.class == Class::UserAbort => {
            Verdict::Refuse { because: "it was aborted on purpose".to_owned() }
        }
        None => Verdict::Allow,
    }
}

fn is_abort(failure: &Failure) -> bool {
    failure.user_abort.is_some()
        || matches!(failure.trigger, Trigger::PromotionAborted | Trigger::VerificationAborted)
}

fn was_aborted_by_us(incident: &IncidentState) -> bool {
    let current = incident.current.promotion.as_ref();
    incident.attempts.iter().any(|attempt| {
        attempt.outcome == Outcome::Aborted
            && attempt.promotion.is_some()
            && attempt.promotion.as_ref() == current
    })
}
