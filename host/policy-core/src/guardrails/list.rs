//! `list`: what becomes of the rest of a list after an action that ends it.
//!
//! Why: the author of a list says what depends on what. A refused action stops the rest unless its `on-error` says
//! `continue`; a delivery, `wait`, `accept` and `hand-off` say how the incident goes on, so only the first of them
//! that is allowed (or put off) counts. Communications are carried out in every case.

use crate::decision::{Action, ActionKind, Decision, OnError};
use crate::write::{ActionVerdict, Verdict};

/// The id.
pub const ID: &str = "list";

/// Refuses what follows the end of the list. `verdicts` has one entry per action, in the same order.
pub fn apply(decision: &Decision, verdicts: &mut [ActionVerdict]) {
    let mut end: Option<String> = None;
    for (action, verdict) in decision.actions.iter().zip(verdicts.iter_mut()) {
        if action.operation.kind().is_communication() {
            continue;
        }
        match &end {
            Some(because) => refuse(verdict, because),
            None => end = ends(action, &verdict.verdict),
        }
    }
}

fn ends(action: &Action, verdict: &Verdict) -> Option<String> {
    match (verdict, action.on_error) {
        (Verdict::Refuse { .. }, OnError::Stop) => {
            Some(format!("action `{}` before it was refused", action.id))
        }
        (Verdict::Refuse { .. }, OnError::Continue) => None,
        (Verdict::Allow | Verdict::Postpone { .. }, OnError::Stop | OnError::Continue) => {
            says_how_it_goes_on(&action.operation.kind())
                .then(|| format!("action `{}` before it ends the list", action.id))
        }
    }
}

/// Whether an action of that kind settles how the incident goes on.
pub fn says_how_it_goes_on(kind: &ActionKind) -> bool {
    kind.is_delivery()
        || matches!(
            kind,
            ActionKind::Wait | ActionKind::Accept | ActionKind::HandOff | ActionKind::RequestApproval
        )
}

fn refuse(verdict: &mut ActionVerdict, because: &str) {
    let refusal = Verdict::Refuse { because: because.to_owned() };
    verdict.by.push((ID.to_owned(), refusal.clone()));
    if !matches!(verdict.verdict, Verdict::Refuse { .. }) {
        verdict.verdict = refusal;
    }
}
