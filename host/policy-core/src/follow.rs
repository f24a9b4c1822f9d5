//! Follows an attempt to its end: is it over, and did it work?
//!
//! In: one claimed attempt whose Promotion is known, the Stage and its Promotions as they are now.
//! Out: [`Followed`]. An attempt is over when the Stage has recorded its Promotion **and** a verification of its own
//! has ended; a copied verification result proves nothing (kargo-live.md 5, "reuse").
//! Looks at no clock: what never ends is the business of deadlines elsewhere.

use crate::detect;
use crate::failure::Failure;
use crate::incident::Attempt;
use crate::name::PromotionName;
use crate::snapshot::{PromotionPhase, PromotionSnapshot, StageSnapshot, VerificationPhase};

/// How an attempt stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    /// Not over.
    Waiting {
        /// What is waited for, a phrase without a final dot.
        because: String,
    },
    /// It worked.
    Succeeded,
    /// Its Promotion or its verification failed: the same incident goes on with that failure.
    Failed(Failure),
    /// The Stage took its result, but Kargo copied an old verification instead of running one.
    Unproven,
    /// A person aborted its Promotion or its verification.
    EndedByPerson {
        /// Who, when Kargo says.
        actor: Option<String>,
    },
    /// Its Promotion was deleted before it ended.
    Gone,
    /// Another Promotion moved the Stage on.
    Overtaken {
        /// Which one.
        by: PromotionName,
    },
}

/// How `attempt` stands.
pub fn attempt(attempt: &Attempt, stage: &StageSnapshot, promotions: &[PromotionSnapshot]) -> Followed {
    let Some(name) = &attempt.promotion else {
        return waiting("its Promotion to be created");
    };
    let Some(promotion) = promotions.iter().find(|promotion| promotion.name == *name) else {
        return unseen(name, stage);
    };
    match promotion.phase {
        None | Some(PromotionPhase::Pending) => waiting(format!("Promotion `{name}` to start")),
        Some(PromotionPhase::Running) => waiting(format!("Promotion `{name}` to end")),
        Some(PromotionPhase::Aborted) => Followed::EndedByPerson { actor: promotion.abort_actor.clone() },
        Some(PromotionPhase::Failed | PromotionPhase::Errored) => match detect::promotion(promotion) {
            Some(failure) => Followed::Failed(failure),
            None => waiting(format!("Promotion `{name}` to be understood")),
        },
        Some(PromotionPhase::Succeeded) => recorded(name, stage, promotions),
    }
}

/// The Promotion is not there: deleted by somebody, or collected after the Stage took it over.
fn unseen(name: &PromotionName, stage: &StageSnapshot) -> Followed {
    match &stage.last_promotion {
        Some(last) if last.name == *name && last.phase == Some(PromotionPhase::Succeeded) => {
            verified(stage, &[])
        }
        Some(_) | None => Followed::Gone,
    }
}

fn recorded(name: &PromotionName, stage: &StageSnapshot, promotions: &[PromotionSnapshot]) -> Followed {
    match &stage.last_promotion {
        Some(last) if last.name == *name => verified(stage, promotions),
        // Names of one Stage's Promotions sort by age (kargo-api.md 9.11).
        Some(last) if last.name > *name => Followed::Overtaken { by: last.name.clone() },
        Some(_) | None => waiting(format!("Stage `{}` to record Promotion `{name}`", stage.name)),
    }
}

fn verified(stage: &StageSnapshot, promotions: &[PromotionSnapshot]) -> Followed {
    if !stage.verifies {
        return Followed::Succeeded;
    }
    let newest = stage.history.first().and_then(|collection| collection.verifications.first());
    let Some(verification) = newest else {
        return waiting(format!("the verification of Stage `{}` to start", stage.name));
    };
    match verification.phase {
        None | Some(VerificationPhase::Pending | VerificationPhase::Running) => {
            waiting(format!("the verification of Stage `{}` to end", stage.name))
        }
        Some(VerificationPhase::Successful) if detect::is_reused(&stage.history, verification) => {
            Followed::Unproven
        }
        Some(VerificationPhase::Successful) => Followed::Succeeded,
        Some(
            VerificationPhase::Failed
            | VerificationPhase::Error
            | VerificationPhase::Aborted
            | VerificationPhase::Inconclusive,
        ) => judged(stage, promotions),
    }
}

fn judged(stage: &StageSnapshot, promotions: &[PromotionSnapshot]) -> Followed {
    match detect::verification(stage, promotions) {
        Some(Failure { user_abort: Some(abort), .. }) => Followed::EndedByPerson { actor: abort.actor },
        Some(failure) => Followed::Failed(failure),
        None => waiting("the verification to be understood"),
    }
}

fn waiting(because: impl Into<String>) -> Followed {
    Followed::Waiting { because: because.into() }
}
