//! StageRecord: what must outlive incidents, one per Stage uid.
//!
//! In: what the controller learned about a Stage. Out: Rust values. Rebuilt from Promotion labels when lost, so
//! nothing is in here that could not be found again.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What must outlive the incidents of a Stage.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "refloat.dev",
    version = "v1alpha1",
    kind = "StageRecord",
    plural = "stagerecords",
    namespaced,
    shortname = "srec",
    category = "refloat",
    status = "StageRecordStatus",
    derive = "PartialEq",
    doc = "A StageRecord is what must outlive the Incidents of one Stage: its last good Freight, deliveries of the last 24 hours, faults of its policies, and since when it is sick.",
    printcolumn(name = "Stage", type_ = "string", json_path = ".spec.stage"),
    printcolumn(name = "Good", type_ = "string", json_path = ".status.lastGood[*].freight"),
    printcolumn(name = "Unhealthy", type_ = "date", json_path = ".status.health.unhealthySince"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("a StageRecord is about one Stage for ever"))]
pub struct StageRecordSpec {
    /// The Stage.
    #[schemars(length(min = 1, max = 253))]
    pub stage: String,
    /// Its uid.
    #[schemars(length(min = 1, max = 64))]
    pub stage_uid: String,
}

/// What was learned.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StageRecordStatus {
    /// The last good Freight of each origin.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub last_good: Vec<GoodFreight>,
    /// Deliveries of the last 24 hours, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub deliveries: Vec<Delivery>,
    /// Faults of policies in this Stage, newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub faults: Vec<FaultCount>,
    /// Since when the Stage is not healthy; Kargo's own times do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthTimers>,
}

/// Good Freight of one origin.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GoodFreight {
    /// The origin, as `Warehouse/name`.
    #[schemars(length(max = 320))]
    pub origin: String,
    /// The Freight.
    #[schemars(length(max = 253))]
    pub freight: String,
    /// The verification that says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub verification: Option<String>,
    /// When it was found good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
}

/// One delivery.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// When it was claimed.
    pub at: Time,
    /// The Incident.
    #[schemars(length(max = 253))]
    pub incident: String,
    /// The attempt's number in it.
    pub attempt: u32,
    /// What it was, such as `rollback`.
    #[schemars(length(max = 80))]
    pub kind: String,
    /// Its Promotion, once it was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub promotion: Option<String>,
    /// The Freight that it delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub freight: Option<String>,
}

/// Calls of one component with one set of settings (G23).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FaultCount {
    /// The component's digest.
    #[schemars(length(max = 80))]
    pub digest: String,
    /// Digest of its settings.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 80))]
    pub settings: String,
    /// Faults in a row; 0 right after an answer.
    pub count: u32,
    /// When the newest call was.
    pub last_at: Time,
    /// The newest fault: its kind and first line. Empty after an answer.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// Since when a Stage is not healthy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HealthTimers {
    /// Since when Kargo calls it Unhealthy without a break.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unhealthy_since: Option<Time>,
    /// Since when Kargo does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown_since: Option<Time>,
    /// Since when it is not well, whatever Kargo calls that meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sick_since: Option<Time>,
}
