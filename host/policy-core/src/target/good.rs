//! The last good Freight of a Stage (product.md 10, invariant 8).
//!
//! In: a failure, the Freight that failed, the Stage's history, its Promotions and Freight. Out: one
//! [`RollbackTarget`] per requested origin, all from one combination that was good as a whole.
//! A good target that is gone or unavailable is named as such; nothing older takes its place by stealth.

use crate::context::RollbackTarget;
use crate::detect::{VERIFICATION_ABORTED, is_reused};
use crate::failure::{Failure, Trigger};
use crate::name::{FreightName, Origin};
use crate::snapshot::{
    CollectionSnapshot, FreightSnapshot, PromotionPhase, PromotionSnapshot, StageSnapshot, VerificationPhase,
};
use crate::time::Timestamp;

/// Where a rollback would go, one entry per requested origin in the Stage's order.
///
/// After a failed Promotion the Stage still holds what it held, so `freightHistory[0]` may be the target; after
/// anything that is wrong with what the Stage holds, only older combinations may (failure-strategies.md 0.8).
/// `failing` is the Freight that failed: a combination that holds it is no way back.
pub fn last_good(
    failure: &Failure,
    failing: Option<&FreightName>,
    stage: &StageSnapshot,
    promotions: &[PromotionSnapshot],
    freight: &[FreightSnapshot],
    now: Timestamp,
) -> Vec<RollbackTarget> {
    let search = Search { stage, promotions, failing, blamed: blamed(failure, stage) };
    let found = search.run();
    let origins = stage.requests.iter().map(|request| &request.origin);
    match found {
        Found::Good(collection) => {
            let of_origin = |origin| target(origin, collection, stage, freight, now);
            origins.map(of_origin).collect()
        }
        Found::None(because) => origins.map(|origin| nothing(origin, &because)).collect(),
    }
}

/// The combination that the failure is about, if it is about what the Stage holds.
fn blamed<'a>(failure: &Failure, stage: &'a StageSnapshot) -> Option<&'a CollectionSnapshot> {
    let about_current = failure.verification.is_some()
        || match failure.trigger {
            Trigger::VerificationFailed
            | Trigger::VerificationError
            | Trigger::VerificationInconclusive
            | Trigger::VerificationAborted
            | Trigger::VerificationStuck
            | Trigger::VerificationMissing
            | Trigger::StageUnhealthy
            | Trigger::StageHealthUnknown
            | Trigger::ExternalAlert => true,
            Trigger::PromotionFailed
            | Trigger::PromotionErrored
            | Trigger::PromotionAborted
            | Trigger::PromotionStalled
            | Trigger::PromotionPendingStuck
            | Trigger::PromotionDenied
            | Trigger::StepFailedTolerated
            | Trigger::PromotionNotRecorded
            | Trigger::RollbackFailed
            | Trigger::AutoPromotionBlocked
            | Trigger::Timer
            | Trigger::ActionResult
            | Trigger::ApprovalResolved
            | Trigger::ApprovalExpired
            | Trigger::Manual => false,
        };
    stage.history.first().filter(|_| about_current)
}

struct Search<'a> {
    stage: &'a StageSnapshot,
    promotions: &'a [PromotionSnapshot],
    failing: Option<&'a FreightName>,
    blamed: Option<&'a CollectionSnapshot>,
}

enum Found<'a> {
    Good(&'a CollectionSnapshot),
    None(String),
}

impl<'a> Search<'a> {
    /// The newest combination that is good; else why the newest one that came into question is not.
    fn run(&self) -> Found<'a> {
        let mut first_reason = None;
        for collection in &self.stage.history {
            match self.reason_against(collection) {
                None => return Found::Good(collection),
                Some(reason) => first_reason = first_reason.or(reason),
            }
        }
        let because = match first_reason {
            Some(reason) => format!("no good combination in the Stage's history: {reason}"),
            None if self.stage.history.is_empty() => "the Stage has never held any Freight".to_owned(),
            None => "the Stage's history holds nothing but what failed".to_owned(),
        };
        Found::None(because)
    }

    /// `None` when the combination is good; `Some(None)` when it is out of the question from the start.
    fn reason_against(&self, collection: &CollectionSnapshot) -> Option<Option<String>> {
        // Kargo keeps duplicates: the same combination under another entry is the same combination.
        if self.blamed.is_some_and(|blamed| blamed.id == collection.id || blamed.items == collection.items) {
            return Some(None);
        }
        if self.failing.is_some_and(|failing| collection.items.values().any(|freight| freight == failing)) {
            return Some(None);
        }
        if collection.items.is_empty() {
            return Some(Some("a recorded combination is empty".to_owned()));
        }
        let names = names(collection);
        match self.newest_own_verification(collection) {
            Verdict::Good => {}
            Verdict::Bad(reason) => return Some(Some(format!("{names}: {reason}"))),
        }
        let unproven = self.unproven(collection)?;
        Some(Some(format!("{names}: no Succeeded Promotion of {unproven} to this Stage is known")))
    }

    /// The newest verification of this combination that is not a reused result, over all of its entries.
    fn newest_own_verification(&self, collection: &CollectionSnapshot) -> Verdict {
        let same = self.stage.history.iter().filter(|other| other.id == collection.id);
        let mut attempts = same.flat_map(|other| &other.verifications);
        let Some(newest) = attempts.find(|attempt| !is_reused(&self.stage.history, attempt)) else {
            return Verdict::Bad("it has no verification of its own".to_owned());
        };
        match newest.phase {
            Some(VerificationPhase::Successful) => Verdict::Good,
            Some(VerificationPhase::Failed | VerificationPhase::Aborted)
                if newest.message == VERIFICATION_ABORTED
                    || newest.phase == Some(VerificationPhase::Aborted) =>
            {
                Verdict::Bad("its newest verification was aborted by a person".to_owned())
            }
            Some(phase) => Verdict::Bad(format!("its newest verification is {}", phase.text())),
            None => Verdict::Bad("its newest verification has not begun".to_owned()),
        }
    }

    /// In Stages with several origins, a piece of Freight without a Succeeded Promotion of its own: Kargo copies
    /// other origins from the last terminal Promotion even when that one failed, and then marks the copy as
    /// verified (capture `i/inheritance-from-failed`).
    fn unproven<'c>(&self, collection: &'c CollectionSnapshot) -> Option<&'c FreightName> {
        let is_single = self.stage.requests.len() <= 1 && collection.items.len() <= 1;
        if is_single {
            return None;
        }
        let has_own = |freight: &&FreightName| {
            self.promotions.iter().any(|promotion| {
                promotion.stage == self.stage.name
                    && promotion.freight == **freight
                    && promotion.phase == Some(PromotionPhase::Succeeded)
            })
        };
        collection.items.values().find(|freight| !has_own(freight))
    }
}

enum Verdict {
    Good,
    Bad(String),
}

fn target(
    origin: &Origin,
    collection: &CollectionSnapshot,
    stage: &StageSnapshot,
    freight: &[FreightSnapshot],
    now: Timestamp,
) -> RollbackTarget {
    let Some(name) = collection.items.get(origin) else {
        return nothing(origin, "the last good combination holds no Freight of this origin");
    };
    let piece = freight.iter().find(|piece| piece.name == *name);
    let available = piece.map(|piece| super::is_available(stage, piece, now));
    let because = match available {
        Some(true) => "newest combination whose own verification was Successful",
        Some(false) => {
            "newest combination whose own verification was Successful, but no longer available here"
        }
        None => "newest combination whose own verification was Successful, but gone",
    };
    RollbackTarget {
        origin: origin.to_string(),
        freight: Some(name.to_string()),
        because: because.to_owned(),
        exists: Some(piece.is_some()),
        available: Some(available.unwrap_or(false)),
    }
}

fn nothing(origin: &Origin, because: &str) -> RollbackTarget {
    RollbackTarget {
        origin: origin.to_string(),
        freight: None,
        because: because.to_owned(),
        exists: None,
        available: None,
    }
}

fn names(collection: &CollectionSnapshot) -> String {
    let names: Vec<&str> = collection.items.values().map(FreightName::as_str).collect();
    names.join(" with ")
}
