//! The context of a failure: everything that a decision may depend on, as the guest gets it.
//!
//! In: what [`crate::assemble`] put together, or a YAML file. Out: a value that serializes to the same bytes every
//! time, so that a record replays. Mirrors `context` of the contract field by field; field docs are those of
//! `wit/v0.1/policy.wit`. Text in here is already redacted and capped. Unknown is `None`, never a default.

use serde::{Deserialize, Serialize};

use crate::decision::ActionKind;
use crate::failure::{Class, Classification, StepHint, Trigger};
use crate::settings::Settings;
use crate::time::Timestamp;

/// Documented keys and values for facts without a field of their own, see `docs/context.md`.
pub type Extra = Vec<(String, String)>;

/// How far the host goes with an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Decide and record, write nothing to Kargo, annotations included.
    #[default]
    Observe,
    /// As observe, and tell people what would be done.
    Suggest,
    /// Carry the actions out.
    Enforce,
}

macro_rules! facts {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident : $type:ty),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        #[expect(missing_docs, reason = "each field is documented once, in wit/v0.1/policy.wit")]
        pub struct $name { $($(#[$field_meta])* pub $field: $type),+ }
    };
}

facts! {
    /// Everything that a decision may depend on.
    Context {
        now_unix_seconds: Timestamp,
        #[serde(default)]
        seed: [u32; 4],
        failure: FailureFacts,
        classification: Classification,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        hints: Vec<StepHint>,
        incident: IncidentFacts,
        budgets: Budgets,
        project: ProjectFacts,
        stage: StageFacts,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        promotion: Option<PromotionFacts>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        verification: Option<VerificationFacts>,
        #[serde(default)]
        freight: FreightFacts,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        queue: Vec<QueuedPromotion>,
        capabilities: Vec<ActionKind>,
        #[serde(default)]
        mode: Mode,
        #[serde(default)]
        settings: Settings,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        state: Option<String>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        truncated: Vec<String>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        extra: Extra,
    }
}

facts! {
    /// What failed.
    FailureFacts {
        id: String,
        trigger: Trigger,
        at_unix_seconds: Timestamp,
        #[serde(default)]
        summary: String,
    }
}

facts! {
    /// A failure and every attempt to repair it.
    IncidentFacts {
        id: String,
        opened_unix_seconds: Timestamp,
        #[serde(default)]
        retries: u32,
        #[serde(default)]
        rollbacks: u32,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        attempts: Vec<AttemptFacts>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        decisions: Vec<PastDecision>,
    }
}

facts! {
    /// One delivery that was tried.
    AttemptFacts {
        number: u32,
        kind: ActionKind,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        promotion: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        freight: Option<String>,
        at_unix_seconds: Timestamp,
        outcome: Outcome,
    }
}

facts! {
    /// One decision that was made earlier in this incident.
    PastDecision {
        at_unix_seconds: Timestamp,
        trigger: Trigger,
        class: Class,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        actions: Vec<(ActionKind, Outcome)>,
    }
}

/// What became of an action or an attempt.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Not over yet.
    Pending,
    /// Carried out, and it worked.
    Succeeded,
    /// Carried out, and it did not work.
    Failed,
    /// Carried out, then aborted.
    Aborted,
    /// A guardrail refused it; the text is its id.
    Refused(String),
    /// A guardrail put it off; the text is its id.
    Postponed(String),
    /// The world had moved on.
    Superseded,
    /// Recorded only, because of the mode.
    Observed,
}

facts! {
    /// What the host would still allow.
    Budgets {
        retries_left: u32,
        rollbacks_left: u32,
        deliveries_left: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        not_before_unix_seconds: Option<Timestamp>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_unix_seconds: Option<Timestamp>,
    }
}

facts! {
    /// The Project.
    ProjectFacts {
        name: String,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        labels: Vec<(String, String)>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        extra: Extra,
    }
}

facts! {
    /// The Stage.
    StageFacts {
        name: String,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        labels: Vec<(String, String)>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shard: Option<String>,
        #[serde(default)]
        origins: Vec<String>,
        health: Health,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        auto_promotion: Option<bool>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        holds: Vec<HoldFacts>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        upstream: Vec<String>,
        #[serde(default)]
        verifies: bool,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        extra: Extra,
    }
}

/// Kargo's view of a Stage's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// All checks are good.
    Healthy,
    /// A check is bad.
    Unhealthy,
    /// A check is not settled.
    Progressing,
    /// Kargo does not know; always so after a Promotion that did not succeed.
    Unknown,
    /// There is nothing to check.
    NotApplicable,
}

facts! {
    /// An auto-promotion hold.
    HoldFacts {
        origin: String,
        freight: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        actor: Option<String>,
        #[serde(default)]
        ours: bool,
    }
}

/// Who did something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ActorKind {
    /// Kargo itself.
    Kargo,
    /// This host, on behalf of a policy.
    Refloat,
    /// Somebody else: a person or another program.
    Person,
    /// Not known.
    #[default]
    Unknown,
}

facts! {
    /// One Promotion.
    PromotionFacts {
        name: String,
        freight: String,
        phase: String,
        #[serde(default)]
        message: String,
        #[serde(default)]
        actor_kind: ActorKind,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        actor: Option<String>,
        #[serde(default)]
        is_rollback: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        created_unix_seconds: Option<Timestamp>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        started_unix_seconds: Option<Timestamp>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        finished_unix_seconds: Option<Timestamp>,
        #[serde(default)]
        steps: Vec<StepFacts>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        template_changed: Option<bool>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        extra: Extra,
    }
}

facts! {
    /// One step of a Promotion.
    StepFacts {
        index: u32,
        alias: String,
        kind: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<String>,
        #[serde(default)]
        message: String,
        #[serde(default)]
        error_count: u32,
        #[serde(default)]
        continue_on_error: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mutates: Option<bool>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        started_unix_seconds: Option<Timestamp>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        finished_unix_seconds: Option<Timestamp>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output: Option<String>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        extra: Extra,
    }
}

facts! {
    /// A Promotion that has not ended.
    QueuedPromotion {
        name: String,
        freight: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        phase: Option<String>,
        #[serde(default)]
        actor_kind: ActorKind,
    }
}

facts! {
    /// One verification attempt.
    VerificationFacts {
        id: String,
        phase: String,
        #[serde(default)]
        message: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        actor: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        analysis_run: Option<String>,
        #[serde(default)]
        reused: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        started_unix_seconds: Option<Timestamp>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        finished_unix_seconds: Option<Timestamp>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        metrics: Vec<MetricFacts>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        extra: Extra,
    }
}

facts! {
    /// One metric of an AnalysisRun.
    MetricFacts {
        name: String,
        phase: String,
        #[serde(default)]
        message: String,
        #[serde(default)]
        counts: MetricCounts,
        #[serde(default)]
        dry_run: bool,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        measurements: Vec<Measurement>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        extra: Extra,
    }
}

/// Measurements of a metric counted by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[expect(missing_docs, reason = "each field is documented once, in wit/v0.1/policy.wit")]
pub struct MetricCounts {
    pub total: u32,
    pub successful: u32,
    pub failed: u32,
    pub inconclusive: u32,
    pub error: u32,
}

facts! {
    /// One measurement.
    Measurement {
        phase: String,
        #[serde(default)]
        value: String,
        #[serde(default)]
        message: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        finished_unix_seconds: Option<Timestamp>,
    }
}

/// What is known about Freight in this Stage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[expect(missing_docs, reason = "each field is documented once, in wit/v0.1/policy.wit")]
pub struct FreightFacts {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing: Option<FreightPiece>,
    pub current: Vec<FreightPiece>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<PastCollection>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<RollbackTarget>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<FreightPiece>,
}

impl FreightFacts {
    /// The alias of a piece of Freight that is spoken of here.
    pub fn alias_of(&self, name: &str) -> Option<String> {
        let mut pieces = self.failing.iter().chain(&self.current).chain(&self.candidates);
        pieces.find(|piece| piece.name == name)?.alias.clone()
    }
}

facts! {
    /// One piece of Freight.
    FreightPiece {
        name: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        alias: Option<String>,
        origin: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        discovered_unix_seconds: Option<Timestamp>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        artifacts: Vec<Artifact>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        extra: Extra,
    }
}

facts! {
    /// One artifact of a piece of Freight.
    Artifact {
        kind: String,
        repository: String,
        version: String,
    }
}

facts! {
    /// A combination of Freight that the Stage held.
    PastCollection {
        id: String,
        freight: Vec<FreightRef>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        verification: Option<String>,
        #[serde(default)]
        verification_reused: bool,
    }
}

facts! {
    /// A piece of Freight by name.
    FreightRef {
        origin: String,
        name: String,
    }
}

facts! {
    /// Where a rollback of one origin would go.
    RollbackTarget {
        origin: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        freight: Option<String>,
        because: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exists: Option<bool>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        available: Option<bool>,
    }
}
