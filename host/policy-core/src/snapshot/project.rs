//! A Project with what its ProjectConfig says about its Stages.
//!
//! In: objects, converted by `policy-api`. Out: values. Nothing of a Stage's status is here: it lags behind.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::name::ProjectName;

/// A Project with its ProjectConfig.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProjectSnapshot {
    /// Its name.
    pub name: ProjectName,
    /// Labels of its namespace.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// `spec.promotionPolicies` of the ProjectConfig, in order; the first match wins
    /// (`pkg/api/auto_promotion.go`). Never read auto-promotion from Stage status: it lags (kargo-live.md 4).
    /// `None` when nobody knows whether there is a ProjectConfig.
    #[serde(default)]
    pub promotion_policies: Option<Vec<PromotionPolicy>>,
    /// `refloat.dev/ignore: "true"` on the namespace.
    #[serde(default)]
    pub ignored: bool,
}

/// One promotion policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PromotionPolicy {
    /// Which Stages.
    pub stages: StageSelector,
    /// Whether Kargo promotes by itself.
    #[serde(default)]
    pub auto_promotion: bool,
    /// Whether Kargo Enterprise rolls back by itself (`autoRollback` is set).
    #[serde(default)]
    pub auto_rollback: bool,
}

/// Which Stages are meant, by Kargo's conventions: a name, `glob:...`, `regex:...`, and labels, all of which must
/// match. Everything empty means every Stage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StageSelector {
    /// A name or pattern.
    pub name: Option<String>,
    /// Labels with exact values.
    #[serde(default)]
    pub match_labels: BTreeMap<String, String>,
    /// Label expressions: key, operator (`In`, `NotIn`, `Exists`, `DoesNotExist`), values.
    #[serde(default)]
    pub match_expressions: Vec<(String, String, Vec<String>)>,
}
