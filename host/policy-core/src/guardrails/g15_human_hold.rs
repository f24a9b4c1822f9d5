//! G15: a person's hold wins. No delivery lifts it or puts ours in its place.
//!
//! Why: a hold is how a person tells Kargo to leave a Stage alone, and a Promotion of the candidate lifts it without
//! asking, even when that Promotion fails (kargo-live.md section 4). What is left is a retry of the very Freight that
//! is held, as long as it is not the candidate: the hold stays where it is. A hold whose maker is not known counts
//! as a person's, and one that was made after the decision counts as well. The dry run before the create checks the same on Kargo's own word.

use super::{Input, target};
use crate::context::{ActorKind, HoldFacts};
use crate::decision::{Action, ActionKind, Operation};
use crate::incident::{Delivery, IncidentState};
use crate::snapshot::{HoldSnapshot, PromotionSnapshot};
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
    let holds = in_force(input);
    let held =
        holds.iter().find(|hold| !hold.ours && origin.as_ref().is_none_or(|origin| *origin == hold.origin));
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

/// Holds that the decision saw, and those in force now: a person may have made one while a retry waited.
pub fn in_force(input: &Input<'_>) -> Vec<HoldFacts> {
    let mut holds = input.context.stage.holds.clone();
    for hold in crate::target::effective_holds(input.stage, input.promotions) {
        let now = HoldFacts {
            origin: hold.origin.to_string(),
            freight: hold.freight.to_string(),
            actor: hold.actor.clone(),
            ours: is_ours(&hold, input.promotions, input.deliveries, input.incident),
        };
        let is_known = |seen: &HoldFacts| {
            seen.origin == now.origin && seen.freight == now.freight && seen.actor == now.actor
        };
        if !holds.iter().any(is_known) {
            holds.push(now);
        }
    }
    holds
}

/// Whether this host made the hold: its Promotion is ours, or its actor made a Promotion of ours. Promotions are
/// collected as garbage, so an actor's name may be all that is left.
pub fn is_ours(
    hold: &HoldSnapshot,
    promotions: &[PromotionSnapshot],
    deliveries: &[Delivery],
    incident: &IncidentState,
) -> bool {
    let mut by_us = promotions.iter().filter(|promotion| promotion.actor_kind == ActorKind::Refloat);
    let attempts = incident.attempts.iter().map(|attempt| &attempt.promotion);
    let mut delivered = deliveries.iter().map(|delivery| &delivery.promotion).chain(attempts);
    by_us.any(|promotion| {
        hold.promotion.as_ref() == Some(&promotion.name)
            || (hold.actor.is_some() && hold.actor == promotion.actor)
    }) || delivered.any(|promotion| promotion.is_some() && *promotion == hold.promotion)
}
