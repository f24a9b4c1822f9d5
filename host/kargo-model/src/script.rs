//! What a test decides and Kargo can't: how the steps of a Promotion end, how healthy a Stage is and how its
//! verifications end. In go rules, first match wins; out comes the outcome for one case, success when nothing matches.
//! It must not depend on anything but the rules and the numbers given to it.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::outcome::UnknownCapture;
pub use crate::outcome::{After, ErrorFirst, Outcome, Pace, Rejection, Verbatim};

/// The rules of one scenario.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

/// How the Promotions of a Stage end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
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

/// How one AnalysisRun ends. Its first metric is measured as often as it takes to get there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct VerificationRule {
    /// The Stage; empty for every Stage.
    pub stage: String,
    /// The name, or its beginning, of one Freight of the collection; empty for all.
    pub freight: String,
    /// Which AnalysisRuns of the Stage and collection.
    pub attempts: Attempts,
    /// How they end. With `metrics`, those decide, unless this says `run` or `ignore`.
    pub outcome: VerificationOutcome,
    /// How long they run, as Go writes durations; empty for no time that anybody would notice. A run of less than 30 ms
    /// is over before Kargo looks ([`crate::Flaws::fast_verification_is_missed`]).
    pub takes: String,
    /// What is measured; empty for one metric that fits the outcome.
    pub metrics: Vec<Metric>,
}

impl VerificationRule {
    /// How long the run takes, if the rule says so.
    pub fn duration(&self) -> Option<SignedDuration> {
        crate::time::parse_duration(&self.takes).filter(|_| !self.takes.is_empty())
    }
}

/// One metric of an AnalysisRun. Measurements follow each other at the `interval` of the template's metric of that name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metric {
    /// Its name in the AnalysisTemplate.
    pub name: String,
    /// What was measured, in order.
    pub measurements: Vec<Measurement>,
}

/// One measurement of a metric.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Measurement {
    /// How it was judged.
    #[serde(default)]
    pub phase: Judgement,
    /// The value as Argo Rollouts prints it, JSON texts with their quotes; empty for none.
    #[serde(default)]
    pub value: String,
    /// What went wrong, for errors above all.
    #[serde(default)]
    pub message: String,
}

/// How Argo Rollouts judges a measurement, a metric or a run, from best to worst
/// (`utils/analysis/helpers.go`, `analysisStatusOrder`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Judgement {
    /// The success condition holds.
    #[default]
    Successful,
    /// Neither condition holds.
    Inconclusive,
    /// It could not be measured.
    Error,
    /// The failure condition holds.
    Failed,
}

impl Judgement {
    /// What Argo Rollouts writes.
    pub fn text(self) -> &'static str {
        match self {
            Self::Successful => "Successful",
            Self::Inconclusive => "Inconclusive",
            Self::Error => "Error",
            Self::Failed => "Failed",
        }
    }

    /// The counter of measurements judged so.
    pub fn counter(self) -> &'static str {
        match self {
            Self::Successful => "successful",
            Self::Inconclusive => "inconclusive",
            Self::Error => "error",
            Self::Failed => "failed",
        }
    }
}

/// How healthy a Stage is while this Freight is deployed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
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
        self.verifications.push(VerificationRule { stage, freight, attempts, outcome, ..Default::default() });
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

    /// The rule for the `attempt`-th AnalysisRun of a collection in `stage`.
    pub fn verification_rule(
        &self,
        stage: &str,
        freight: &[&str],
        attempt: u32,
    ) -> Option<&VerificationRule> {
        self.verifications
            .iter()
            .filter(|rule| covers(&rule.stage, stage) && rule.attempts.include(attempt))
            .find(|rule| {
                rule.freight.is_empty() || freight.iter().any(|name| name.starts_with(&rule.freight))
            })
    }

    /// Looks up every captured step that the script names. `find` gets the folder, such as `git-push/server-503`, and the
    /// alias of the step; [`Outcome::of_capture`] makes the answer.
    ///
    /// # Errors
    /// The first folder that `find` does not know.
    pub fn resolve(
        &mut self,
        mut find: impl FnMut(&str, &str) -> Option<Outcome>,
    ) -> Result<(), UnknownCapture> {
        for rule in &mut self.promotions {
            for (alias, outcome) in &mut rule.steps {
                outcome.resolve(alias, &mut find)?;
            }
        }
        Ok(())
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
