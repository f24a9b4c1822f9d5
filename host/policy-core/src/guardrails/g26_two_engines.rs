//! G26: where Kargo Enterprise's `autoRollback` is configured for the Stage, this host delivers nothing.
//!
//! Why: two engines that answer the same failure undo each other's work. Open-source Kargo accepts the field and
//! ignores it (kargo-live.md section 4); who runs it there and wants Refloat to act removes the field. The first
//! matching policy decides, as in Kargo (`pkg/api/auto_promotion.go`, v1.11.2).

use super::Input;
use crate::decision::Action;
use crate::snapshot::{ProjectSnapshot, StageSnapshot};
use crate::target;
use crate::write::Verdict;

/// Whether Kargo Enterprise rolls this Stage back by itself.
pub fn rolls_back_by_itself(project: &ProjectSnapshot, stage: &StageSnapshot) -> bool {
    project
        .promotion_policies
        .iter()
        .flatten()
        .find(|policy| target::matches(&policy.stages, &stage.name, &stage.labels))
        .is_some_and(|policy| policy.auto_rollback)
}

/// Refuses deliveries when another engine answers.
pub fn check(action: &Action, input: &Input<'_>) -> Verdict {
    if !action.operation.kind().is_delivery() || !input.enterprise_rollback {
        return Verdict::Allow;
    }
    Verdict::Refuse { because: "Kargo Enterprise `autoRollback` is configured for this Stage".to_owned() }
}
