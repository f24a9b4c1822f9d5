//! G7: no delivery while another Promotion of the Stage has not ended, or a verification runs.
//!
//! Why: Kargo runs one Promotion at a time in the order of their names, so a delivery made now would land behind
//! something that nobody has judged yet. A queued Promotion refuses: whoever made it moved the Stage on, and the
//! facts must be read again. A running verification only postpones: it ends by itself (it blocks Kargo's queue,
//! `pkg/controller/stages`, v1.11.2). Anchors: GitLab skips a rollback while a deployment runs, so does Cloud Deploy.

use super::{Input, unsupported};
use crate::decision::Action;
use crate::write::Verdict;

/// How long to wait for a running verification before looking again, in seconds.
pub const LOOK_AGAIN_SECONDS: u32 = 30;

/// Refuses or postpones a delivery to a Stage that is not settled.
pub fn check(action: &Action, input: &Input<'_>) -> Verdict {
    if !action.operation.kind().is_delivery() {
        return Verdict::Allow;
    }
    // The one in question is for `unsupported-here`: the facts have not moved, it just has not ended.
    let own = unsupported::unended(input).map(|promotion| &promotion.name);
    let mut others = input.promotions_of_stage().filter(|promotion| Some(&promotion.name) != own);
    let queued = others.find(|promotion| !promotion.is_terminal());
    if let Some(promotion) = queued {
        return Verdict::Refuse {
            because: format!("the Stage is not settled: Promotion `{}` has not ended", promotion.name),
        };
    }
    let verification = input.stage.history.first().and_then(|collection| collection.verifications.first());
    match verification {
        Some(running) if !running.phase.is_some_and(|phase| phase.is_terminal()) => Verdict::Postpone {
            until: input.now.plus(LOOK_AGAIN_SECONDS),
            because: format!("the Stage is not settled: verification `{}` has not ended", running.id),
        },
        Some(_) | None => Verdict::Allow,
    }
}
