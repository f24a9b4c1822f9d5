//! DecisionRecord: one decision with everything that it takes to make it again.
//!
//! In: what `crate::record` built. Out: Rust values. The spec never changes; what became of the actions is in the
//! status. A record can hold what a failure said, so it is not part of the `view` role.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::policy_body::Mode;

/// One decision with everything that it takes to make it again.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "refloat.dev",
    version = "v1alpha1",
    kind = "DecisionRecord",
    plural = "decisionrecords",
    namespaced,
    shortname = "drec",
    category = "refloat",
    status = "DecisionRecordStatus",
    derive = "PartialEq",
    doc = "A DecisionRecord is one decision: the context as the policy saw it, what was answered, what the guardrails said, and what was planned. `refloat replay` makes the decision again from it.",
    printcolumn(name = "Incident", type_ = "string", json_path = ".spec.incident"),
    printcolumn(name = "Stage", type_ = "string", json_path = ".spec.stage"),
    printcolumn(name = "Number", type_ = "integer", json_path = ".spec.number"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(name = "Fault", type_ = "string", json_path = ".spec.fault.kind"),
    printcolumn(name = "Explanation", type_ = "string", json_path = ".spec.explanation", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("a DecisionRecord never changes"))]
pub struct DecisionRecordSpec {
    /// The Incident that it belongs to.
    #[schemars(length(min = 1, max = 253))]
    pub incident: String,
    /// The Stage.
    #[schemars(length(min = 1, max = 253))]
    pub stage: String,
    /// 1 for the incident's first decision.
    #[schemars(range(min = 1))]
    pub number: u32,
    /// How far the host went.
    pub mode: Mode,
    /// What the component engine was, limits included: equal ids give equal answers and equal fuel.
    #[schemars(length(max = 128))]
    pub engine_id: String,
    /// The context as JSON, compressed by gzip, as base64. Empty when it was too large; see `truncated`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 65536))]
    pub context_gz: String,
    /// SHA-256 over the context's JSON, there even when the context itself is not.
    #[schemars(length(max = 80))]
    pub context_digest: String,
    /// What each entry of the chain was given and said, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub entries: Vec<EntryRecord>,
    /// The decision that the chain came to, as JSON text; absent when every entry passed or one failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 131072))]
    pub decision: Option<String>,
    /// The decision's own words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 2048))]
    pub explanation: String,
    /// How a guest failed, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<FaultRecord>,
    /// What the guardrails said about each action.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "super::policy_body::free_objects")]
    pub verdicts: Vec<Value>,
    /// What was to be written, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "super::policy_body::free_objects")]
    pub planned_writes: Vec<Value>,
    /// Fields that were too large and left out or cut. A record with `context` or `decision` here cannot be
    /// replayed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 64)))]
    pub truncated: Vec<String>,
}

/// What one entry of the chain was given and said.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EntryRecord {
    /// Its name in the chain.
    #[schemars(length(max = 63))]
    pub name: String,
    /// What the FailurePolicy names there, such as `builtin:retry-transient`.
    #[schemars(length(max = 320))]
    pub module: String,
    /// The component's own name and version, such as `retry-transient 1.0.0`.
    #[schemars(length(max = 160))]
    pub policy: String,
    /// The component's digest.
    #[schemars(length(max = 80))]
    pub digest: String,
    /// Settings as the entry got them: JSON text, defaults filled in, durations in seconds.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 32768))]
    pub settings: String,
    /// What it had asked to be given back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub state: Option<String>,
    /// What it said.
    #[serde(default)]
    pub said: Said,
    /// Its answer as JSON text; absent when it was skipped or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 131072))]
    pub answer: Option<String>,
    /// How much fuel it used, as decimal text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 24))]
    pub fuel: String,
}

/// What an entry of a chain said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Said {
    /// It was not asked: an earlier decider had decided, or it does not want this trigger.
    #[default]
    Skipped,
    /// No opinion.
    Pass,
    /// A decision.
    Decision,
    /// Nothing usable.
    Fault,
}

/// How a guest failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FaultRecord {
    /// The chain entry.
    #[schemars(length(max = 63))]
    pub entry: String,
    /// Which kind, such as `out-of-fuel`.
    #[schemars(length(max = 40))]
    pub kind: String,
    /// The first line for people.
    #[schemars(length(max = 2048))]
    pub message: String,
    /// Whether the same call would end the same way on another machine.
    pub reproducible: bool,
    /// The guest's last log lines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 1024)))]
    pub log: Vec<String>,
}

/// What became of the decision.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecisionRecordStatus {
    /// What became of each action.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub outcomes: Vec<ActionOutcome>,
}

/// What became of one action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActionOutcome {
    /// Id of the action in the decision.
    #[schemars(length(max = 128))]
    pub action: String,
    /// In the words of an attempt's `outcome`.
    #[schemars(length(max = 128))]
    pub outcome: String,
    /// A sentence for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
}
