//! G24: Observe and Suggest write nothing to Kargo; Observe does not bother people either.
//!
//! Why: trust in a policy comes from watching it first. The record keeps every verdict, so that "would have" is
//! exact. Anchor: Argo Rollouts' dry-run metrics. In Suggest messages are sent, and the plan adds one that says what
//! would have been done.

use super::Input;
use crate::context::Mode;
use crate::decision::{Action, ActionKind};
use crate::write::Verdict;

/// Refuses what the mode does not do.
pub fn check(action: &Action, input: &Input<'_>) -> Verdict {
    let kind = action.operation.kind();
    let is_message = matches!(kind, ActionKind::Notify | ActionKind::Escalate);
    match input.rules.mode {
        Mode::Enforce => Verdict::Allow,
        Mode::Suggest | Mode::Observe if kind.writes_to_kargo() => Verdict::Refuse {
            because: match &input.rules.held_back {
                Some(why) => format!("only observed, because {why}"),
                None => format!("mode {} writes nothing to Kargo", mode_text(input.rules.mode)),
            },
        },
        Mode::Observe if is_message => {
            Verdict::Refuse { because: "mode Observe sends no messages".to_owned() }
        }
        Mode::Suggest | Mode::Observe => Verdict::Allow,
    }
}

/// The mode as it stands in a FailurePolicy.
pub fn mode_text(mode: Mode) -> &'static str {
    match mode {
        Mode::Observe => "Observe",
        Mode::Suggest => "Suggest",
        Mode::Enforce => "Enforce",
    }
}
