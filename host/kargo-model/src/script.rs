//! What a test decides and Kargo can't: how the steps of a Promotion end, how healthy a Stage is and how its
//! verifications end. In go rules, first match wins; out comes the outcome for one case, success when nothing matches.
//! It must not depend on anything but the rules and the numbers given to it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The rules of one scenario.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Script {
    /// How steps end.
    pub promotions: Vec<PromotionRule>,
    /// How AnalysisRuns end.
    pub verifications: Vec<VerificationRule>,
    /// How healthy a Stage is after a successful Promotion.
    pub health: Vec<HealthRule>,
}

/// Which attempts a rule is for. Attempts count from 1: the Promotions of one Stage and Freight by name, or the
/// AnalysisRuns of one Stage and collection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Attempts {
    /// All of them.
    #[default]
    Any,
    /// Exactly this one.
    Only(u32),
    /// This one and all before it.
    UpTo(u32),
    /// This one and all after it.
    From(u32),
}

impl Attempts {
    fn include(self, attempt: u32) -> bool {
        match self {
            Self::Any => true,
            Self::Only(wanted) => attempt == wanted,
            Self::UpTo(last) => attempt <= last,
            Self::From(first) => attempt >= first,
        }
    }
}

/// How one step ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// It succeeds with this output.
    Succeed(Map<String, Value>),
    /// It is Failed: `step "a": <text>`, or `step "a": failed: <text>` when it is a `fail` step (captures `a/fail-step`,
    /// `a/http-failure-expression`). Not retried.
    Fail(String),
    /// It errs until its threshold: `step "a" met error threshold of N: error running step "a": <text>` (capture
    /// `a/http-connection-refused`, `a/retry-threshold-3`).
    Error(String),
    /// It runs longer than allowed: `step "a" timed out after <text>` (capture `a/step-timeout`).
    TimeOut(String),
    /// Exactly what a capture shows.
    Verbatim {
        /// `Failed` or `Errored`.
        status: String,
        /// The step's whole message.
        message: String,
        /// `errorCount`, for errors that met the threshold.
        #[serde(default, rename = "errorCount")]
        error_count: Option<u32>,
    },
    /// It keeps running until the script changes (captures `a/queued`, `a/abort-running`).
    Wait,
    /// It failed without a message and Kargo would try again in five minutes: Running for ever (`b/http-stall`).
    Stall,
}

/// How the Promotions of a Stage end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PromotionRule {
    /// The Stage; empty for every Stage.
    pub stage: String,
    /// The Freight's name or the beginning of it; empty for all Freight.
    pub freight: String,
    /// Which attempts.
    pub attempts: Attempts,
    /// Outcomes by step alias; steps that are not named do what their kind does.
    pub steps: BTreeMap<String, Outcome>,
}

/// How one AnalysisRun ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum VerificationOutcome {
    /// Successful.
    #[default]
    Succeed,
    /// Failed, with what the metric said.
    Fail,
    /// Error, with the text of the metric's error.
    Error(String),
    /// Inconclusive.
    Inconclusive,
    /// Running until the script changes or somebody aborts it.
    Run,
    /// Never touched by Argo Rollouts: its phase stays empty.
    Ignore,
}

/// How the verifications of a Stage end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct VerificationRule {
    /// The Stage; empty for every Stage.
    pub stage: String,
    /// The name, or its beginning, of one Freight of the collection; empty for all.
    pub freight: String,
    /// Which AnalysisRuns of the Stage and collection.
    pub attempts: Attempts,
    /// How they end.
    pub outcome: VerificationOutcome,
}

/// How healthy a Stage is while this Freight is deployed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HealthRule {
    /// The Stage; empty for every Stage.
    pub stage: String,
    /// The Freight last promoted, or the beginning of its name; empty for all.
    pub freight: String,
    /// `Healthy`, `Unhealthy`, `Progressing`, `Unknown` or `NotApplicable`.
    pub status: String,
    /// What the health checks say.
    pub issues: Vec<String>,
}

impl Script {
    /// A script in which everything succeeds.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a rule for one step of one Stage's Promotions.
    #[must_use]
    pub fn step(mut self, stage: &str, freight: &str, attempts: Attempts, step: (&str, Outcome)) -> Self {
        let (alias, outcome) = step;
        let steps = BTreeMap::from([(alias.to_owned(), outcome)]);
        self.promotions.push(PromotionRule {
            stage: stage.to_owned(),
            freight: freight.to_owned(),
            attempts,
            steps,
        });
        self
    }

    /// Adds a rule for the verifications of one Stage.
    #[must_use]
    pub fn verification(
        mut self,
        stage: &str,
        freight: &str,
        attempts: Attempts,
        outcome: VerificationOutcome,
    ) -> Self {
        let (stage, freight) = (stage.to_owned(), freight.to_owned());
        self.verifications.push(VerificationRule { stage, freight, attempts, outcome });
        self
    }

    /// Adds a rule for the health of one Stage.
    #[must_use]
    pub fn health(mut self, stage: &str, freight: &str, status: &str, issue: &str) -> Self {
        self.health.push(HealthRule {
            stage: stage.to_owned(),
            freight: freight.to_owned(),
            status: status.to_owned(),
            issues: vec![issue.to_owned()],
        });
        self
    }

    /// The outcome scripted for a step of the `attempt`-th Promotion of `freight` to `stage`.
    pub fn step_outcome(&self, stage: &str, freight: &str, attempt: u32, alias: &str) -> Option<&Outcome> {
        self.promotions
            .iter()
            .filter(|rule| covers(&rule.stage, stage) && freight.starts_with(&rule.freight))
            .filter(|rule| rule.attempts.include(attempt))
            .find_map(|rule| rule.steps.get(alias))
    }

    /// The outcome of the `attempt`-th AnalysisRun of a collection in `stage`.
    pub fn verification_outcome(&self, stage: &str, freight: &[&str], attempt: u32) -> VerificationOutcome {
        self.verifications
            .iter()
            .filter(|rule| covers(&rule.stage, stage) && rule.attempts.include(attempt))
            .find(|rule| {
                rule.freight.is_empty() || freight.iter().any(|name| name.starts_with(&rule.freight))
            })
            .map(|rule| rule.outcome.clone())
            .unwrap_or_default()
    }

    /// The health scripted for `stage` while `freight` is deployed.
    pub fn health_rule(&self, stage: &str, freight: &str) -> Option<&HealthRule> {
        self.health.iter().find(|rule| covers(&rule.stage, stage) && freight.starts_with(&rule.freight))
    }
}

fn covers(wanted: &str, stage: &str) -> bool {
    wanted.is_empty() || wanted == stage
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_matching_rule_wins() {
        let script = Script::new()
            .step("prod", "bf9", Attempts::Only(2), ("deploy", Outcome::Fail("twice".to_owned())))
            .step("", "", Attempts::UpTo(2), ("deploy", Outcome::Wait));
        let outcome = |stage, freight, attempt| script.step_outcome(stage, freight, attempt, "deploy");
        assert_eq!(outcome("prod", "bf95772", 1), Some(&Outcome::Wait));
        assert_eq!(outcome("prod", "bf95772", 2), Some(&Outcome::Fail("twice".to_owned())));
        assert_eq!(outcome("uat", "72b1975", 3), None);
    }
}
