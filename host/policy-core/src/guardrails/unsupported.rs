//! `unsupported-here`: what the contract knows and this host cannot do yet.
//!
//! Why: an action that is silently dropped looks like one that was done. Rollback targets newer than this host count
//! as well. So does every delivery while the Promotion in question has not ended: it would have to be aborted first, or
//! Kargo would run both.

use super::Input;
use crate::decision::{Action, Operation, RollbackSelector};
use crate::snapshot::PromotionSnapshot;
use crate::write::Verdict;

/// Refuses what this host cannot carry out.
pub fn check(action: &Action, input: &Input<'_>) -> Verdict {
    let kind = action.operation.kind();
    if !kind.is_supported() {
        return Verdict::Refuse { because: format!("this host cannot do `{}` yet", kind.text()) };
    }
    if let Operation::Rollback { target: RollbackSelector::Other(name), .. } = &action.operation {
        return Verdict::Refuse { because: format!("this host knows no rollback target `{name}`") };
    }
    match unended(input).filter(|_| kind.is_delivery()) {
        Some(promotion) => Verdict::Refuse {
            because: format!(
                "Promotion `{}` has not ended, so it has to be aborted first, and this host cannot do \
                 `abort-promotion` yet",
                promotion.name
            ),
        },
        None => Verdict::Allow,
    }
}

/// The Promotion that is in question, while it has not ended.
pub(super) fn unended<'a>(input: &Input<'a>) -> Option<&'a PromotionSnapshot> {
    let name = input.incident.current.promotion.as_ref()?;
    input.promotions_of_stage().find(|promotion| promotion.name == *name && !promotion.is_terminal())
}
