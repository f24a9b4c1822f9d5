//! Labels, annotations and names of objects, in one place, because other programs rely on them.
//!
//! In: identities. Out: texts that an API server accepts. A changed value here orphans every object of the release
//! before it: [`INCIDENT`] and [`ATTEMPT`] are how a lost claim finds its Promotion.

use crate::kargo::keys;
use policy_core::name::{FailureId, IncidentName, StageName, Uid};
use sha2::{Digest, Sha256};

/// Label on Promotions, DecisionRecords and Events: the Incident's name.
pub const INCIDENT: &str = keys::INCIDENT;
/// Annotation: the channel that an Event is a message for, when its sender named one.
pub const CHANNEL: &str = "refloat.dev/channel";
/// Label on Promotions: the attempt's id. A list by it, without resourceVersion, says what was created.
pub const ATTEMPT: &str = "refloat.dev/attempt";
/// Label on Promotions: what the delivery is, such as `retry` or `rollback`.
pub const KIND: &str = "refloat.dev/kind";
/// Annotation on Promotions: the DecisionRecord that says why.
pub const DECISION: &str = "refloat.dev/decision";
/// Label on our own objects: the Stage's name, cut to 63 characters.
pub const STAGE: &str = "refloat.dev/stage";
/// Annotation on DecisionRecords: how many bytes they had when they were written, so that nobody reads them for it.
pub const BYTES: &str = "refloat.dev/bytes";
/// Annotation of the Lease: until when a leader is known to have watched, RFC 3339.
pub const WATCHED: &str = "refloat.dev/watched-until";
/// Annotation on a namespace, Stage or Promotion: `"true"` keeps Refloat away from it (G25).
pub const IGNORE: &str = keys::IGNORE;

/// Kargo: `"true"` marks a Promotion as a rollback; other spellings count as no (kargo-live.md 4).
pub const KARGO_ROLLBACK: &str = keys::ROLLBACK;
/// Kargo: any new text makes the controller look at an object again.
pub const KARGO_REFRESH: &str = keys::REFRESH;
/// Kargo: asks for a verification; a text that is no verification's id makes the next first one a fresh one
/// (kargo-live.md 5).
pub const KARGO_REVERIFY: &str = keys::REVERIFY;
/// Kargo: who created a Promotion; absent when it was the control plane.
pub const KARGO_CREATE_ACTOR: &str = keys::CREATE_ACTOR;
/// Kargo: the origin whose auto-promotion this Promotion holds.
pub const KARGO_HOLD: &str = keys::HOLD;
/// Kargo: the origin whose hold this Promotion lifts.
pub const KARGO_RESUME: &str = keys::RESUME;

/// `generateName` of Promotions. Kargo's webhook gives the real name.
pub const GENERATE_NAME: &str = "refloat-";
/// What our reverify tokens start with. Verification ids are UUIDs, so none of them does.
pub const REVERIFY_TOKEN: &str = "refloat-";

/// The name of the Incident of this failure: the same in every process, so that a second create is a conflict.
pub fn incident_name(stage: &StageName, failure: &FailureId) -> IncidentName {
    IncidentName::new(object_name(stage.as_str(), &[failure.as_str()]))
}

/// The name of the DecisionRecord of an incident's `number`-th decision.
pub fn record_name(incident: &IncidentName, stage: &StageName, number: u32) -> String {
    object_name(stage.as_str(), &[incident.as_str(), "decision", &number.to_string()])
}

/// The name of a Stage's StageRecord.
pub fn stage_record_name(stage: &StageName, uid: &Uid) -> String {
    object_name(stage.as_str(), &[uid.as_str()])
}

/// The value of the label [`ATTEMPT`]: at most 63 characters and different for every attempt of every incident.
pub fn attempt_id(incident: &IncidentName, number: u32) -> String {
    format!("{incident}-{number}")
}

/// The reverify token of an attempt: a text that is no verification's id.
pub fn reverify_token(attempt_id: &str) -> String {
    format!("{REVERIFY_TOKEN}{attempt_id}")
}

/// The refresh token of an incident: each asks for one at most.
pub fn refresh_token(incident: &IncidentName) -> String {
    format!("refloat-{incident}")
}

/// A text as a label's value: 63 characters at most, ending in a letter or digit.
pub fn label_value(text: &str) -> String {
    cut(text, 63)
}

/// `<stage, cut to 40>-<hash10>`: readable, at most 51 characters, different for different `parts`.
fn object_name(stage: &str, parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    hash.update(stage.as_bytes());
    for part in parts {
        hash.update([0]);
        hash.update(part.as_bytes());
    }
    let digits = hex::encode(hash.finalize());
    format!("{}-{}", cut(stage, 40), digits.get(..10).unwrap_or_default())
}

/// The first `n` characters of a name, without a separator at the end.
fn cut(text: &str, n: usize) -> String {
    let cut: String = text.chars().take(n).collect();
    cut.trim_end_matches(['-', '.', '_']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_stable_and_short() {
        let stage = StageName::new("a-very-long-stage-name-that-goes-on-and-on-for-ever");
        let name = incident_name(&stage, &FailureId::new("promotion/uid"));
        assert_eq!(name.as_str(), "a-very-long-stage-name-that-goes-on-and-198a5c4e01");
        assert_ne!(name, incident_name(&stage, &FailureId::new("promotion/uid2")));
        assert!(attempt_id(&name, u32::MAX).len() <= 63);
    }

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(object_name("a", &["b", "c"]), object_name("a", &["bc"]));
    }
}
