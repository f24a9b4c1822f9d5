//! The last good Freight of a Stage (product.md 10, invariant 8).
//!
//! In: a failure, the Freight that failed, the Stage's history, its Promotions and Freight. Out: one
//! [`RollbackTarget`] per requested origin, all from one combination that was good as a whole.
//! A good target that is gone or unavailable is named as such; nothing older takes its place by stealth.

use std::collections::BTreeMap;

use crate::context::RollbackTarget;
use crate::detect::{VERIFICATION_ABORTED, is_reused};
use crate::failure::{Failure, Trigger};
use crate::name::{FreightName, Origin, VerificationId};
use crate::snapshot::{
    CollectionSnapshot, ProjectFreight, PromotionPhase, PromotionSnapshot, StageSnapshot, VerificationPhase,
    VerificationSnapshot,
};
use crate::stage_memory::GoodCombination;
use crate::time::Timestamp;

/// Why a combination of the Stage's own history is the target.
const BY_HISTORY: &str = "newest combination whose own verification was Successful";
/// Why a remembered combination is the target.
const BY_MEMORY: &str =
    "last good combination that is remembered, verified before the Stage's history begins";

/// Which way back is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// What went wrong.
    pub failure: &'a Failure,
    /// The Freight that failed: a combination that holds it is no way back.
    pub failing: Option<&'a FreightName>,
    /// The Stage.
    pub stage: &'a StageSnapshot,
    /// Its Promotions.
    pub promotions: &'a [PromotionSnapshot],
    /// Freight of the Project.
    pub freight: &'a ProjectFreight,
    /// What was good before the Stage's history begins, see [`crate::stage_memory`].
    pub remembered: Option<&'a GoodCombination>,
    /// The time.
    pub now: Timestamp,
}

/// Where a rollback would go, one entry per requested origin in the Stage's order.
///
/// After a failed Promotion the Stage still holds what it held, so `freightHistory[0]` may be the target; after
/// anything that is wrong with what the Stage holds, only older combinations may (failure-strategies.md 0.8).
pub fn last_good(question: &Question<'_>) -> Vec<RollbackTarget> {
    let Question { failure, failing, stage, promotions, remembered, .. } = *question;
    let search = Search { stage, promotions, failing, remembered, blamed: blamed(failure, stage) };
    let origins = stage.requests.iter().map(|request| &request.origin);
    match (search.run(), remembered.filter(|good| search.is_open_to(good))) {
        (Found::Good(collection), _) => {
            origins.map(|origin| target(origin, &collection.items, BY_HISTORY, question)).collect()
        }
        (Found::None(_), Some(good)) => {
            origins.map(|origin| target(origin, &good.items, BY_MEMORY, question)).collect()
        }
        (Found::None(because), None) => origins.map(|origin| nothing(origin, &because)).collect(),
    }
}

/// The newest combination of the Stage's history that is good, whatever failed. What is `remembered` as good needs no
/// Promotions to prove it: they may be deleted.
pub fn newest_good<'a>(
    stage: &'a StageSnapshot,
    promotions: &'a [PromotionSnapshot],
    remembered: Option<&'a GoodCombination>,
) -> Option<&'a CollectionSnapshot> {
    match (Search { stage, promotions, failing: None, remembered, blamed: None }).run() {
        Found::Good(collection) => Some(collection),
        Found::None(_) => None,
    }
}

/// The verification that makes a combination a good one.
pub fn proof(stage: &StageSnapshot, collection: &CollectionSnapshot) -> Option<VerificationId> {
    let search = Search { stage, promotions: &[], failing: None, remembered: None, blamed: None };
    search.own_verification(collection).map(|verification| verification.id.clone())
}

/// Whether the Stage's history speaks against a combination that was good: its newest own verification did not end
/// well, or a result that Kargo reused for it. An entry without either says nothing, and neither does a good one.
pub fn is_refuted(stage: &StageSnapshot, items: &BTreeMap<Origin, FreightName>) -> bool {
    let search = Search { stage, promotions: &[], failing: None, remembered: None, blamed: None };
    search.refutes(items)
}

/// The combination that the failure is about, if it is about what the Stage holds.
fn blamed<'a>(failure: &Failure, stage: &'a StageSnapshot) -> Option<&'a CollectionSnapshot> {
    // The Stage may hold something else by now, as after a rollback.
    if let Some(id) = &failure.verification {
        let has_it = |held: &&CollectionSnapshot| held.verifications.iter().any(|one| one.id == *id);
        return stage.history.iter().find(has_it);
    }
    let about_current = match failure.trigger {
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
    remembered: Option<&'a GoodCombination>,
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
            None => "the Stage's history holds nothing but what this failure is about".to_owned(),
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

    /// Whether a remembered combination may be the way back: it is not what the failure is about, holds nothing of what
    /// failed, and the history does not speak against it.
    fn is_open_to(&self, good: &GoodCombination) -> bool {
        let is_blamed = self.blamed.is_some_and(|blamed| blamed.items == good.items);
        let has_failed =
            self.failing.is_some_and(|failing| good.items.values().any(|freight| freight == failing));
        !is_blamed && !has_failed && !self.refutes(&good.items)
    }

    fn refutes(&self, items: &BTreeMap<Origin, FreightName>) -> bool {
        let mut entries =
            self.stage.history.iter().filter(|collection| collection.items == *items).peekable();
        let Some(newest) = entries.peek() else { return false };
        if let Some(own) = self.own_verification(newest) {
            return own.phase != Some(VerificationPhase::Successful);
        }
        let mut attempts = entries.flat_map(|collection| &collection.verifications);
        attempts.next().is_some_and(|reused| reused.phase != Some(VerificationPhase::Successful))
    }

    /// The newest verification of this combination that is not a reused result, over all of its entries.
    fn own_verification(&self, collection: &CollectionSnapshot) -> Option<&'a VerificationSnapshot> {
        let id = collection.id.clone();
        let same = self.stage.history.iter().filter(move |other| other.id == id);
        let mut attempts = same.flat_map(|other| &other.verifications);
        attempts.find(|attempt| !is_reused(&self.stage.history, attempt))
    }

    fn newest_own_verification(&self, collection: &CollectionSnapshot) -> Verdict {
        let Some(newest) = self.own_verification(collection) else {
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
        let was_proven = self.remembered.is_some_and(|good| good.items == collection.items);
        if is_single || was_proven {
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
    items: &BTreeMap<Origin, FreightName>,
    because: &str,
    question: &Question<'_>,
) -> RollbackTarget {
    let Some(name) = items.get(origin) else {
        return nothing(origin, "the last good combination holds no Freight of this origin");
    };
    let exists = question.freight.exists(name);
    let piece = question.freight.get(name);
    let available = piece.map(|piece| super::is_available(question.stage, piece, question.now));
    let because = match (exists, available) {
        (_, Some(true)) => because.to_owned(),
        (_, Some(false)) => format!("{because}, but no longer available here"),
        (Some(false), None) => format!("{because}, but gone"),
        (Some(true), None) => format!("{because}, but what it is could not be read"),
        (None, None) => format!("{because}, but whether it still exists is not known"),
    };
    RollbackTarget {
        origin: origin.to_string(),
        freight: Some(name.to_string()),
        because,
        exists,
        available: if exists == Some(false) { Some(false) } else { available },
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
