//! Project and ProjectConfig, as read from the API server.
//!
//! In: JSON. Out: names, labels, promotion policies. A Project has no spec of its own; its namespace bears its name.

use std::collections::BTreeMap;

use kube::core::{ClusterResourceScope, NamespaceResourceScope, ObjectMeta};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// A Project (`api/v1alpha1/project_types.go`).
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Project {
    /// Names, labels.
    #[serde(default)]
    pub metadata: ObjectMeta,
}

super::resource!(Project, "kargo.akuity.io", "projects", ClusterResourceScope);

/// A ProjectConfig (`api/v1alpha1/project_config_types.go`), at most one per Project, named like it.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ProjectConfig {
    /// Names, labels.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What is configured.
    #[serde(default)]
    pub spec: ProjectConfigSpec,
}

super::resource!(ProjectConfig, "kargo.akuity.io", "projectconfigs", NamespaceResourceScope);

/// `spec`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProjectConfigSpec {
    /// In order; the first match wins.
    #[serde(default)]
    pub promotion_policies: Vec<PromotionPolicyText>,
}

/// One promotion policy.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PromotionPolicyText {
    /// An exact name, deprecated.
    #[serde(default)]
    pub stage: String,
    /// Which Stages.
    #[serde(default)]
    pub stage_selector: Option<SelectorText>,
    /// Whether Kargo promotes by itself.
    #[serde(default)]
    pub auto_promotion_enabled: bool,
    /// Present when Kargo Enterprise rolls back by itself.
    #[serde(default)]
    pub auto_rollback: Option<IgnoredAny>,
}

/// `stageSelector`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SelectorText {
    /// A name or pattern.
    #[serde(default)]
    pub name: String,
    /// Labels with exact values.
    #[serde(default)]
    pub match_labels: BTreeMap<String, String>,
    /// Label expressions.
    #[serde(default)]
    pub match_expressions: Vec<LabelRequirement>,
}

/// One label expression.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct LabelRequirement {
    /// The label.
    #[serde(default)]
    pub key: String,
    /// `In`, `NotIn`, `Exists`, `DoesNotExist`.
    #[serde(default)]
    pub operator: String,
    /// Values.
    #[serde(default)]
    pub values: Vec<String>,
}
