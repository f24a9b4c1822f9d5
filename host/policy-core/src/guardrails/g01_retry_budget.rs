//! G1: an incident gets a limited number of retries, 3 unless the rules say otherwise and never more than 10.
//!
//! Why: a failure that three fresh runs did not cure is not cured by a fourth, and each run opens another pull
//! request. Anchors: CodePipeline 1, GitLab 2, Kubernetes Jobs 6, Cloud Deploy 10.
//! A step hint may lower the budget (`max-attempts`) or forbid retries (`retry=never`); it never raises it.

use super::{Input, budget};
use crate::decision::{Action, ActionKind};
use crate::write::Verdict;

/// Refuses a retry when the budget is spent.
pub fn check(action: &Action, input: &Input<'_>) -> Verdict {
    if action.operation.kind() != ActionKind::Retry {
        return Verdict::Allow;
    }
    if let Some(hint) = budget::forbidding_hint(&input.context.hints) {
        return Verdict::Refuse { because: format!("step `{}` says that it must not be retried", hint.step) };
    }
    let spent = budget::spent(&ActionKind::Retry, input.incident, input.deliveries);
    let limit = budget::retry_limit(input.rules, &input.context.hints);
    if spent < limit {
        return Verdict::Allow;
    }
    Verdict::Refuse { because: format!("{spent} of {limit} retries of this incident are spent") }
}
