//! Small snapshots of Kargo objects: only what a decision, a guardrail or the watch needs.
//!
//! In: Kargo objects, converted by `policy-api`. Out: values that detection and targeting read.
//! A field that Kargo may leave out is an `Option`: a fresh Promotion has no status at all (kargo-live.md 0.8).
//! Never decide on `currentStep`, the `Verified` condition, `finishTime` of a verification or transition times of
//! conditions: none of them is kept here on purpose.

mod application;
mod freight;
mod project;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::context::{ActorKind, Health};
use crate::name::{FreightName, Origin, ProjectName, PromotionName, StageName, Uid, VerificationId};
use crate::time::Timestamp;

pub use application::{ApplicationRef, ApplicationSnapshot, ApplicationStatus};
pub use freight::{FreightSnapshot, ProjectFreight};
pub use project::{ProjectSnapshot, PromotionPolicy, StageSelector};

/// Phase of a Promotion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PromotionPhase {
    /// Waiting for the Stage.
    Pending,
    /// Steps run.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended badly, usually not for a technical reason.
    Failed,
    /// Ended badly, usually for a technical reason.
    Errored,
    /// Ended by somebody.
    Aborted,
}

impl PromotionPhase {
    /// Whether it is over. A terminal Promotion never changes its phase again (`pkg/controller/promotions`).
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Pending | Self::Running => false,
            Self::Succeeded | Self::Failed | Self::Errored | Self::Aborted => true,
        }
    }

    /// Kargo's spelling.
    pub fn text(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Errored => "Errored",
            Self::Aborted => "Aborted",
        }
    }
}

/// A Promotion.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PromotionSnapshot {
    /// The Project.
    pub project: ProjectName,
    /// Its name.
    pub name: PromotionName,
    /// Its uid.
    pub uid: Uid,
    /// Its Stage.
    pub stage: StageName,
    /// The Freight that it promotes.
    pub freight: FreightName,
    /// The origin of that Freight, when the status says it.
    pub origin: Option<Origin>,
    /// Its phase; `None` until a controller has seen it.
    pub phase: Option<PromotionPhase>,
    /// Kargo's message.
    #[serde(default)]
    pub message: String,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// When its first step began.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// `kargo.akuity.io/create-actor`, absent on Promotions made by Kargo itself.
    pub actor: Option<String>,
    /// Who that is.
    #[serde(default)]
    pub actor_kind: ActorKind,
    /// `kargo.akuity.io/rollback: "true"`; other spellings count as no (kargo-live.md 4).
    #[serde(default)]
    pub is_rollback: bool,
    /// Who asked for its abort: the `actor` of `kargo.akuity.io/abort`.
    pub abort_actor: Option<String>,
    /// `kargo.akuity.io/auto-promotion-hold`: the origin that this Promotion holds.
    pub hold: Option<Origin>,
    /// `kargo.akuity.io/auto-promotion-resume`: the origin whose hold this Promotion lifts.
    pub resume: Option<Origin>,
    /// Labels under `refloat.dev/`, which our own Promotions carry.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// `refloat.dev/ignore: "true"` on the Promotion.
    #[serde(default)]
    pub ignored: bool,
    /// The collection that it was to establish: origin to Freight. Empty when it never got that far.
    #[serde(default)]
    pub collection: BTreeMap<Origin, FreightName>,
    /// Steps in order: those of `spec.steps`, with what `status` says about each.
    #[serde(default)]
    pub steps: Vec<StepSnapshot>,
    /// Hash over `spec.steps` and `spec.vars`, to see whether the template has changed since.
    pub template_hash: Option<String>,
    /// Digests of `spec.vars` by name, to say which has changed.
    #[serde(default)]
    pub vars: BTreeMap<String, String>,
    /// Whether it began again from its first step: Kargo does so when its work directory is lost, clears the steps' data
    /// and keeps their outputs (`pkg/controller/promotions`, v1.11.2; kargo-live.md 2).
    #[serde(default)]
    pub restarted: bool,
}

impl PromotionSnapshot {
    /// Whether it is over.
    pub fn is_terminal(&self) -> bool {
        self.phase.is_some_and(PromotionPhase::is_terminal)
    }

    /// What detection needs of it and nothing more, so that many fit into memory: no texts, no outputs, and of one that
    /// has ended only the steps that failed and were tolerated.
    pub fn shrink(&mut self) {
        let is_over = self.is_terminal();
        self.message.clear();
        self.steps.retain(|step| !is_over || (step.has_failed() && step.continue_on_error));
        for step in &mut self.steps {
            step.output = None;
            step.message.truncate(step.message.floor_char_boundary(1));
        }
        self.steps.shrink_to_fit();
    }
}

/// One step of a Promotion.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StepSnapshot {
    /// Alias.
    pub alias: String,
    /// Runner (`uses`).
    pub kind: String,
    /// Kargo's status text; `None` if the step was not reached.
    pub status: Option<String>,
    /// Kargo's message.
    #[serde(default)]
    pub message: String,
    /// Errors that Kargo counted; 0 for terminal failures (kargo-live.md 2).
    #[serde(default)]
    pub error_count: u32,
    /// Whether the Promotion goes on after it failed.
    #[serde(default)]
    pub continue_on_error: bool,
    /// When it began.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// Its output (`status.state[alias]`) as JSON text, only for aliases that may be captured.
    pub output: Option<String>,
    /// `retry.errorThreshold`, when the template sets it: errors in a row after which Kargo gives up.
    pub error_threshold: Option<u32>,
    /// `retry.timeout` in seconds, when the template sets it; 0 means that it never times out.
    pub timeout_seconds: Option<u32>,
    /// Digest of everything that the Promotion says about it but the alias; `None` for a result without a step.
    pub digest: Option<String>,
    /// Argo CD Applications that its configuration names outright.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub applications: Vec<ApplicationRef>,
}

impl StepSnapshot {
    /// Whether it ended badly.
    pub fn has_failed(&self) -> bool {
        matches!(self.status.as_deref(), Some("Failed" | "Errored"))
    }
}

/// A Stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StageSnapshot {
    /// The Project.
    pub project: ProjectName,
    /// Its name.
    pub name: StageName,
    /// Its uid.
    pub uid: Uid,
    /// Its resourceVersion: every annotation that we write is guarded by it.
    #[serde(default)]
    pub resource_version: String,
    /// Its labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// `spec.shard`.
    pub shard: Option<String>,
    /// What it requests.
    #[serde(default)]
    pub requests: Vec<FreightRequest>,
    /// Whether it has promotion steps; a control flow Stage has none and is left alone.
    #[serde(default)]
    pub has_steps: bool,
    /// Whether `spec.verification` is set.
    #[serde(default)]
    pub verifies: bool,
    /// Hash over the template's steps and vars, comparable with [`PromotionSnapshot::template_hash`].
    pub template_hash: Option<String>,
    /// The template's steps in order, comparable with those of a Promotion by alias and digest.
    #[serde(default)]
    pub template: Vec<TemplateStepSnapshot>,
    /// Digests of the variables that a Promotion would get, comparable with [`PromotionSnapshot::vars`].
    #[serde(default)]
    pub vars: BTreeMap<String, String>,
    /// `status.promotionWindowStatus`, which only Kargo from 1.12 on has, and only Kargo Enterprise writes.
    pub window: Option<WindowSnapshot>,
    /// `status.health.status`; `None` while Kargo has not said.
    pub health: Option<Health>,
    /// `status.currentPromotion.name`.
    pub current_promotion: Option<PromotionName>,
    /// `status.lastPromotion`: the last terminal Promotion that the Stage has recorded.
    pub last_promotion: Option<LastPromotion>,
    /// `status.freightHistory`, newest first, at most 10, with duplicates.
    #[serde(default)]
    pub history: Vec<CollectionSnapshot>,
    /// `status.autoPromotionHolds`: durable ones.
    #[serde(default)]
    pub holds: Vec<HoldSnapshot>,
    /// `kargo.akuity.io/reverify`, as it stands.
    pub reverify: Option<String>,
    /// `kargo.akuity.io/refresh`, as it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh: Option<String>,
    /// `status.lastHandledRefresh`: the newest such token after which Kargo has looked at the Stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handled_refresh: Option<String>,
    /// The first of `status.health.issues`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_issue: Option<String>,
    /// Why Kargo's last look at the Stage ended in an error. For people: it never decides anything by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reconcile_error: Option<String>,
    /// `status.metadata["failure-hint"]` as JSON, see [`crate::hints`]. Kargo loses most of what quick Promotions write
    /// there (kargo-live.md 0.3).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_hint: Option<String>,
    /// `kargo.akuity.io/argocd-context`: the Argo CD Applications of the last Promotion that succeeded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub applications: Vec<ApplicationRef>,
    /// `refloat.dev/ignore: "true"` on the Stage.
    #[serde(default)]
    pub ignored: bool,
    /// Whether the Stage is being deleted.
    #[serde(default)]
    pub deleting: bool,
}

/// One step of a Stage's template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TemplateStepSnapshot {
    /// Its alias, as a Promotion would have it.
    pub alias: String,
    /// Its runner; empty for a task.
    #[serde(default)]
    pub kind: String,
    /// The PromotionTask that it stands for, whose steps are not in the Stage.
    pub task: Option<String>,
    /// As [`StepSnapshot::digest`]; `None` for a task.
    pub digest: Option<String>,
}

/// Whether Promotions are let through now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WindowSnapshot {
    /// Whether they are not.
    pub closed: bool,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// When they are again.
    pub next_open: Option<Timestamp>,
}

/// One entry of `spec.requestedFreight`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FreightRequest {
    /// The origin.
    pub origin: Origin,
    /// Whether Freight comes straight from the Warehouse.
    #[serde(default)]
    pub direct: bool,
    /// Upstream Stages.
    #[serde(default)]
    pub stages: Vec<StageName>,
    /// Whether Freight must be verified in all of them (`availabilityStrategy: All`), not just one.
    #[serde(default)]
    pub all_stages: bool,
    /// `requiredSoakTime` in seconds.
    #[serde(default)]
    pub soak_seconds: u32,
    /// Whether auto-promotion takes what the upstream Stage holds, and not the newest Freight.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub follows_upstream: bool,
}

/// `status.lastPromotion`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LastPromotion {
    /// Its name.
    pub name: PromotionName,
    /// Its phase.
    pub phase: Option<PromotionPhase>,
    /// Its Freight.
    pub freight: Option<FreightName>,
    /// When it ended.
    pub finished: Option<Timestamp>,
}

/// One entry of `status.freightHistory`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CollectionSnapshot {
    /// Kargo's id of the combination.
    pub id: String,
    /// Origin to Freight.
    pub items: BTreeMap<Origin, FreightName>,
    /// `verificationHistory`, newest first.
    #[serde(default)]
    pub verifications: Vec<VerificationSnapshot>,
}

/// One verification attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VerificationSnapshot {
    /// Its id.
    pub id: VerificationId,
    /// Its phase; `None` for the empty text, which means pending.
    pub phase: Option<VerificationPhase>,
    /// Its message.
    #[serde(default)]
    pub message: String,
    /// Who asked for it or aborted it.
    pub actor: Option<String>,
    /// The AnalysisRun.
    pub analysis_run: Option<String>,
    /// When it began.
    pub started: Option<Timestamp>,
    /// `finishTime`. Set while still pending; never read it as "has ended".
    pub finished: Option<Timestamp>,
}

/// Phase of a verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum VerificationPhase {
    /// Not begun.
    Pending,
    /// Running.
    Running,
    /// Judged good.
    Successful,
    /// Judged bad, or aborted by a person: the message tells.
    Failed,
    /// Could not judge.
    Error,
    /// Not produced by open-source Kargo.
    Aborted,
    /// No verdict.
    Inconclusive,
}

impl VerificationPhase {
    /// Whether it is over.
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Pending | Self::Running => false,
            Self::Successful | Self::Failed | Self::Error | Self::Aborted | Self::Inconclusive => true,
        }
    }

    /// Kargo's spelling.
    pub fn text(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Successful => "Successful",
            Self::Failed => "Failed",
            Self::Error => "Error",
            Self::Aborted => "Aborted",
            Self::Inconclusive => "Inconclusive",
        }
    }
}

/// A durable hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HoldSnapshot {
    /// The origin.
    pub origin: Origin,
    /// The Freight held in place.
    pub freight: FreightName,
    /// The Promotion that made it.
    pub promotion: Option<PromotionName>,
    /// Who made it.
    pub actor: Option<String>,
    /// When it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
}

/// An AnalysisRun.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AnalysisRunSnapshot {
    /// Its name.
    pub name: String,
    /// Its phase as written.
    pub phase: Option<String>,
    /// Its message.
    #[serde(default)]
    pub message: String,
    /// When it began.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// Its metrics.
    #[serde(default)]
    pub metrics: Vec<crate::context::MetricFacts>,
}
