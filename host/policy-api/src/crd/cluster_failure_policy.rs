//! ClusterFailurePolicy: the platform's default for Projects, and what no Project can go beyond.
//!
//! In: YAML of a platform team. Out: Rust values. Caps of all matching objects intersect; a Project can only tighten.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::condition::Condition;
use super::policy_body::PolicyBody;
use super::selector::Selector;

/// The platform's default and its caps for the selected Projects.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "refloat.dev",
    version = "v1alpha1",
    kind = "ClusterFailurePolicy",
    plural = "clusterfailurepolicies",
    shortname = "cfpol",
    category = "refloat",
    status = "ClusterFailurePolicyStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "A ClusterFailurePolicy is the platform's word on failures: a default for Stages that no FailurePolicy selects, and caps that no Project can lift.",
    printcolumn(name = "Priority", type_ = "integer", json_path = ".spec.priority"),
    printcolumn(name = "Modules", type_ = "string", json_path = ".spec.caps.projectModules"),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Accepted\")].status"
    ),
    printcolumn(name = "Projects", type_ = "integer", json_path = ".status.projectsTotal"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.default) || has(self.caps)").message("give at least one of default and caps"))]
pub struct ClusterFailurePolicySpec {
    /// Which default counts when several objects select a Project: the highest number. Caps of all of them count.
    #[serde(default)]
    #[schemars(range(min = -1000, max = 1000))]
    pub priority: i32,
    /// Which Projects, by name and by the labels of their namespaces; absent or empty means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_selector: Option<Selector>,
    /// What happens in Stages that no FailurePolicy of their Project selects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<PolicyBody>,
    /// What no FailurePolicy can go beyond.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caps: Option<Caps>,
}

/// What no FailurePolicy can go beyond. An absent field sets no cap.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Caps {
    /// Actions that may be allowed at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 32),
        inner(length(max = 80), regex(pattern = "^[a-z]+(-[a-z]+)*(:[a-z0-9.-]+)?$"))
    )]
    pub actions: Option<Vec<String>>,
    /// Most retries per incident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10))]
    pub retries: Option<u32>,
    /// Most rollbacks per incident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub rollbacks: Option<u32>,
    /// Most retries, rollbacks and recoveries of one Stage within 24 hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 60))]
    pub deliveries: Option<u32>,
    /// No failure older than this is acted upon, whatever a FailurePolicy says, such as `1h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 20), regex(pattern = "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$"))]
    pub max_failure_age: Option<String>,
    /// Whether Projects may bring modules of their own.
    #[serde(default)]
    pub project_modules: ProjectModules,
    /// Hosts that messages may be sent to; absent means any that a channel names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(max = 253)))]
    pub hosts: Option<Vec<String>>,
    /// Registries that modules may come from; absent means any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(max = 253)))]
    pub registries: Option<Vec<String>>,
}

/// Whether Projects may bring modules of their own. In order of strictness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum ProjectModules {
    /// No.
    #[default]
    Forbidden,
    /// Only signed ones.
    Signed,
    /// Any.
    Allowed,
}

/// What the controller says about it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterFailurePolicyStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The default that is in force: the last acceptable one, which may be older than the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<super::failure_policy::Accepted>,
    /// How many Projects it selects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projects_total: Option<u32>,
    /// Accepted, Ready and Conflict.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub conditions: Vec<Condition>,
}
