//! Expectations that can never hold.

use policy_core::failure::Trigger;
use policy_core::incident::Resolution;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Problem, no_word, policies};
use crate::scenario::{ExpectedIncident, ExpectedStage, Scenario, StageSpec};

/// What Kargo knows of verifications (`api/v1alpha1/stage_types.go`, `VerificationPhase`).
const PHASES: [&str; 7] = ["Pending", "Running", "Successful", "Failed", "Error", "Aborted", "Inconclusive"];

pub(super) fn problems(scenario: &Scenario) -> Vec<Problem> {
    let expect = &scenario.expect;
    let mut problems = Vec::new();
    for (n, incident) in expect.incidents.iter().flatten().enumerate() {
        problems.extend(of_incident(scenario, incident, &format!("expect.incidents[{n}]")));
    }
    if scenario.policies.is_empty() && expect.incidents.as_ref().is_some_and(|all| !all.is_empty()) {
        let in_time = scenario.timeline.iter().any(|moment| moment.policies.is_some());
        if !in_time {
            let message = "without a FailurePolicy there is never an incident";
            problems.push(Problem::new("expect.incidents", message, "give the scenario `policies`"));
        }
    }
    let put = policies::all(scenario);
    for (n, name) in expect.not_accepted.iter().enumerate() {
        let mut known: Vec<&str> = put.iter().map(|put| put.name).collect();
        known.sort_unstable();
        known.dedup();
        problems.extend(no_word(&format!("expect.notAccepted[{n}]"), "FailurePolicy", name, &known));
    }
    for (name, stage) in &expect.stages {
        let path = format!("expect.stages.{name}");
        problems.extend(scenario.unknown_stage(&path, name));
        if let Some(known) = scenario.stage(name) {
            problems.extend(of_stage(scenario, stage, known, &path));
        }
    }
    if let (Some(promotions), Some(writes)) = (expect.promotions_by_refloat, expect.writes_to_kargo)
        && promotions > writes
    {
        let message = format!("{promotions} Promotions by Refloat are more than {writes} writes to Kargo");
        let help = "each Promotion that it creates is one of `writesToKargo`";
        problems.push(Problem::new("expect.promotionsByRefloat", message, help));
    }
    for (n, said) in expect.said.iter().enumerate() {
        if let Some(never) = expect.not_said.iter().find(|never| said.contains(*never)) {
            let message = format!("`{said}` has `{never}` in it, which `notSaid` forbids");
            problems.push(Problem::new(format!("expect.said[{n}]"), message, "take one of them out"));
        }
    }
    problems
}

fn of_incident(scenario: &Scenario, incident: &ExpectedIncident, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Some(stage) = &incident.stage {
        problems.extend(scenario.unknown_stage(&format!("{path}.stage"), stage));
    }
    if let Some(trigger) = &incident.trigger {
        problems.extend(no_case::<Trigger>(&format!("{path}.trigger"), "trigger", trigger, ""));
    }
    if let Some(resolution) = incident.resolution.as_ref().filter(|word| *word != "open") {
        let path = format!("{path}.resolution");
        problems.extend(no_case::<Resolution>(&path, "resolution", resolution, "`open`, "));
    }
    problems
}

/// A word that is no case of an enum. `more` are words beside the enum's.
fn no_case<T: DeserializeOwned>(path: &str, what: &str, word: &str, more: &str) -> Option<Problem> {
    let error = serde_json::from_value::<T>(Value::from(word)).err()?.to_string();
    let known = error.split_once("expected one of ").map_or(error.as_str(), |(_, known)| known);
    Some(Problem::new(path, format!("`{word}` is no {what}"), format!("there are: {more}{known}")))
}

fn of_stage(scenario: &Scenario, expected: &ExpectedStage, stage: &StageSpec, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let holds = expected.holds.iter().flatten();
    for (n, freight) in holds.enumerate() {
        let path = format!("{path}.holds[{n}]");
        problems.extend(scenario.unknown_freight(&path, freight));
        problems.extend(scenario.unwanted(&path, stage, freight));
    }
    let n_origins = stage.wants(&scenario.world).len();
    if let Some(n) = expected.holds.as_ref().map(Vec::len).filter(|n| *n > n_origins) {
        let message =
            format!("Stage `{}` wants Freight of {n_origins} Warehouse(s) and cannot hold {n}", stage.name);
        problems.push(Problem::new(format!("{path}.holds"), message, "it holds one piece of each"));
    }
    if let Some(phase) = expected.verification.as_ref().filter(|phase| !phase.is_empty()) {
        let path = format!("{path}.verification");
        problems.extend(no_word(&path, "end of a verification", phase, &PHASES));
        if !stage.verification {
            let message = format!("Stage `{}` verifies nothing", stage.name);
            problems.push(Problem::new(path, message, "give it `verification: true`"));
        }
    }
    problems
}
