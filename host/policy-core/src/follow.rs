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
        return unseen(attempt, name, stage);
    };
    match promotion.phase {
        None | Some(PromotionPhase::Pending) => waiting(format!("Promotion `{name}` to start")),
        Some(PromotionPhase::Running) => waiting(format!("Promotion `{name}` to end")),
        Some(PromotionPhase::Aborted) => Followed::EndedByPerson { actor: promotion.abort_actor.clone() },
        Some(PromotionPhase::Failed | PromotionPhase::Errored) => match detect::promotion(promotion) {
            Some(failure) => Followed::Failed(failure),
            None => waiting(format!("Promotion `{name}` to be understood")),
        },
        Some(PromotionPhase::Succeeded) => recorded(attempt, name, stage, promotions),
    }
}

/// The Promotion is not there: deleted by somebody, or collected after the Stage took it over.
fn unseen(attempt: &Attempt, name: &PromotionName, stage: &StageSnapshot) -> Followed {
    match &stage.last_promotion {
        Some(last) if last.name == *name && last.phase == Some(PromotionPhase::Succeeded) => {
            verified(attempt, stage, &[])
        }
        Some(_) | None => Followed::Gone,
    }
}

fn recorded(
    attempt: &Attempt,
    name: &PromotionName,
    stage: &StageSnapshot,
    promotions: &[PromotionSnapshot],
) -> Followed {
    match &stage.last_promotion {
        Some(last) if last.name == *name => verified(attempt, stage, promotions),
        // Names of one Stage's Promotions sort by age (kargo-api.md 9.11).
        Some(last) if last.name > *name => Followed::Overtaken { by: last.name.clone() },
        Some(_) | None => waiting(format!("Stage `{}` to record Promotion `{name}`", stage.name)),
    }
}

fn verified(attempt: &Attempt, stage: &StageSnapshot, promotions: &[PromotionSnapshot]) -> Followed {
    // A Stage is written in several steps: what it held before must not be taken for the attempt's result.
    let newest = stage.history.first();
    let holds_it =
        newest.is_some_and(|held| held.items.values().any(|one| Some(one) == attempt.freight.as_ref()));
    if !holds_it {
        return waiting(format!("Stage `{}` to hold what was promoted", stage.name));
    }
    if !stage.verifies {
        return Followed::Succeeded;
    }
    let newest = newest.and_then(|collection| collection.verifications.first());
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).expect("a value of that shape")
    }

    /// A retry of `new` that ended well and is what the Stage has recorded last; the Stage holds `held`.
    fn followed(held: &Value) -> Followed {
        let retry: Attempt =
            read(json!({"number": 1, "kind": "retry", "freight": "new", "origin": null, "claimed": 0,
            "promotion": "p2", "reason": "", "outcome": "pending"}));
        let promotion = json!({"project": "shop", "name": "p2", "uid": "u2", "stage": "prod", "freight": "new",
            "phase": "Succeeded"});
        let stage: StageSnapshot =
            read(json!({"project": "shop", "name": "prod", "uid": "s", "verifies": true,
            "lastPromotion": {"name": "p2", "phase": "Succeeded"}, "history": held}));
        attempt(&retry, &stage, &[read(promotion)])
    }

    fn holds(freight: &str, phase: &str) -> Value {
        json!([{"id": "c", "items": {"Warehouse/web": freight},
            "verifications": [{"id": "v1", "phase": phase, "message": "judged"}]}])
    }

    #[test]
    fn a_verification_of_what_the_stage_held_before_proves_nothing() {
        assert!(matches!(followed(&holds("old", "Successful")), Followed::Waiting { .. }));
        assert!(matches!(followed(&json!([])), Followed::Waiting { .. }));
        assert_eq!(followed(&holds("new", "Successful")), Followed::Succeeded);
        assert!(matches!(followed(&holds("new", "Failed")), Followed::Failed(_)));
    }
}
