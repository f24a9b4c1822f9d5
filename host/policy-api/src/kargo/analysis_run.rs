//! AnalysisRun of Argo Rollouts, as read from the API server.
//!
//! In: JSON. Out: the verdict of each metric with its newest measurements, nothing of the spec.

use kube::core::{NamespaceResourceScope, ObjectMeta};
use serde::Deserialize;

use super::time::Moment;

/// An AnalysisRun (`api/stubs/rollouts/v1alpha1/analysis_types.go`).
#[derive(Clone, Debug, Default, Deserialize)]
pub struct AnalysisRun {
    /// Names, labels.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What came out of it.
    #[serde(default)]
    pub status: Option<AnalysisRunStatus>,
}

super::resource!(AnalysisRun, "argoproj.io", "analysisruns", NamespaceResourceScope);

/// `status`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AnalysisRunStatus {
    /// Its phase.
    #[serde(default)]
    pub phase: String,
    /// Its message.
    #[serde(default)]
    pub message: String,
    /// When it began.
    #[serde(default)]
    pub started_at: Option<Moment>,
    /// When it ended.
    #[serde(default)]
    pub completed_at: Option<Moment>,
    /// Its metrics.
    #[serde(default)]
    pub metric_results: Vec<MetricResult>,
}

/// One metric.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricResult {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Its phase.
    #[serde(default)]
    pub phase: String,
    /// Its message.
    #[serde(default)]
    pub message: String,
    /// All measurements.
    #[serde(default)]
    pub count: u32,
    /// Good ones.
    #[serde(default)]
    pub successful: u32,
    /// Bad ones.
    #[serde(default)]
    pub failed: u32,
    /// Those without a verdict.
    #[serde(default)]
    pub inconclusive: u32,
    /// Those that could not be taken.
    #[serde(default)]
    pub error: u32,
    /// Whether it counts.
    #[serde(default)]
    pub dry_run: bool,
    /// Measurements, oldest first.
    #[serde(default)]
    pub measurements: Vec<MeasurementText>,
}

/// One measurement.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeasurementText {
    /// Its phase.
    #[serde(default)]
    pub phase: String,
    /// Its message.
    #[serde(default)]
    pub message: String,
    /// Its value.
    #[serde(default)]
    pub value: String,
    /// When it was taken.
    #[serde(default)]
    pub finished_at: Option<Moment>,
}
