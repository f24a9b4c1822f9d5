//! `unsupported-here`: what the contract knows and this host cannot do yet.
//!
//! Why: an action that is silently dropped looks like one that was done. Rollback targets newer than this host count
//! as well.

use super::Input;
use crate::decision::{Action, Operation, RollbackSelector};
use crate::write::Verdict;

/// Refuses what this host cannot carry out.
pub fn check(action: &Action, _input: &Input<'_>) -> Verdict {
    let kind = action.operation.kind();
    if !kind.is_supported() {
        return Verdict::Refuse { because: format!("this host cannot do `{}` yet", kind.text()) };
    }
    if let Operation::Rollback { target: RollbackSelector::Other(name), .. } = &action.operation {
        return Verdict::Refuse { because: format!("this host knows no rollback target `{name}`") };
    }
    Verdict::Allow
}
