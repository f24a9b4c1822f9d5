//! Conditions in the Kubernetes style, their types and reasons as constants, and when one counts as changed.
//!
//! In: what a condition should say now. Out: the list of conditions with that said.
//! A transition time moves only when the status flips. Nothing here reads a clock.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use policy_core::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One aspect of an object's state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Which aspect, a CamelCase word.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 63))]
    pub type_: String,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Why, as one CamelCase word for programs.
    #[schemars(length(min = 1, max = 63))]
    pub reason: String,
    /// Why, as a sentence for people.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// When the status last changed.
    pub last_transition_time: Time,
    /// The generation of the spec that this was said about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It does.
    True,
    /// It does not.
    False,
    /// Not known.
    Unknown,
}

/// Types of condition.
pub mod types {
    /// The newest spec makes sense and is in force.
    pub const ACCEPTED: &str = "Accepted";
    /// Everything that it needs is there.
    pub const READY: &str = "Ready";
    /// Every policy of the chain may be asked.
    pub const ANSWERING: &str = "Answering";
    /// Another object claims the same with the same priority.
    pub const CONFLICT: &str = "Conflict";
    /// The Project's account may do what Enforce needs.
    pub const WRITE_ACCESS: &str = "WriteAccess";
    /// There is room for further records.
    pub const SPACE: &str = "Space";
    /// A Kargo of a minor that we speak is there.
    pub const KARGO_KNOWN: &str = "KargoKnown";
}

/// Reasons of conditions.
pub mod reasons {
    /// Nothing is wrong.
    pub const ACCEPTED: &str = "Accepted";
    /// A chain names a module that does not exist.
    pub const MODULE_NOT_FOUND: &str = "ModuleNotFound";
    /// A module exists and is not ready.
    pub const MODULE_NOT_READY: &str = "ModuleNotReady";
    /// Settings do not fit the module's schema.
    pub const INVALID_SETTINGS: &str = "InvalidSettings";
    /// A module may return actions that the policy or the platform does not allow.
    pub const ACTION_NOT_ALLOWED: &str = "ActionNotAllowed";
    /// The platform does not let Projects bring modules.
    pub const PROJECT_MODULES_FORBIDDEN: &str = "ProjectModulesForbidden";
    /// A channel is named that the policy does not declare.
    pub const UNKNOWN_CHANNEL: &str = "UnknownChannel";
    /// Some other field cannot be read.
    pub const INVALID_SPEC: &str = "InvalidSpec";
    /// The Stage selector matches no Stage.
    pub const NO_STAGE_MATCHES: &str = "NoStageMatches";
    /// The Project selector matches no Project.
    pub const NO_PROJECT_MATCHES: &str = "NoProjectMatches";
    /// Ready.
    pub const READY: &str = "Ready";
    /// There is room.
    pub const ENOUGH: &str = "Enough";
    /// There is hardly any room.
    pub const NEARLY_FULL: &str = "NearlyFull";
    /// Every policy answers.
    pub const ANSWERS: &str = "Answers";
    /// A policy of the chain gave no answer too often in a row.
    pub const POLICY_DISABLED: &str = "PolicyDisabled";
    /// Equal priorities for one Stage.
    pub const SAME_PRIORITY: &str = "SamePriority";
    /// No tie.
    pub const NO_CONFLICT: &str = "NoConflict";
    /// The account has every right it needs.
    pub const GRANTED: &str = "Granted";
    /// The account lacks a right.
    pub const VERB_MISSING: &str = "VerbMissing";
    /// The account matches Kargo's control-plane pattern.
    pub const CONTROL_PLANE_ACCOUNT: &str = "ControlPlaneAccount";
    /// This is a Kargo whose fields we know.
    pub const KARGO_KNOWN: &str = "KargoKnown";
    /// Nobody knows which Kargo this is, or it lacks what we rely on.
    pub const KARGO_UNKNOWN: &str = "KargoUnknown";
    /// The component could not be loaded.
    pub const LOAD_FAILED: &str = "LoadFailed";
    /// The bytes are not those of the pinned digest.
    pub const DIGEST_MISMATCH: &str = "DigestMismatch";
    /// The source is not offered by this version.
    pub const SOURCE_NOT_SUPPORTED: &str = "SourceNotSupported";
    /// The source is not there.
    pub const SOURCE_NOT_FOUND: &str = "SourceNotFound";
}

/// What a condition should say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Which aspect, of [`types`].
    pub type_: &'static str,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Why, of [`reasons`].
    pub reason: &'static str,
    /// Why, for people; cut to 1024 characters.
    pub message: String,
}

impl Statement {
    /// It holds.
    pub fn yes(type_: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { type_, status: ConditionStatus::True, reason, message: message.into() }
    }

    /// It does not hold.
    pub fn no(type_: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { type_, status: ConditionStatus::False, reason, message: message.into() }
    }

    /// Whether somebody has to do something about it.
    pub fn is_bad(&self) -> bool {
        let good = if self.type_ == types::CONFLICT { ConditionStatus::False } else { ConditionStatus::True };
        self.status != good && self.status != ConditionStatus::Unknown
    }

    /// Nobody knows.
    pub fn unknown(type_: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { type_, status: ConditionStatus::Unknown, reason, message: message.into() }
    }
}

/// Says `statement` in `conditions`. The transition time moves only when the status flips, so that a repeated
/// statement changes nothing and needs no write.
pub fn set(conditions: &mut Vec<Condition>, statement: Statement, generation: Option<i64>, now: Timestamp) {
    let old = conditions.iter().find(|condition| condition.type_ == statement.type_);
    let since = old
        .filter(|old| old.status == statement.status)
        .map_or_else(|| crate::convert::time(now), |old| old.last_transition_time.clone());
    let condition = Condition {
        type_: statement.type_.to_owned(),
        status: statement.status,
        reason: statement.reason.to_owned(),
        message: crate::convert::cut(&statement.message, 1024),
        last_transition_time: since,
        observed_generation: generation,
    };
    match conditions.iter_mut().find(|old| old.type_ == condition.type_) {
        Some(old) => *old = condition,
        None => conditions.push(condition),
    }
}

/// Whether `conditions` say that `type_` holds.
pub fn holds(conditions: &[Condition], type_: &str) -> bool {
    conditions.iter().any(|condition| condition.type_ == type_ && condition.status == ConditionStatus::True)
}
