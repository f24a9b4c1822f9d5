//! What Kargo did and will never write down: a deployment that the Stage did not record, Freight that is never verified.
//!
//! In: one look. Out: at most one condition each. Both come of an abort out of order: a Stage records its Promotions by
//! name, and an aborted one with a higher name overtakes those that still run (kargo-live.md 0.2; captures
//! `a/queued-abort-higher-name`, `a/abort-queued`). Promoting once more what is really deployed repairs both.

use super::sight::{About, Condition, Sight};
use crate::failure::Trigger;
use crate::snapshot::{LastPromotion, PromotionPhase, PromotionSnapshot};

/// How long a Stage may lag behind its Promotions, in seconds: 213 ms were measured (kargo-live.md 1), the rest is room
/// for a busy cluster and for clocks that differ.
const LAG_SECONDS: u32 = 30;

/// A Promotion that succeeded, and that its Stage has passed over or does not come to.
pub(super) fn not_recorded(sight: &Sight<'_>) -> Option<Condition> {
    let stage = sight.stage;
    // A Promotion that runs repairs the record by its end.
    let queue = sight.queue();
    if queue.iter().any(|promotion| promotion.phase == Some(PromotionPhase::Running)) {
        return None;
    }
    let deployed = sight.deployed()?;
    let finished = deployed.finished?;
    let condition = |at, because: &str| {
        let summary = format!(
            "Freight `{}` is deployed, and the Stage does not know it: {because}",
            deployed.freight.as_str()
        );
        let parts = [deployed.uid.as_str()];
        sight.condition(Trigger::PromotionNotRecorded, &parts, at, About::promotion(&deployed.name), &summary)
    };
    match &stage.last_promotion {
        Some(last) if last.name == deployed.name => None,
        Some(last) if last.name > deployed.name => {
            let because = format!("it has recorded Promotion `{}` of a later name already", last.name);
            // One that waits repairs it, too, as soon as its turn comes.
            let is_lost = queue.is_empty() && passed_over(sight, deployed, last);
            is_lost.then(|| condition(finished.plus(LAG_SECONDS), &because))
        }
        last if last.is_some() || stage.current_promotion.as_ref() == Some(&deployed.name) => {
            let because = "Kargo's controller for this Stage does not go on";
            let at = finished.plus(sight.deadlines.promotion_not_recorded);
            Some(Condition { heals_by_refresh: true, ..condition(at, because) })
        }
        // A Stage that was made anew under the name of an old one never ran it.
        Some(_) | None => None,
    }
}

/// Whether a Stage whose newest record has a later name holds something else than what was deployed. Only a Promotion
/// that succeeds changes what a Stage holds, so a record that did not succeed leaves what was there before.
fn passed_over(sight: &Sight<'_>, deployed: &PromotionSnapshot, last: &LastPromotion) -> bool {
    let held = sight.stage.history.first();
    let holds_it = held.is_some_and(|held| held.items == deployed.collection);
    let ended_before = last.phase != Some(PromotionPhase::Succeeded) || last.finished < deployed.finished;
    !deployed.collection.is_empty() && !holds_it && ended_before
}

/// Freight that the Stage holds and never verified, because a Promotion that was aborted behind it is the last one: the
/// Stage's health counts as unknown then, and without health no verification starts. A refresh does not help.
pub(super) fn verification_missing(sight: &Sight<'_>) -> Option<Condition> {
    let stage = sight.stage;
    let (held, last) = (stage.history.first()?, stage.last_promotion.as_ref()?);
    let is_over = sight.queue().is_empty() && stage.current_promotion.is_none();
    let is_passed_by = last.phase == Some(PromotionPhase::Aborted) && held.verifications.is_empty();
    if !is_over || !is_passed_by {
        return None;
    }
    let delivered = sight.deployed().filter(|deployed| deployed.name < last.name);
    // What is deployed is something else: that is the failure.
    if delivered.is_some_and(|delivered| delivered.collection != held.items) {
        return None;
    }
    let since = delivered.and_then(|delivered| delivered.finished).max(last.finished)?;
    let names: Vec<String> = held.items.values().map(|freight| format!("`{freight}`")).collect();
    let summary = format!(
        "Freight {} is held and will never be verified: Promotion `{}` was aborted behind it",
        names.join(", "),
        last.name
    );
    let about = About { promotion: delivered.map(|delivered| &delivered.name), verification: None };
    Some(sight.condition(
        Trigger::VerificationMissing,
        &[stage.uid.as_str(), last.name.as_str(), &held.id],
        since.plus(sight.deadlines.verification_missing),
        about,
        &summary,
    ))
}
