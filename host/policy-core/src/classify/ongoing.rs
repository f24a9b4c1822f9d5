//! What a failure means that is no text of a step: something goes on for too long, was lost, or was tolerated.
//!
//! In: the catalogue, the trigger, the Stage, the Promotion. Out: a [`Classification`], rules N1 to N8; `None` for
//! triggers that are read from what Kargo wrote. Who is to blame is said only where it is certain: time alone proves
//! nothing about Freight.

use crate::detect;
use crate::failure::{Class, Classification, Effect, FaultDomain, Retryability, Trigger};
use crate::snapshot::{PromotionPhase, PromotionSnapshot, StageSnapshot};

use super::catalogue::{Catalogue, Verdict};

/// The meaning of a failure with that trigger, if the trigger says it. `is_of_verification` says whether a verification
/// speaks for it.
pub fn ongoing(
    catalogue: &Catalogue,
    trigger: Trigger,
    is_of_verification: bool,
    stage: &StageSnapshot,
    promotion: Option<&PromotionSnapshot>,
) -> Option<Classification> {
    use Retryability as R;
    let verdict = |class, retry, fault, confidence| Verdict { class, retry, fault, confidence };
    let platform = |retry, confidence| verdict(Class::Internal, retry, FaultDomain::Platform, confidence);
    let stalled = |fault| verdict(Class::Stalled, R::Unknown, fault, 60);
    let (rule, verdict, effect) = match trigger {
        // Promoting once more what is deployed repairs both (kargo-live.md 0.2, executed).
        Trigger::PromotionNotRecorded => ("N1", platform(R::WholeOnly, 90), Effect::Complete),
        Trigger::VerificationMissing => ("N2", platform(R::WholeOnly, 95), Effect::Complete),
        Trigger::VerificationStuck => ("N3", stalled(FaultDomain::Unknown), Effect::Complete),
        Trigger::PromotionPendingStuck => ("N4", stalled(FaultDomain::Platform), Effect::None),
        Trigger::StageUnhealthy => return Some(sick(catalogue, stage, "N5", Class::UnhealthyAfterSuccess)),
        Trigger::StageHealthUnknown => return Some(sick(catalogue, stage, "N6", Class::Unknown)),
        Trigger::AutoPromotionBlocked => ("N7", stalled(FaultDomain::Unknown), Effect::None),
        Trigger::StepFailedTolerated => return promotion.and_then(|one| tolerated(catalogue, one)),
        // A rollback that succeeded and left its Stage sick.
        Trigger::RollbackFailed
            if !is_of_verification
                && promotion.is_some_and(|one| one.phase == Some(PromotionPhase::Succeeded)) =>
        {
            return Some(sick(catalogue, stage, "N8", Class::UnhealthyAfterSuccess));
        }
        Trigger::PromotionFailed
        | Trigger::PromotionErrored
        | Trigger::PromotionAborted
        | Trigger::PromotionStalled
        | Trigger::PromotionDenied
        | Trigger::VerificationFailed
        | Trigger::VerificationError
        | Trigger::VerificationInconclusive
        | Trigger::VerificationAborted
        | Trigger::RollbackFailed
        | Trigger::ExternalAlert
        | Trigger::Timer
        | Trigger::ActionResult
        | Trigger::ApprovalResolved
        | Trigger::ApprovalExpired
        | Trigger::Manual => return None,
    };
    Some(super::found(rule, verdict, "", effect))
}

/// What the Stage's health checks say, as far as the catalogue knows; a Stage that turned sick is never less than that.
fn sick(catalogue: &Catalogue, stage: &StageSnapshot, rule: &str, class: Class) -> Classification {
    let issue = stage.health_issue.as_deref().unwrap_or_default();
    let read = super::health(catalogue, issue);
    // That it is sick is what the trigger says already.
    if !matches!(
        read.class,
        Class::Unknown | Class::Unhealthy | Class::DeployFailed | Class::VerificationFailed
    ) {
        return read;
    }
    let unknown =
        Verdict { class, retry: Retryability::Unknown, fault: FaultDomain::Unknown, confidence: 70 };
    super::found(rule, unknown, issue, Effect::Complete)
}

/// What the tolerated step says; the Promotion did everything else.
pub(super) fn tolerated(catalogue: &Catalogue, promotion: &PromotionSnapshot) -> Option<Classification> {
    let step = detect::tolerated_step(promotion)?;
    let read = super::of_step(catalogue, promotion, step);
    Some(Classification { effect: Effect::Complete, ..read })
}
