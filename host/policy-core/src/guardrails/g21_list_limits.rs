//! G21: at most 16 actions, one delivery and 4 messages in a decision.
//!
//! Why: a list beyond that is a policy out of control, and which of two deliveries it meant nobody can say. Then
//! nothing of it is carried out but messages, of which the first four are sent, and records among the first sixteen.

use super::Input;
use crate::decision::{Action, ActionKind, Decision};
use crate::write::Verdict;

/// Most actions in a decision.
pub const MAX_ACTIONS: usize = 16;
/// Most delivery actions in a decision.
pub const MAX_DELIVERIES: usize = 1;
/// Most messages in a decision: `notify` and `escalate`.
pub const MAX_MESSAGES: usize = 4;

/// Refuses what goes beyond the limits of a list. `position` counts from 0.
pub fn check(position: usize, action: &Action, decision: &Decision, _input: &Input<'_>) -> Verdict {
    let kind = action.operation.kind();
    let deliveries = count(&decision.actions, |kind| kind.is_delivery());
    let messages = count(&decision.actions, is_message);
    let n_actions = decision.actions.len();
    if kind.is_communication() {
        let before = count(decision.actions.get(..position).unwrap_or_default(), is_message);
        return if is_message(&kind) && before >= MAX_MESSAGES {
            refuse(&format!("too-many-messages: {messages}, at most {MAX_MESSAGES}"))
        } else if !is_message(&kind) && position >= MAX_ACTIONS {
            refuse(&format!("too-many-actions: {n_actions}, at most {MAX_ACTIONS}"))
        } else {
            Verdict::Allow
        };
    }
    if deliveries > MAX_DELIVERIES {
        refuse(&format!("too-many-deliveries: {deliveries} in one decision, at most {MAX_DELIVERIES}"))
    } else if n_actions > MAX_ACTIONS {
        refuse(&format!("too-many-actions: {n_actions}, at most {MAX_ACTIONS}"))
    } else if messages > MAX_MESSAGES {
        refuse(&format!("too-many-messages: {messages}, at most {MAX_MESSAGES}"))
    } else {
        Verdict::Allow
    }
}

fn is_message(kind: &ActionKind) -> bool {
    matches!(kind, ActionKind::Notify | ActionKind::Escalate)
}

fn count(actions: &[Action], is: impl Fn(&ActionKind) -> bool) -> usize {
    actions.iter().filter(|action| is(&action.operation.kind())).count()
}

fn refuse(because: &str) -> Verdict {
    Verdict::Refuse { because: because.to_owned() }
}
