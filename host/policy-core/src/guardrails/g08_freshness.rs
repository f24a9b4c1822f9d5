//! G8: what the decision saw must still hold when it is carried out.
//!
//! Why: between a decision and its write lie minutes of backoff in which people and Kargo act. Compared are the last
//! Promotion that the Stage has recorded, its newest combination of Freight and the newest verification: any of them
//! moving means that the decision answers a question that nobody asks any more. The caller reads again immediately
//! before a write and gives the fresh snapshot as `Input::stage`.

use serde::{Deserialize, Serialize};

use super::Input;
use crate::decision::Action;
use crate::name::{PromotionName, VerificationId};
use crate::snapshot::StageSnapshot;
use crate::write::Verdict;

/// What a decision depends on in the Stage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Seen {
    /// `status.lastPromotion.name`.
    pub last_promotion: Option<PromotionName>,
    /// `status.freightHistory[0].id`.
    pub collection: Option<String>,
    /// The id of the newest verification of that combination.
    pub verification: Option<VerificationId>,
}

impl Seen {
    /// What a snapshot says.
    pub fn of(stage: &StageSnapshot) -> Self {
        let newest = stage.history.first();
        Self {
            last_promotion: stage.last_promotion.as_ref().map(|last| last.name.clone()),
            collection: newest.map(|collection| collection.id.clone()),
            verification: newest
                .and_then(|collection| collection.verifications.first())
                .map(|verification| verification.id.clone()),
        }
    }
}

/// Refuses a write to Kargo when the Stage has moved since the decision.
pub fn check(action: &Action, input: &Input<'_>) -> Verdict {
    if !action.operation.kind().writes_to_kargo() {
        return Verdict::Allow;
    }
    let now = Seen::of(input.stage);
    let moved = if now.last_promotion != input.seen.last_promotion {
        "the Stage has recorded another Promotion"
    } else if now.collection != input.seen.collection {
        "the Stage holds other Freight"
    } else if now.verification != input.seen.verification {
        "the Stage has another verification"
    } else {
        return Verdict::Allow;
    };
    Verdict::Refuse { because: format!("{moved} since the decision was made") }
}
