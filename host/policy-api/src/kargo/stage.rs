//! Stage, as read from the API server.
//!
//! In: JSON. Out: a struct without health check outputs and without the copies of Promotion statuses that Kargo
//! embeds. Of conditions only the text of an error is read, for people: none of them may decide anything
//! (kargo-api.md 9, pitfall 10).

use std::collections::BTreeMap;

use kube::core::{NamespaceResourceScope, ObjectMeta};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::promotion::StepText;
use super::time::{GoDuration, Moment};

/// A Stage (`api/v1alpha1/stage_types.go`).
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Stage {
    /// Names, annotations, labels.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What it requests and how it promotes.
    #[serde(default)]
    pub spec: StageSpec,
    /// What Kargo has seen.
    #[serde(default)]
    pub status: Option<StageStatus>,
}

super::resource!(Stage, "kargo.akuity.io", "stages", NamespaceResourceScope);

/// `spec`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StageSpec {
    /// Which controller serves it.
    #[serde(default)]
    pub shard: Option<String>,
    /// Variables.
    #[serde(default)]
    pub vars: Vec<Value>,
    /// What it requests.
    #[serde(default)]
    pub requested_freight: Vec<RequestText>,
    /// How it promotes.
    #[serde(default)]
    pub promotion_template: Option<PromotionTemplate>,
    /// Present when it verifies.
    #[serde(default)]
    pub verification: Option<IgnoredAny>,
}

/// One entry of `requestedFreight`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct RequestText {
    /// Where from.
    #[serde(default)]
    pub origin: OriginText,
    /// Under which conditions.
    #[serde(default)]
    pub sources: SourcesText,
}

/// `sources` of a request.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourcesText {
    /// Straight from the Warehouse.
    #[serde(default)]
    pub direct: bool,
    /// Upstream Stages.
    #[serde(default)]
    pub stages: Vec<String>,
    /// How long Freight must have been there.
    #[serde(default)]
    pub required_soak_time: Option<GoDuration>,
    /// `All`, `OneOf` or empty, which means `OneOf`.
    #[serde(default)]
    pub availability_strategy: String,
    /// What auto-promotion chooses.
    #[serde(default)]
    pub auto_promotion_options: Option<AutoPromotionText>,
}

/// `autoPromotionOptions` of a request.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AutoPromotionText {
    /// `NewestFreight`, `MatchUpstream` or empty, which means the first.
    #[serde(default)]
    pub selection_policy: String,
}

/// Kind and name of where Freight comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct OriginText {
    /// `Warehouse`.
    #[serde(default)]
    pub kind: String,
    /// Its name.
    #[serde(default)]
    pub name: String,
}

/// `promotionTemplate`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct PromotionTemplate {
    /// Its content.
    #[serde(default)]
    pub spec: TemplateSpec,
}

/// `promotionTemplate.spec`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct TemplateSpec {
    /// Variables.
    #[serde(default)]
    pub vars: Vec<Value>,
    /// Steps.
    #[serde(default)]
    pub steps: Vec<TemplateStep>,
}

/// A step of a template: a runner or a reference to a task.
#[derive(Clone, Debug)]
pub enum TemplateStep {
    /// Runs one runner.
    Runner(StepText),
    /// Stands for the steps of a PromotionTask, whose text is not in the Stage.
    Task {
        /// `as`.
        alias: String,
        /// The task's name.
        name: String,
    },
}

impl<'de> Deserialize<'de> for TemplateStep {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let step = Value::deserialize(deserializer)?;
        if let Some(task) = step.get("task").filter(|task| !task.is_null()) {
            let text = |value: &Value, key: &str| {
                value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
            };
            return Ok(Self::Task { alias: text(&step, "as"), name: text(task, "name") });
        }
        StepText::deserialize(step).map(Self::Runner).map_err(serde::de::Error::custom)
    }
}

/// `status`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StageStatus {
    /// Combinations that it held, newest first.
    #[serde(default)]
    pub freight_history: Vec<Collection>,
    /// Its health.
    #[serde(default)]
    pub health: Option<HealthText>,
    /// What runs.
    #[serde(default)]
    pub current_promotion: Option<PromotionReference>,
    /// What was recorded last.
    #[serde(default)]
    pub last_promotion: Option<PromotionReference>,
    /// Durable holds by origin.
    #[serde(default)]
    pub auto_promotion_holds: BTreeMap<String, Hold>,
    /// The newest refresh token after which Kargo has looked.
    #[serde(default)]
    pub last_handled_refresh: String,
    /// What `set-metadata` steps wrote, of which only a hint is kept.
    #[serde(default)]
    pub metadata: StepMetadata,
    /// Conditions, of which only an error's text is taken over.
    #[serde(default)]
    pub conditions: Vec<ConditionText>,
    /// Whether Promotions are let through; from Kargo 1.12 on, written by Kargo Enterprise only.
    #[serde(default)]
    pub promotion_window_status: Option<WindowText>,
}

/// `metadata` of a Stage or of Freight: only the key that hints stand under.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct StepMetadata {
    /// A hint, whatever it is.
    #[serde(default, rename = "failure-hint")]
    pub failure_hint: Option<Value>,
}

/// A condition without its times.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ConditionText {
    /// Its type.
    #[serde(default, rename = "type")]
    pub kind: String,
    /// Its reason.
    #[serde(default)]
    pub reason: String,
    /// Its message.
    #[serde(default)]
    pub message: String,
}

/// `promotionWindowStatus` (`api/v1alpha1/stage_types.go`, main).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WindowText {
    /// Whether they are not.
    #[serde(default)]
    pub closed: bool,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// When they are again.
    #[serde(default)]
    pub next_open: Option<Moment>,
}

/// A combination of Freight.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Collection {
    /// Kargo's id of it.
    #[serde(default)]
    pub id: String,
    /// Freight by origin key.
    #[serde(default)]
    pub items: BTreeMap<String, FreightReference>,
    /// Attempts, newest first.
    #[serde(default)]
    pub verification_history: Vec<VerificationText>,
}

/// Freight by name.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct FreightReference {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Where from.
    #[serde(default)]
    pub origin: Option<OriginText>,
}

/// A verification attempt.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerificationText {
    /// Its id.
    #[serde(default)]
    pub id: String,
    /// Its phase; empty means pending.
    #[serde(default)]
    pub phase: String,
    /// Its message.
    #[serde(default)]
    pub message: String,
    /// Who asked for it or aborted it.
    #[serde(default)]
    pub actor: String,
    /// The run.
    #[serde(default)]
    pub analysis_run: Option<RunReference>,
    /// When it began.
    #[serde(default)]
    pub start_time: Option<Moment>,
    /// Set while still pending.
    #[serde(default)]
    pub finish_time: Option<Moment>,
}

/// An AnalysisRun by name.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct RunReference {
    /// Its name.
    #[serde(default)]
    pub name: String,
}

/// `health`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct HealthText {
    /// One of Kargo's five words.
    #[serde(default)]
    pub status: String,
    /// What the checks say.
    #[serde(default)]
    pub issues: Vec<String>,
}

/// `currentPromotion` and `lastPromotion`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PromotionReference {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Its Freight.
    #[serde(default)]
    pub freight: Option<FreightReference>,
    /// When it ended.
    #[serde(default)]
    pub finished_at: Option<Moment>,
    /// A copy of its status, of which only the phase is read.
    #[serde(default)]
    pub status: Option<LastPromotionText>,
}

/// The phase inside of the copied status.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct LastPromotionText {
    /// Its phase.
    #[serde(default)]
    pub phase: String,
}

/// A durable hold.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hold {
    /// The Freight held in place.
    #[serde(default)]
    pub freight_name: String,
    /// The Promotion that made it.
    #[serde(default)]
    pub promotion_name: String,
    /// Who made it.
    #[serde(default)]
    pub actor: String,
    /// When it was made.
    #[serde(default)]
    pub created_at: Option<Moment>,
}
