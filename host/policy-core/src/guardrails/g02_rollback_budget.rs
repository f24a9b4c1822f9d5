//! G2: an incident gets one rollback, and nothing automatic ever follows a rollback that failed.
//!
//! Why: a rollback that did not help says that the Freight was not the cause, or that the way back is broken. Going
//! further back, or pushing the same way again, hides that from people. Anchors: Kargo Enterprise and CodePipeline,
//! both of which never roll back a rollback. A retry of a failed rollback is refused too: it would be another
//! automatic rollback under a different name.

use super::{Input, budget};
use crate::decision::{Action, ActionKind};
use crate::write::Verdict;

/// Refuses a second rollback, and any delivery after a failed one.
pub fn check(action: &Action, input: &Input<'_>) -> Verdict {
    let kind = action.operation.kind();
    if !kind.is_delivery() {
        return Verdict::Allow;
    }
    if budget::is_of_rollback(input.context, input.incident) {
        return Verdict::Refuse {
            because: "what failed was a rollback, and nothing automatic follows a failed rollback".to_owned(),
        };
    }
    if kind != ActionKind::Rollback {
        return Verdict::Allow;
    }
    let spent = budget::spent(&ActionKind::Rollback, input.incident, input.deliveries);
    let limit = budget::rollback_limit(input.rules);
    if spent < limit {
        return Verdict::Allow;
    }
    Verdict::Refuse { because: format!("{spent} of {limit} rollbacks of this incident are spent") }
}
