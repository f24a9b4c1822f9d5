//! Whether Kargo has caught up with a failure, so that what is read about the Stage can be trusted.
//!
//! In: a failure, its Stage and the Stage's Promotions, as read last. Out: [`Settled`].
//! Promotions become terminal before the Stage records them (p50 90 ms, kargo-live.md 1). Order of Promotions is
//! that of their names, as in Kargo itself, never of creation times (kargo-api.md 9, pitfall 11).

use crate::failure::{Failure, Trigger};
use crate::name::PromotionName;
use crate::snapshot::{PromotionSnapshot, StageSnapshot, VerificationPhase};

/// Whether a failure is what the Stage is left with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Recorded, and nothing else is going on.
    Yes,
    /// Not yet: look again when Stage or Promotions change.
    NotYet {
        /// What is still going on.
        because: String,
    },
    /// The Stage has moved on; the failure is history.
    Overtaken {
        /// By what.
        by: String,
    },
}

/// Whether `failure` is what the Stage is left with.
///
/// `promotions` are all that are known of the Stage; those of other Stages are ignored. Failures that are about
/// something still running (stalled, stuck, outside alerts) need no settling and are `Yes` unless the Stage is gone.
pub fn settle(failure: &Failure, stage: &StageSnapshot, promotions: &[PromotionSnapshot]) -> Settled {
    if failure.stage_uid.as_ref().is_some_and(|uid| *uid != stage.uid) {
        return overtaken("a Stage made anew under the same name");
    }
    if stage.deleting {
        return overtaken("the deletion of the Stage");
    }
    if !needs_settling(failure.trigger) {
        return Settled::Yes;
    }
    match (&failure.verification, &failure.promotion) {
        (Some(_), _) => of_verification(failure, stage, promotions),
        (None, Some(name)) => of_promotion(name, stage, promotions),
        (None, None) => quiet(stage, promotions),
    }
}

/// Whether a failure waits for the Stage to record its Promotion, which is Kargo's turn alone. What runs or is queued has
/// deadlines of its own.
pub fn waits_for_record(failure: &Failure, stage: &StageSnapshot) -> bool {
    let recorded = stage.last_promotion.as_ref().map(|last| &last.name);
    needs_settling(failure.trigger) && failure.verification.is_none() && recorded < failure.promotion.as_ref()
}

fn needs_settling(trigger: Trigger) -> bool {
    match trigger {
        Trigger::PromotionFailed
        | Trigger::PromotionErrored
        | Trigger::PromotionAborted
        | Trigger::StepFailedTolerated
        | Trigger::VerificationFailed
        | Trigger::VerificationError
        | Trigger::VerificationInconclusive
        | Trigger::VerificationAborted
        | Trigger::RollbackFailed => true,
        Trigger::PromotionStalled
        | Trigger::PromotionPendingStuck
        | Trigger::PromotionDenied
        | Trigger::PromotionNotRecorded
        | Trigger::VerificationStuck
        | Trigger::VerificationMissing
        | Trigger::StageUnhealthy
        | Trigger::StageHealthUnknown
        | Trigger::AutoPromotionBlocked
        | Trigger::ExternalAlert
        | Trigger::Timer
        | Trigger::ActionResult
        | Trigger::ApprovalResolved
        | Trigger::ApprovalExpired
        | Trigger::Manual => false,
    }
}

fn of_promotion(name: &PromotionName, stage: &StageSnapshot, promotions: &[PromotionSnapshot]) -> Settled {
    if let Some(newer) = newer_than(name, stage, promotions) {
        return overtaken(&came_after(newer, promotions));
    }
    match &stage.last_promotion {
        Some(last) if last.name == *name => quiet(stage, promotions),
        Some(_) | None => not_yet(format!("the Stage has not recorded Promotion {name}")),
    }
}

fn of_verification(failure: &Failure, stage: &StageSnapshot, promotions: &[PromotionSnapshot]) -> Settled {
    // The delivering Promotion if it is known; else every Promotion that the Stage has recorded is part of the past.
    let delivered = failure.promotion.as_ref().or(stage.last_promotion.as_ref().map(|last| &last.name));
    if let Some(newer) = delivered.and_then(|name| newer_than(name, stage, promotions)) {
        return overtaken(&came_after(newer, promotions));
    }
    let newest = stage.history.first().and_then(|current| current.verifications.first());
    match newest {
        Some(newest) if Some(&newest.id) == failure.verification.as_ref() => quiet(stage, promotions),
        Some(newest) => overtaken(&format!("verification {}", newest.id)),
        None => overtaken("Freight that is not verified yet"),
    }
}

/// What came after the failure, as people know it: the Freight, and who promoted it.
fn came_after(newer: &PromotionName, promotions: &[PromotionSnapshot]) -> String {
    let Some(promotion) = promotions.iter().find(|promotion| promotion.name == *newer) else {
        return format!("Promotion {newer}");
    };
    let by = promotion.actor.as_ref().map(|actor| format!(", promoted by {actor},")).unwrap_or_default();
    format!("Freight `{}`{by} came after it with Promotion {newer}", promotion.freight)
}

/// The newest Promotion of the Stage after `name`, whatever became of it.
fn newer_than<'a>(
    name: &PromotionName,
    stage: &'a StageSnapshot,
    promotions: &'a [PromotionSnapshot],
) -> Option<&'a PromotionName> {
    let known = promotions.iter().filter(|promotion| promotion.stage == stage.name);
    let recorded = stage.last_promotion.as_ref().map(|last| &last.name);
    let current = stage.current_promotion.as_ref();
    let names = known.map(|promotion| &promotion.name).chain(recorded).chain(current);
    names.filter(|other| *other > name).max()
}

fn quiet(stage: &StageSnapshot, promotions: &[PromotionSnapshot]) -> Settled {
    if let Some(current) = &stage.current_promotion {
        return not_yet(format!("Promotion {current} is running"));
    }
    let mut known = promotions.iter().filter(|promotion| promotion.stage == stage.name);
    if let Some(queued) = known.find(|promotion| !promotion.is_terminal()) {
        return not_yet(format!("Promotion {} is queued or running", queued.name));
    }
    let newest = stage.history.first().and_then(|current| current.verifications.first());
    match newest {
        Some(newest) if !newest.phase.is_some_and(VerificationPhase::is_terminal) => {
            not_yet(format!("verification {} is running", newest.id))
        }
        Some(_) | None => Settled::Yes,
    }
}

fn overtaken(by: &str) -> Settled {
    Settled::Overtaken { by: by.to_owned() }
}

fn not_yet(because: String) -> Settled {
    Settled::NotYet { because }
}
