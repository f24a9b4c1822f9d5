//! G36: an aborted Promotion must never have a higher name than one that will still run.
//!
//! Why: a Stage records its Promotions by name. When a later one is already aborted, Kargo takes the earlier one for
//! recorded when it ends: it is deployed and never appears in the Stage's history (kargo-live.md 0.2, executed).
//! A delivery is safe: its name is always the highest, and it is not made while anything is queued (G7).

use super::Input;
use crate::decision::{Action, Operation};
use crate::write::Verdict;

/// Refuses an abort while a Promotion with a lower name has not ended.
pub fn check(action: &Action, input: &Input<'_>) -> Verdict {
    let Operation::AbortPromotion { name } = &action.operation else {
        return Verdict::Allow;
    };
    let failed = input.incident.current.promotion.as_ref().map(|name| name.as_str());
    let Some(name) = name.as_deref().or(failed) else {
        return Verdict::Refuse { because: "there is no Promotion to abort".to_owned() };
    };
    let earlier =
        input.promotions_of_stage().find(|other| !other.is_terminal() && other.name.as_str() < name);
    match earlier {
        Some(other) => Verdict::Refuse {
            because: format!("Promotion `{}` would still run and Kargo would lose its record", other.name),
        },
        None => Verdict::Allow,
    }
}
