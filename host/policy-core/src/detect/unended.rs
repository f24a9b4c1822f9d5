//! Promotions that do not end: one that runs and makes no progress, one that waits and does not start.
//!
//! In: one look. Out: one condition per Promotion that runs, and one for the next in the queue. Kargo ends neither by
//! itself: steps have no timeout unless somebody sets one, and an `http` step that gets no 2xx and has no expressions
//! fails without an error, is repeated every five minutes, and never ends (kargo-live.md 2; capture `b/http-stall`).

use super::sight::{About, Condition, Sight};
use crate::context::Health;
use crate::failure::Trigger;
use crate::snapshot::{PromotionPhase, PromotionSnapshot, StepSnapshot, VerificationPhase};
use crate::time::{Timestamp, format_duration};

/// The step that waits for a person (Kargo's only one, v1.11).
const WAITS_FOR_A_PERSON: &str = "git-wait-for-pr";

/// Promotions that run and do not get on.
pub(super) fn stalled(sight: &Sight<'_>) -> Vec<Condition> {
    let running = sight.of_stage().filter(|one| one.phase == Some(PromotionPhase::Running));
    running.filter_map(|promotion| of_running(sight, promotion)).collect()
}

fn of_running(sight: &Sight<'_>, promotion: &PromotionSnapshot) -> Option<Condition> {
    let step = promotion.steps.iter().rev().find(|step| step.status.is_some());
    let since = last_progress(promotion)?;
    let deadlines = sight.deadlines;
    let (limit, what) = match step {
        Some(step) if is_silent(step) => {
            let limit = deadlines.promotion_silent;
            (limit, format!("step `{}` failed without an error, and Kargo repeats it for ever", step.alias))
        }
        Some(step) if step.kind == WAITS_FOR_A_PERSON => {
            let limit = deadlines.pull_request_open;
            let open = format_duration(limit);
            (limit, format!("step `{}` has waited for a pull request for more than {open}", step.alias))
        }
        Some(step) => {
            let limit = deadlines.promotion_stalled;
            (limit, format!("step `{}` has run for more than {}", step.alias, format_duration(limit)))
        }
        None => {
            let limit = deadlines.promotion_stalled;
            (limit, format!("no step of it began within {}", format_duration(limit)))
        }
    };
    let alias = step.map(|step| step.alias.as_str()).unwrap_or_default();
    let about = About::promotion(&promotion.name);
    let parts = [promotion.uid.as_str(), alias];
    Some(sight.condition(Trigger::PromotionStalled, &parts, since.plus(limit), about, &what))
}

/// The signature of the silent stall: Failed in a Promotion that runs, no counted error, no end.
pub fn is_silent(step: &StepSnapshot) -> bool {
    step.has_failed() && step.error_count == 0 && step.finished.is_none() && step.message.is_empty()
}

/// When something last happened in it that Kargo wrote down.
fn last_progress(promotion: &PromotionSnapshot) -> Option<Timestamp> {
    let of_steps = promotion.steps.iter().flat_map(|step| [step.started, step.finished]);
    of_steps.chain([promotion.started]).flatten().max()
}

/// The next Promotion in the queue, when it waits too long; those behind it wait for it.
pub(super) fn pending(sight: &Sight<'_>) -> Option<Condition> {
    let queue = sight.queue();
    let next = queue.iter().find(|promotion| promotion.phase != Some(PromotionPhase::Running))?;
    // Its turn came with the end of the one before it.
    let before = sight.of_stage().filter(|one| one.finished > next.created);
    let before = before.max_by(|one, two| (one.finished, &one.name).cmp(&(two.finished, &two.name)));
    let since = next.created.max(before.and_then(|before| before.finished))?;
    let at = since.plus(sight.deadlines.promotion_pending);
    let summary = format!("it waits: {}", cause(sight, next, &queue));
    let about = About::promotion(&next.name);
    let parts: Vec<&str> =
        std::iter::once(next.uid.as_str()).chain(before.map(|before| before.uid.as_str())).collect();
    Some(sight.condition(Trigger::PromotionPendingStuck, &parts, at, about, &summary))
}

/// Why it waits, as far as objects show it (`regular_stages.go:834-858`, `promotions.go:369-377`).
fn cause(sight: &Sight<'_>, next: &PromotionSnapshot, queue: &[&PromotionSnapshot]) -> String {
    let stage = sight.stage;
    if let Some(running) = queue.iter().find(|other| other.phase == Some(PromotionPhase::Running)) {
        return format!("Promotion `{}` is running", running.name);
    }
    let current = stage.history.first();
    let mut attempts = current.into_iter().flat_map(|current| &current.verifications);
    if let Some(open) = attempts.find(|attempt| !attempt.phase.is_some_and(VerificationPhase::is_terminal)) {
        return format!("verification `{}` has not ended", open.id);
    }
    if let Some(window) = stage.window.as_ref().filter(|window| window.closed) {
        let opens = window.next_open.map(|opens| format_duration(opens.since(sight.now)));
        let for_long = opens.map(|left| format!(" for another {left}")).unwrap_or_default();
        return format!("a promotion window of Kargo Enterprise is closed{for_long}");
    }
    let is_unverified = current.is_some_and(|current| current.verifications.is_empty());
    if is_unverified && matches!(stage.health, None | Some(Health::Healthy)) {
        return "what the Stage holds was not verified yet".to_owned();
    }
    let shard = match &stage.shard {
        Some(shard) => format!("of shard `{shard}`"),
        None => "without a shard".to_owned(),
    };
    match next.phase {
        None => format!("no controller has seen it; Kargo's controller {shard} may be down"),
        Some(_) => format!("nothing is before it; Kargo's controller {shard} may be down"),
    }
}
