//! Incident: a failure and every attempt to repair it, the unit of consistency of the claim protocol.
//!
//! In: what the controller knows. Out: Rust values; `crate::convert` turns them into the core's state and back.
//! The spec is the identity and never changes; everything that happens is in the status.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::condition::Condition;
use super::failure_policy::AcceptedModule;

/// A failure and every attempt to repair it.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "refloat.dev",
    version = "v1alpha1",
    kind = "Incident",
    plural = "incidents",
    namespaced,
    shortname = "inc",
    category = "refloat",
    status = "IncidentStatus",
    derive = "PartialEq",
    doc = "An Incident is one failure of a Stage and every attempt to repair it, until it ends. Only the controller writes Incidents; deleting one gives no new budget.",
    printcolumn(name = "Stage", type_ = "string", json_path = ".spec.failure.stage"),
    printcolumn(name = "Trigger", type_ = "string", json_path = ".spec.failure.trigger"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Resolution", type_ = "string", json_path = ".status.closed.resolution"),
    printcolumn(name = "Retries", type_ = "integer", json_path = ".status.spent.retries"),
    printcolumn(name = "Rollbacks", type_ = "integer", json_path = ".status.spent.rollbacks"),
    printcolumn(name = "Next", type_ = "date", json_path = ".status.timer.nextAt", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.closed.message", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("the identity of an Incident never changes"))]
pub struct IncidentSpec {
    /// The failure that opened it.
    pub failure: FailureRecord,
    /// The policy that rules it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyRef>,
}

/// One observed failure.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailureRecord {
    /// Its identity: the same signal has the same id in every process.
    #[schemars(length(min = 1, max = 512))]
    pub id: String,
    /// Which kind of signal, such as `promotion-failed`.
    #[schemars(length(min = 1, max = 40))]
    pub trigger: String,
    /// The Project.
    #[schemars(length(min = 1, max = 63))]
    pub project: String,
    /// The Stage.
    #[schemars(length(min = 1, max = 253))]
    pub stage: String,
    /// The Stage's uid; a Stage made anew under the old name is another Stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub stage_uid: Option<String>,
    /// The Promotion that failed, or that delivered what was verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub promotion: Option<String>,
    /// The Promotion's uid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub promotion_uid: Option<String>,
    /// The verification that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub verification: Option<String>,
    /// When it happened, by Kargo's word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
    /// There when a person ended it; nothing automatic follows such a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_abort: Option<UserAbortRecord>,
    /// One line for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 2048))]
    pub summary: String,
}

/// A person ended a Promotion or a verification.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserAbortRecord {
    /// Who, as Kargo records it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub actor: Option<String>,
}

/// The policy that rules an incident.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyRef {
    /// FailurePolicy or ClusterFailurePolicy.
    #[schemars(length(min = 1, max = 32))]
    pub kind: String,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its uid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub uid: Option<String>,
}

/// Everything that happened since.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IncidentStatus {
    /// Where it stands.
    #[serde(default)]
    pub state: IncidentPhase,
    /// When it was opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened_at: Option<Time>,
    /// The failure that is being handled now: the first one, or that of the newest attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<FailureRecord>,
    /// Deliveries that were claimed, oldest first. A claim spends the budget, whatever comes of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub attempts: Vec<AttemptRecord>,
    /// How much of the budgets is spent.
    #[serde(default)]
    pub spent: Spent,
    /// The failure that the policy was asked about last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub decided: Option<String>,
    /// Id of the rule that read that failure: Stages with the same one may have the same cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub rule: Option<String>,
    /// A delivery that was decided on and waits for its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<PendingRecord>,
    /// When the policy is asked again, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timer: Option<Timer>,
    /// Keys of messages that were sent, so that none is sent twice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), inner(length(max = 512)))]
    pub sent: Vec<String>,
    /// What each chain entry wants to be given back, by its place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub chain_states: Vec<ChainState>,
    /// Decisions, oldest first, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub decisions: Vec<DecisionSummary>,
    /// How many decisions were made, which numbers the next one.
    #[serde(default)]
    pub decisions_total: u32,
    /// The policy as it was when the incident was opened; it stays in force for this incident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<AcceptedPolicy>,
    /// The refresh of the Stage that was asked for, so that Kargo looks at it once more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<RefreshRecord>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<ClosedRecord>,
    /// Conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub conditions: Vec<Condition>,
}

/// Where an incident stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum IncidentPhase {
    /// Opened; Kargo has not caught up, or the policy was not asked yet.
    #[default]
    Open,
    /// Nothing to do before a time.
    Waiting,
    /// A delivery is claimed or under way.
    Delivering,
    /// Over.
    Closed,
}

/// One delivery that was claimed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttemptRecord {
    /// 1 for the first.
    pub number: u32,
    /// What it is, such as `retry` or `rollback`.
    #[schemars(length(min = 1, max = 80))]
    pub kind: String,
    /// The Freight that it delivers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub freight: Option<String>,
    /// Where that Freight comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 320))]
    pub origin: Option<String>,
    /// When it was claimed.
    pub claimed_at: Time,
    /// No request is sent after this time; a successor waits beyond it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_before: Option<Time>,
    /// Value of the label `refloat.dev/attempt` on its Promotion.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 63))]
    pub attempt_id: String,
    /// The DecisionRecord that says why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub decision_record: Option<String>,
    /// How often it was claimed: more than once only after a crash or a lost answer.
    #[serde(default)]
    pub claims: u32,
    /// What Kargo's admission must say about holds: `must-hold`, `must-not-resume` or `any`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 32))]
    pub expect: String,
    /// The Promotion, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub promotion: Option<String>,
    /// The policy's reason for it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub reason: String,
    /// What became of it: pending, succeeded, failed, aborted, superseded, observed, or refused or postponed with
    /// the guardrail's id, such as `refused:G7`.
    #[schemars(length(min = 1, max = 128))]
    pub outcome: String,
    /// What Kargo said, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// How much of the budgets is spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Spent {
    /// Retries.
    #[serde(default)]
    pub retries: u32,
    /// Rollbacks.
    #[serde(default)]
    pub rollbacks: u32,
    /// Retries, rollbacks and recoveries.
    #[serde(default)]
    pub deliveries: u32,
}

/// A delivery that was decided on and waits for its time. It spends nothing until it is claimed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PendingRecord {
    /// Not before this time.
    pub at: Time,
    /// The action, as the policy gave it.
    #[schemars(schema_with = "super::policy_body::free_object")]
    pub action: Value,
    /// The DecisionRecord that says why.
    #[schemars(length(max = 253))]
    pub decision_record: String,
    /// What the decision saw in the Stage; it is carried out only while that still holds.
    #[serde(default)]
    pub seen: SeenRecord,
}

/// What a decision depends on in the Stage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SeenRecord {
    /// The last Promotion that the Stage had recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub last_promotion: Option<String>,
    /// Kargo's id of the Freight that the Stage held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub collection: Option<String>,
    /// Its newest verification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub verification: Option<String>,
}

/// When something is due.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Timer {
    /// When.
    pub next_at: Time,
    /// What is waited for.
    #[schemars(length(max = 1024))]
    pub cause: String,
    /// Whether a policy asked for the wait and is told that it is over. Otherwise a delivery was put off, and the policies are
    /// asked about the failure anew.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_policy: bool,
}

/// A refresh of the Stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefreshRecord {
    /// When it was asked for.
    pub at: Time,
    /// Value of the annotation `kargo.akuity.io/refresh`.
    #[schemars(length(max = 128))]
    pub token: String,
}

/// What a chain entry wants to be given back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChainState {
    /// The text; absent when it wants nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub state: Option<String>,
}

/// One decision in short.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecisionSummary {
    /// When.
    pub at: Time,
    /// What the policy was asked about.
    #[schemars(length(min = 1, max = 40))]
    pub trigger: String,
    /// The host's reading of the failure then.
    #[schemars(length(min = 1, max = 40))]
    pub class: String,
    /// Its actions and what became of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub actions: Vec<ActionSummary>,
}

/// One action in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActionSummary {
    /// What it is.
    #[schemars(length(min = 1, max = 80))]
    pub kind: String,
    /// What became of it, in the words of an attempt's `outcome`.
    #[schemars(length(min = 1, max = 128))]
    pub outcome: String,
}

/// The policy as it was when the incident was opened.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AcceptedPolicy {
    /// The generation that was in force.
    pub generation: i64,
    /// SHA-256 over the settings of its chain.
    #[schemars(length(max = 80))]
    pub settings_digest: String,
    /// The modules of its chain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub modules: Vec<AcceptedModule>,
    /// The spec itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::policy_body::free_object")]
    pub spec: Option<Value>,
    /// The bounds that came of it together with the platform's caps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::policy_body::free_object")]
    pub rules: Option<Value>,
}

/// How an incident ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClosedRecord {
    /// When.
    pub at: Time,
    /// How: Recovered, RolledBack, Accepted, Observed, Superseded, Exhausted, HandedOff, StageGone or Expired.
    #[schemars(length(min = 1, max = 32))]
    pub resolution: String,
    /// One CamelCase word more, such as `NoGoodFreight`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 63))]
    pub reason: String,
    /// A sentence for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 2048))]
    pub message: String,
}
