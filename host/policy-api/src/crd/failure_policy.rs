//! FailurePolicy: what a Project wants to happen when something fails in its Stages.
//!
//! In: YAML of a Project team. Out: Rust values. The status is the controller's word: what is in force, where, and why
//! not if it is not.

use kube::CustomResource;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::condition::Condition;
use super::policy_body::{Mode, PolicyBody};
use super::selector::Selector;

/// What happens when something fails in the selected Stages of this Project.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "refloat.dev",
    version = "v1alpha1",
    kind = "FailurePolicy",
    plural = "failurepolicies",
    namespaced,
    shortname = "fpol",
    category = "refloat",
    status = "FailurePolicyStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "A FailurePolicy says what happens when a Promotion or a verification fails in the selected Stages of its Project: which modules are asked, what they may do, and how far Refloat goes.",
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(name = "Priority", type_ = "integer", json_path = ".spec.priority"),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Accepted\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Accepted\")].reason"
    ),
    printcolumn(name = "Stages", type_ = "integer", json_path = ".status.stagesTotal"),
    printcolumn(
        name = "Writes",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"WriteAccess\")].status",
        priority = 1
    ),
    printcolumn(
        name = "Conflict",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Conflict\")].status",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct FailurePolicySpec {
    /// Which policy rules a Stage that several select: the highest number. Equal numbers are a conflict, and the
    /// Stage is only observed.
    #[serde(default)]
    #[schemars(range(min = -1000, max = 1000))]
    pub priority: i32,
    /// Which Stages; absent or empty means all Stages of the Project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage_selector: Option<Selector>,
    /// What happens there.
    #[serde(flatten)]
    pub body: PolicyBody,
}

/// What is in force, and where.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailurePolicyStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What is in force: the last spec that was acceptable, which may be older than the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Accepted>,
    /// The Stages that this policy rules, in order of their names; at most 256 are listed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub matched_stages: Vec<MatchedStage>,
    /// How many Stages it rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stages_total: Option<u32>,
    /// Accepted, Ready, Conflict, WriteAccess, KargoKnown, Answering and Space.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub conditions: Vec<Condition>,
}

/// A spec that was acceptable, kept so that it stays in force while a newer one is not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// Its generation.
    pub generation: i64,
    /// The spec itself.
    #[schemars(schema_with = "super::policy_body::free_object")]
    pub spec: Value,
    /// SHA-256 over the settings of the chain, as `sha256:` and 64 hexadecimal digits.
    #[schemars(length(max = 80))]
    pub settings_digest: String,
    /// The modules of the chain as they were found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub modules: Vec<AcceptedModule>,
    /// The bounds that came of it together with the platform's caps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::policy_body::free_object")]
    pub rules: Option<Value>,
}

/// A module as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AcceptedModule {
    /// The chain entry.
    #[schemars(length(max = 63))]
    pub entry: String,
    /// The component's digest.
    #[schemars(length(max = 80))]
    pub digest: String,
}

/// A Stage that a policy rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MatchedStage {
    /// The Stage.
    #[schemars(length(max = 253))]
    pub name: String,
    /// How far Refloat really goes there, which may be less than the policy says.
    pub mode: Mode,
    /// What the Project's account would need for Enforce and does not have, such as `promote stages/prod`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 320)))]
    pub missing_verbs: Vec<String>,
}

impl Accepted {
    /// The default that is in force, when this is what a ClusterFailurePolicy keeps.
    pub fn body(&self) -> Option<PolicyBody> {
        serde_json::from_value(self.spec.clone()).ok()
    }

    /// The spec that is in force; `None` when it was written by a version whose specs this one cannot read.
    pub fn spec(&self) -> Option<FailurePolicySpec> {
        serde_json::from_value(self.spec.clone()).ok()
    }
}
