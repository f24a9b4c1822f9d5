//! Promotion, as read from the API server.
//!
//! In: JSON. Out: a struct without step configurations: each step is reduced to what is read plus a digest,
//! so that a watch over many Promotions stays small.

use std::collections::BTreeMap;

use kube::core::{NamespaceResourceScope, ObjectMeta};
use policy_core::snapshot::ApplicationRef;
use serde::Deserialize;
use serde::de::Deserializer;
use serde_json::Value;

use super::digest;
use super::stage::{Collection, FreightReference, OriginText};
use super::time::{GoDuration, Moment};

/// A Promotion (`api/v1alpha1/promotion_types.go`).
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Promotion {
    /// Names, annotations, labels.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What is to be promoted.
    #[serde(default)]
    pub spec: PromotionSpec,
    /// Absent until a controller has seen the Promotion (kargo-live.md 0.8).
    #[serde(default)]
    pub status: Option<PromotionStatus>,
}

super::resource!(Promotion, "kargo.akuity.io", "promotions", NamespaceResourceScope);

/// `spec`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct PromotionSpec {
    /// The Stage.
    #[serde(default)]
    pub stage: String,
    /// The Freight.
    #[serde(default)]
    pub freight: String,
    /// `origin` of a request that the webhook has not resolved.
    #[serde(default)]
    pub origin: Option<OriginText>,
    /// Variables, Stage's first.
    #[serde(default)]
    pub vars: Vec<Value>,
    /// Steps, tasks inflated.
    #[serde(default)]
    pub steps: Vec<StepText>,
}

/// One step without its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepText {
    /// `as`.
    pub alias: String,
    /// `uses`; empty for a `task` step of a template.
    pub uses: String,
    /// `continueOnError`.
    pub continue_on_error: bool,
    /// `retry`.
    pub retry: StepRetry,
    /// Digest over the whole step but its alias.
    pub digest: [u8; 32],
    /// Argo CD Applications of `config.apps`.
    pub applications: Vec<ApplicationRef>,
}

/// `retry` of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepRetry {
    /// `errorThreshold`; absent means the step's own default, which is 1.
    #[serde(default)]
    pub error_threshold: Option<u32>,
    /// `timeout`; absent means the step's own default, `0s` that there is none.
    #[serde(default)]
    pub timeout: Option<GoDuration>,
}

impl<'de> Deserialize<'de> for StepText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut value = Value::deserialize(deserializer)?;
        let text =
            |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let alias = text(&value, "as");
        let uses = text(&value, "uses");
        let continue_on_error = value.get("continueOnError").and_then(Value::as_bool).unwrap_or_default();
        let retry = value.get("retry").map(StepRetry::deserialize).and_then(Result::ok).unwrap_or_default();
        if let Some(fields) = value.as_object_mut() {
            fields.remove("as");
        }
        let applications = if uses.starts_with("argocd-") { applications(&value) } else { Vec::new() };
        Ok(Self { alias, uses, continue_on_error, retry, digest: digest::of_value(&value), applications })
    }
}

/// The Applications that a step of Argo CD names. One that is chosen by labels, or whose name Kargo works out, is not
/// known here.
fn applications(step: &Value) -> Vec<ApplicationRef> {
    let apps = step.pointer("/config/apps").and_then(Value::as_array);
    apps.into_iter().flatten().filter_map(application).collect()
}

/// `{name, namespace}`, when both are plain texts.
pub(super) fn application(reference: &Value) -> Option<ApplicationRef> {
    let text = |key: &str| match reference.get(key) {
        None => Some(""),
        Some(value) => value.as_str().filter(|text| !text.contains("${{")),
    };
    let name = text("name").filter(|name| !name.is_empty())?.to_owned();
    Some(ApplicationRef { namespace: text("namespace")?.to_owned(), name })
}

/// `status`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PromotionStatus {
    /// Empty until Kargo has seen it.
    #[serde(default)]
    pub phase: String,
    /// For people.
    #[serde(default)]
    pub message: String,
    /// The promoted Freight, absent if it never started.
    #[serde(default)]
    pub freight: Option<FreightReference>,
    /// The combination that it was to establish.
    #[serde(default)]
    pub freight_collection: Option<Collection>,
    /// When it began.
    #[serde(default)]
    pub started_at: Option<Moment>,
    /// When it ended.
    #[serde(default)]
    pub finished_at: Option<Moment>,
    /// One entry per step reached.
    #[serde(default)]
    pub step_execution_metadata: Vec<StepResult>,
    /// Outputs by alias. May be large and may hold secrets: taken over only for aliases that may be captured.
    #[serde(default)]
    pub state: Option<BTreeMap<String, Value>>,
}

/// What became of one step.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepResult {
    /// Its alias.
    #[serde(default)]
    pub alias: String,
    /// Its status text.
    #[serde(default)]
    pub status: String,
    /// Its message.
    #[serde(default)]
    pub message: String,
    /// Errors that Kargo counted.
    #[serde(default)]
    pub error_count: u32,
    /// Whether its failure is tolerated.
    #[serde(default)]
    pub continue_on_error: bool,
    /// When it began.
    #[serde(default)]
    pub started_at: Option<Moment>,
    /// When it ended.
    #[serde(default)]
    pub finished_at: Option<Moment>,
}
