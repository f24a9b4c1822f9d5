//! Rehearses a delivery: what Kargo's admission would make of it, and what a no means.
//!
//! In: a delivery that is not claimed yet, or an error answer. Out: nothing when the dry run agrees with the plan, else
//! [`No`]. A dry run stores nothing. Nothing here creates, claims or closes anything.

use policy_api::adapter::v1_11::{self as kargo, Mismatch};
use policy_api::adapter::{self, Advice};
use policy_api::crd::condition::reasons;

use crate::access::Access;
use crate::deliver::Delivery;
use crate::host::Host;
use crate::queue::StageKey;
use crate::requests::RequestError;

/// A no of Kargo's admission, or an answer that is not what was planned.
pub struct No {
    /// One CamelCase word.
    pub reason: String,
    /// Why, for people.
    pub sentence: String,
    /// What can be done about it.
    pub advice: Advice,
    /// What it says about the account, where it does.
    pub access: Option<Access>,
}

/// Asks Kargo what it would make of the Promotion, and compares that with what was planned.
///
/// # Errors
/// Its no, or what is not as planned.
pub async fn rehearse(host: &Host, key: &StageKey, delivery: &Delivery) -> Result<(), No> {
    let answer = host.requests.send_as_project(&key.project, "dry-run", &delivery.create.dry_run()).await;
    let answer = answer.map_err(|error| no_of(&error))?;
    let unexpected = |sentence: String| No {
        reason: "Unexpected".to_owned(),
        sentence,
        advice: Advice::Repeat,
        access: None,
    };
    let stamped = kargo::stamped(&answer)
        .ok_or_else(|| unexpected("the dry run was not answered with a Promotion".to_owned()))?;
    let label = answer.pointer("/metadata/labels").and_then(|labels| labels.get(policy_api::names::ATTEMPT));
    if label.and_then(serde_json::Value::as_str) != Some(delivery.claim.attempt_id.as_str()) {
        // Without it a lost answer could never be told from a lost request, and the create would be repeated.
        let sentence = "something in this cluster takes labels off Promotions, by which attempts are counted";
        let reason = "LabelLost".to_owned();
        return Err(No { reason, sentence: sentence.to_owned(), advice: Advice::Permanent, access: None });
    }
    let freight = delivery.attempt.freight.clone().unwrap_or_default();
    let account = host.requests.user(&key.project);
    kargo::compare(&stamped, &freight, delivery.attempt.expect, &account).map_err(|mismatch| No {
        reason: mismatch_word(&mismatch).to_owned(),
        sentence: mismatch.to_string(),
        advice: Advice::Permanent,
        access: (mismatch == Mismatch::ControlPlane).then_some(Access::ControlPlane),
    })
}

fn mismatch_word(mismatch: &Mismatch) -> &'static str {
    match mismatch {
        Mismatch::ControlPlane => reasons::CONTROL_PLANE_ACCOUNT,
        Mismatch::Actor { .. } => "OtherActor",
        Mismatch::Freight { .. } => "OtherFreight",
        Mismatch::WouldResume { .. } => "WouldLiftHold",
        Mismatch::WouldNotHold => "WouldNotHold",
    }
}

/// What an error answer to a create or its dry run means.
pub fn no_of(error: &RequestError) -> No {
    match error.status() {
        Some(status) => {
            let refusal = adapter::refusal(status);
            let said = policy_core::redact::shown(&status.message, 512);
            No {
                reason: format!("{refusal:?}"),
                sentence: format!("{}; Kargo says: {said}", refusal.sentence()),
                advice: refusal.advice(),
                access: None,
            }
        }
        None => No {
            reason: "NoAnswer".to_owned(),
            sentence: "the API server did not answer".to_owned(),
            advice: Advice::Repeat,
            access: None,
        },
    }
}
