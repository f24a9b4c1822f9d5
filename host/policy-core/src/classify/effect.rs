//! What a failed Promotion had already changed outside.
//!
//! In: its steps, the one that failed and its class. Out: an [`Effect`]. Decided by which kinds of step had
//! succeeded: clones, files and rendering change nothing that anybody else sees.

use crate::failure::{Class, Effect};
use crate::snapshot::{PromotionSnapshot, StepSnapshot};

/// Whether a step of this kind changes something outside when it succeeds. `None` for kinds that may: an `http`
/// request may only read, and other people's steps may do anything.
pub(super) fn mutates(kind: &str) -> Option<bool> {
    match kind {
        "git-push" | "github-push" | "git-open-pr" | "git-merge-pr" | "argocd-update" | "oci-push" => {
            Some(true)
        }
        "http" => None,
        kind if super::unwrap::is_built_in(kind) => Some(false),
        _ => None,
    }
}

/// The effect of a Promotion whose step `failed` with that class; `None` if no step failed.
pub(super) fn of(promotion: &PromotionSnapshot, failed: Option<(&StepSnapshot, Class)>) -> Effect {
    let succeeded = || promotion.steps.iter().filter(|step| step.status.as_deref() == Some("Succeeded"));
    let has_changed = succeeded().any(|step| mutates(&step.kind) == Some(true));
    let may_have_changed = succeeded().any(|step| mutates(&step.kind).is_none());
    let failed_may_have = failed.is_some_and(|(step, class)| {
        mutates(&step.kind) != Some(false) && has_run(step) && may_leave_traces(class)
    });
    if has_changed {
        let is_done = promotion
            .steps
            .iter()
            .all(|step| mutates(&step.kind) == Some(false) || step.status.as_deref() == Some("Succeeded"));
        return if is_done { Effect::Complete } else { Effect::Partial };
    }
    if may_have_changed || failed_may_have { Effect::Unknown } else { Effect::None }
}

/// Whether the step got as far as doing something: a step that Kargo could not even set up has no start.
fn has_run(step: &StepSnapshot) -> bool {
    step.started.is_some()
}

/// Whether a mutating step that failed this way may have done its work nevertheless: an answer that was lost is no
/// proof that nothing happened.
fn may_leave_traces(class: Class) -> bool {
    match class {
        Class::Transient
        | Class::Timeout
        | Class::Internal
        | Class::Unknown
        | Class::Stalled
        | Class::DeployFailed
        | Class::Unhealthy
        | Class::HumanTimeout
        | Class::Quota => true,
        Class::Conflict
        | Class::MergeConflict
        | Class::Auth
        | Class::Config
        | Class::NotFound
        | Class::Artifact
        | Class::VerificationFailed
        | Class::VerificationInconclusive
        | Class::VerificationError
        | Class::UnhealthyAfterSuccess
        | Class::PolicyDenied
        | Class::HumanRejected
        | Class::UserAbort
        | Class::Capability
        | Class::RollbackFailed => false,
    }
}
