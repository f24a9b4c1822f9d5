//! A Stage that takes new Freight by itself, and does not any more.
//!
//! In: one look. Out: one condition per origin. Kargo never promotes a candidate again whose newest Promotion did not
//! succeed (`regular_stages.go:2010-2020`), and a hold keeps every newer Freight out until somebody lifts it: in both
//! cases the pipeline is silently dead. What a person holds is left alone until the hold is old.

use super::sight::{About, Condition, Sight};
use crate::failure::Trigger;
use crate::name::{FreightName, Origin};
use crate::snapshot::{FreightRequest, HoldSnapshot, PromotionPhase, PromotionSnapshot};
use crate::target;
use crate::time::format_duration;

/// Origins whose newest Freight does not come.
pub(super) fn blocked(sight: &Sight<'_>) -> Vec<Condition> {
    // What is under way decides first.
    if target::auto_promotion(sight.project, sight.stage) != Some(true) || !sight.queue().is_empty() {
        return Vec::new();
    }
    let holds = target::effective_holds(sight.stage, sight.promotions);
    let candidates = target::candidates(sight.stage, sight.freight, sight.now);
    let waiting = candidates
        .iter()
        .filter(|(origin, freight)| is_newest(sight, origin) && !is_held(sight, origin, freight));
    waiting
        .filter_map(|(origin, freight)| match holds.iter().find(|hold| hold.origin == *origin) {
            Some(hold) => old_hold(sight, hold, freight),
            None => untried(sight, origin, freight),
        })
        .collect()
}

/// Whether the Stage takes the newest Freight of that origin, which is what candidates are. One that follows another
/// Stage takes what that one holds.
fn is_newest(sight: &Sight<'_>, origin: &Origin) -> bool {
    sight.stage.requests.iter().all(|request| request.origin != *origin || !request.follows_upstream)
}

fn is_held(sight: &Sight<'_>, origin: &Origin, freight: &FreightName) -> bool {
    sight.stage.history.first().is_some_and(|held| held.items.get(origin) == Some(freight))
}

fn old_hold(sight: &Sight<'_>, hold: &HoldSnapshot, freight: &FreightName) -> Option<Condition> {
    let created = hold.created?;
    let who = hold.actor.as_deref().unwrap_or("somebody");
    let summary = format!(
        "`{who}` has held Freight `{}` of {} for more than {}, and `{freight}` waits behind it",
        hold.freight,
        hold.origin,
        format_duration(sight.deadlines.hold_age)
    );
    let begun = created.0.to_string();
    let parts = [sight.stage.uid.as_str(), hold.origin.as_str(), "hold", begun.as_str()];
    let at = created.plus(sight.deadlines.hold_age);
    let about = About { promotion: hold.promotion.as_ref(), verification: None };
    Some(sight.condition(Trigger::AutoPromotionBlocked, &parts, at, about, &summary))
}

/// Nothing holds the candidate, and Kargo does not promote it.
fn untried(sight: &Sight<'_>, origin: &Origin, freight: &FreightName) -> Option<Condition> {
    let tried = sight.of_stage().filter(|one| one.freight == *freight).max_by(|a, b| a.name.cmp(&b.name));
    let (since, because) = match tried {
        Some(failed) if has_ended_badly(failed) => {
            let phase = failed.phase.map(PromotionPhase::text).unwrap_or_default();
            (
                failed.finished?,
                format!("Promotion `{}` of it is {phase}, and Kargo tries none twice", failed.name),
            )
        }
        // It succeeded and the Stage holds something else: that is another failure's business.
        Some(_) => return None,
        None => (sight.discovered_directly(origin, freight)?, never_tried(sight)),
    };
    let at = since.plus(sight.deadlines.auto_promotion_blocked);
    let summary = format!("Freight `{freight}` of {origin} is not promoted by itself: {because}");
    let parts = [sight.stage.uid.as_str(), origin.as_str(), freight.as_str()];
    let about = About { promotion: tried.map(|tried| &tried.name), verification: None };
    let mut condition = sight.condition(Trigger::AutoPromotionBlocked, &parts, at, about, &summary);
    // What a person stopped stays stopped, whatever it is called an hour later.
    condition.failure.user_abort =
        tried.filter(|tried| tried.phase == Some(PromotionPhase::Aborted)).map(super::abort_of);
    Some(condition)
}

fn has_ended_badly(promotion: &PromotionSnapshot) -> bool {
    match promotion.phase {
        Some(PromotionPhase::Failed | PromotionPhase::Errored | PromotionPhase::Aborted) => true,
        Some(PromotionPhase::Pending | PromotionPhase::Running | PromotionPhase::Succeeded) | None => false,
    }
}

fn never_tried(sight: &Sight<'_>) -> String {
    match &sight.stage.reconcile_error {
        Some(error) => format!("Kargo says: {error}"),
        None => "Kargo has made no Promotion of it".to_owned(),
    }
}

impl Sight<'_> {
    /// Since when Freight lies before a Stage that takes it straight from its Warehouse. When Freight from another Stage
    /// became available is not known.
    fn discovered_directly(&self, origin: &Origin, freight: &FreightName) -> Option<crate::time::Timestamp> {
        let is_direct = |request: &&FreightRequest| request.origin == *origin && request.direct;
        self.stage.requests.iter().find(is_direct)?;
        self.freight.get(freight)?.discovered
    }
}
