//! From snapshots to failures: which terminal states are failures, which identity each has, and when it happened.
//!
//! In: a Promotion, or a Stage with its Promotions. Out: at most one [`Failure`] each; [`look`] finds everything, what
//! goes on for too long included. The same signal has the same id in every process and after every restart. Nothing is
//! decided here on `currentStep` or the `Verified` condition, and nothing is said about whether anybody should act.

mod auto_promotion;
mod health;
mod lost;
mod sight;
mod unended;
mod verifying;

use sha2::{Digest, Sha256};

use crate::failure::{Failure, Trigger, UserAbort};
use crate::name::FailureId;
use crate::redact;
use crate::snapshot::{
    CollectionSnapshot, PromotionPhase, PromotionSnapshot, StageSnapshot, StepSnapshot, VerificationPhase,
    VerificationSnapshot,
};
use crate::time::Timestamp;

pub use health::{sickness_to_remember, speaks_of_freight};
pub use sight::{Found, Run, Sight, is_about_now, is_an_end, look};
pub use unended::is_silent;
pub use verifying::run_is_due;

/// What open-source Kargo writes when a person aborts a verification; the phase is `Failed`
/// (`pkg/controller/stages/regular_stages.go`, v1.11.2; capture `e/abort`).
pub const VERIFICATION_ABORTED: &str = "Verification aborted by user";

/// What Kargo writes before the actor when a Promotion is aborted (`pkg/controller/promotions/promotions.go`).
const PROMOTION_TERMINATED: &str = "Promotion terminated by ";

/// Longest summary, in bytes.
const MAX_SUMMARY_BYTES: usize = 300;

/// The failure that a terminal Promotion is, if it is one.
///
/// Only the phase `Aborted` is a user abort: a Promotion that carries an abort annotation and still ended `Failed`
/// or `Errored` ended for its own reason. One that ended `Succeeded` is a failure only if a step of it failed that the
/// template tolerates (captures `a/abort-during-step`, `a/continue-on-error`).
pub fn promotion(promotion: &PromotionSnapshot) -> Option<Failure> {
    let (trigger, user_abort) = match promotion.phase? {
        PromotionPhase::Pending | PromotionPhase::Running => return None,
        PromotionPhase::Succeeded => {
            tolerated_step(promotion)?;
            (Trigger::StepFailedTolerated, None)
        }
        PromotionPhase::Aborted => (Trigger::PromotionAborted, Some(abort_of(promotion))),
        PromotionPhase::Failed | PromotionPhase::Errored if promotion.is_rollback => {
            (Trigger::RollbackFailed, None)
        }
        PromotionPhase::Failed => (Trigger::PromotionFailed, None),
        PromotionPhase::Errored => (Trigger::PromotionErrored, None),
    };
    Some(Failure {
        id: failure_id(&["promotion", promotion.uid.as_str()]),
        trigger,
        project: promotion.project.clone(),
        stage: promotion.stage.clone(),
        stage_uid: None,
        promotion: Some(promotion.name.clone()),
        promotion_uid: Some(promotion.uid.clone()),
        verification: None,
        at: ended(promotion),
        user_abort,
        summary: promotion_summary(promotion),
    })
}

/// The failure that the newest verification of what the Stage holds is, if it is one.
///
/// Reads `freightHistory[0].verificationHistory[0]` and nothing else: the `Verified` condition stays true after a
/// later failure (capture `e/verified-condition-sticky`). `promotions` are those of the Stage; they tell whether a
/// rollback delivered what failed. A reused result is a failure too: the Stage holds Freight that failed before.
pub fn verification(stage: &StageSnapshot, promotions: &[PromotionSnapshot]) -> Option<Failure> {
    let current = stage.history.first()?;
    let attempt = current.verifications.first()?;
    let delivered_by = delivering(stage, current, promotions);
    let is_rollback = delivered_by.is_some_and(|promotion| promotion.is_rollback);
    let own = verification_trigger(attempt)?;
    // A person's word wins over what the Promotion was for.
    let trigger =
        if is_rollback && own != Trigger::VerificationAborted { Trigger::RollbackFailed } else { own };
    let user_abort =
        (trigger == Trigger::VerificationAborted).then(|| UserAbort { actor: attempt.actor.clone() });
    // Without Promotions at hand the recorded one is named, as long as it can have delivered anything.
    let recorded = stage.last_promotion.as_ref().filter(|last| last.phase == Some(PromotionPhase::Succeeded));
    let name = delivered_by.map(|promotion| &promotion.name).or(recorded.map(|last| &last.name));
    Some(Failure {
        id: failure_id(&["verification", stage.uid.as_str(), attempt.id.as_str()]),
        trigger,
        project: stage.project.clone(),
        stage: stage.name.clone(),
        stage_uid: Some(stage.uid.clone()),
        promotion: name.cloned(),
        promotion_uid: delivered_by.map(|promotion| promotion.uid.clone()),
        verification: Some(attempt.id.clone()),
        at: attempt.finished.or(attempt.started).unwrap_or_default(),
        user_abort,
        summary: verification_summary(attempt, is_reused(&stage.history, attempt)),
    })
}

/// Whether Kargo copied the result of an older AnalysisRun instead of running one (kargo-live.md 5).
///
/// All of it must hold: begun and ended in the same second, no message, and a run whose name is found in another,
/// older entry. Ten entries are kept: when the older entry is gone, a run whose name says that it was made two
/// seconds or more before the attempt began counts as well.
pub fn is_reused(history: &[CollectionSnapshot], attempt: &VerificationSnapshot) -> bool {
    let (Some(started), Some(run)) = (attempt.started, attempt.analysis_run.as_deref()) else { return false };
    if attempt.finished != Some(started) || !attempt.message.is_empty() {
        return false;
    }
    let mut attempts = history.iter().flat_map(|collection| &collection.verifications);
    let is_older = |other: &VerificationSnapshot| other.id != attempt.id && other.started <= attempt.started;
    let in_older = attempts.any(|other| is_older(other) && other.analysis_run.as_deref() == Some(run));
    in_older || run_created(run).is_some_and(|created| started.since(created) >= 2)
}

/// When an AnalysisRun was made, from the ULID in its name `<stage>.<ulid>.<hash>` (kargo-api.md 1.9).
fn run_created(run: &str) -> Option<Timestamp> {
    const CROCKFORD: &str = "0123456789abcdefghjkmnpqrstvwxyz";
    let ulid = run.rsplit('.').nth(1).filter(|ulid| ulid.len() == 26)?;
    let mut milliseconds: u64 = 0;
    for character in ulid.chars().take(10) {
        let value = CROCKFORD.find(character.to_ascii_lowercase())?;
        milliseconds = milliseconds.checked_mul(32)?.checked_add(u64::try_from(value).ok()?)?;
    }
    u32::try_from(milliseconds / 1_000).ok().map(Timestamp)
}

/// The Promotion that made `current` what the Stage holds: the newest recorded one that Succeeded with exactly this
/// combination.
fn delivering<'a>(
    stage: &StageSnapshot,
    current: &CollectionSnapshot,
    promotions: &'a [PromotionSnapshot],
) -> Option<&'a PromotionSnapshot> {
    let recorded = &stage.last_promotion.as_ref()?.name;
    promotions
        .iter()
        .filter(|promotion| promotion.stage == stage.name && promotion.name <= *recorded)
        .filter(|promotion| promotion.phase == Some(PromotionPhase::Succeeded))
        .filter(|promotion| promotion.collection == current.items)
        .max_by(|a, b| a.name.cmp(&b.name))
}

fn verification_trigger(attempt: &VerificationSnapshot) -> Option<Trigger> {
    match attempt.phase? {
        VerificationPhase::Pending | VerificationPhase::Running | VerificationPhase::Successful => None,
        VerificationPhase::Failed if attempt.message == VERIFICATION_ABORTED => {
            Some(Trigger::VerificationAborted)
        }
        VerificationPhase::Failed => Some(Trigger::VerificationFailed),
        VerificationPhase::Error => Some(Trigger::VerificationError),
        VerificationPhase::Inconclusive => Some(Trigger::VerificationInconclusive),
        VerificationPhase::Aborted => Some(Trigger::VerificationAborted),
    }
}

/// Who aborted a Promotion: the protected annotation, else what the message says.
fn abort_of(promotion: &PromotionSnapshot) -> UserAbort {
    let in_message =
        promotion.message.strip_prefix(PROMOTION_TERMINATED).map(|actor| redact::shown(actor, 200));
    UserAbort { actor: promotion.abort_actor.clone().or(in_message) }
}

/// When it ended, as Kargo says; else the newest point in time that is known. A Promotion without any counts as
/// older than everything, so that nothing automatic follows it.
fn ended(promotion: &PromotionSnapshot) -> Timestamp {
    let of_steps = promotion.steps.iter().filter_map(|step| step.finished).max();
    promotion.finished.or(of_steps).or(promotion.started).or(promotion.created).unwrap_or_default()
}

/// The step that failed first and was not tolerated: the root cause. Phase and message of a Promotion may come from
/// a clean-up that failed after it (capture `a/failure-and-cleanup-fails`).
pub fn first_failed_step(promotion: &PromotionSnapshot) -> Option<&StepSnapshot> {
    promotion.steps.iter().find(|step| step.has_failed() && !step.continue_on_error)
}

/// The step that failed first and was tolerated.
pub fn tolerated_step(promotion: &PromotionSnapshot) -> Option<&StepSnapshot> {
    promotion.steps.iter().find(|step| step.has_failed() && step.continue_on_error)
}

fn promotion_summary(promotion: &PromotionSnapshot) -> String {
    let phase = promotion.phase.map_or("unknown", PromotionPhase::text);
    if promotion.phase == Some(PromotionPhase::Succeeded)
        && let Some(step) = tolerated_step(promotion)
    {
        return one_line(&format!("{phase}, with step `{}` failed and tolerated", step.alias), &step.message);
    }
    let text = match first_failed_step(promotion) {
        Some(step) if !step.message.is_empty() => &step.message,
        Some(_) | None => &promotion.message,
    };
    one_line(phase, text)
}

fn verification_summary(attempt: &VerificationSnapshot, reused: bool) -> String {
    let phase = attempt.phase.map_or("unknown", VerificationPhase::text);
    let text = match (attempt.message.as_str(), reused) {
        ("", true) => "the result of an older AnalysisRun was reused",
        (message, _) => message,
    };
    one_line(phase, text)
}

fn one_line(phase: &str, text: &str) -> String {
    let line: Vec<&str> = text.split_whitespace().collect();
    let line = line.join(" ");
    let line = if line.is_empty() { phase.to_owned() } else { format!("{phase}: {line}") };
    redact::shown(&line, MAX_SUMMARY_BYTES)
}

/// First 20 hexadecimal digits of SHA-256 over the parts, each ended by a line feed: `promotion` and the
/// Promotion's uid, or `verification`, the Stage's uid and the verification's id. Part of every stored Incident:
/// never change it.
fn failure_id(parts: &[&str]) -> FailureId {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update(b"\n");
    }
    let mut digits = hex::encode(hash.finalize());
    digits.truncate(20);
    FailureId::new(digits)
}
