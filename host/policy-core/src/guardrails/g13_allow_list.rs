//! G13: only actions that the FailurePolicy and the platform allow, only channels that the FailurePolicy declares.
//!
//! Why: least privilege. Deliveries other than a retry are opt-in, and a policy cannot address people that nobody
//! told it about. A manifest is no permission: it only says what the policy may ever ask for.

use super::Input;
use crate::decision::{Action, Operation};
use crate::write::Verdict;

/// Refuses an action, or a channel, that the rules do not name.
pub fn check(action: &Action, input: &Input<'_>) -> Verdict {
    let kind = action.operation.kind();
    if !input.rules.actions.contains(&kind) {
        return Verdict::Refuse { because: format!("`{}` is not among the allowed actions", kind.text()) };
    }
    if let Operation::Notify(message) = &action.operation
        && let Some(channel) = &message.channel
        && !input.rules.channels.contains(channel)
    {
        return Verdict::Refuse { because: format!("channel `{channel}` is not declared") };
    }
    Verdict::Allow
}
