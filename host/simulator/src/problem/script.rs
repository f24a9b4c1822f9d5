//! What makes no sense in a script: how steps, verifications and health end.

use kargo_model::Script;
use kargo_model::script::{Attempts, Outcome};

use super::{Problem, no_word, of_go_duration};
use crate::scenario::Scenario;

/// What Kargo knows of health (`api/v1alpha1/stage_types.go`, `HealthState`).
const HEALTH: [&str; 5] = ["Healthy", "Unhealthy", "Progressing", "Unknown", "NotApplicable"];

pub(super) fn problems(scenario: &Scenario, script: &Script, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (n, rule) in script.promotions.iter().enumerate() {
        let path = format!("{path}.promotions[{n}]");
        problems.extend(who(scenario, &path, &rule.stage, &rule.freight));
        problems.extend(never(&path, rule.attempts));
        for (alias, outcome) in &rule.steps {
            let path = format!("{path}.steps.{alias}");
            problems.extend(unknown_step(scenario, &path, &rule.stage, alias));
            problems.extend(of_outcome(&path, outcome));
        }
    }
    for (n, rule) in script.verifications.iter().enumerate() {
        let path = format!("{path}.verifications[{n}]");
        problems.extend(who(scenario, &path, &rule.stage, &rule.freight));
        problems.extend(never(&path, rule.attempts));
        if !rule.takes.is_empty() {
            problems.extend(of_go_duration(&format!("{path}.takes"), &rule.takes));
        }
        if scenario.stage(&rule.stage).is_some_and(|stage| !stage.verification) {
            let message = format!("Stage `{}` verifies nothing", rule.stage);
            problems.push(Problem::new(format!("{path}.stage"), message, "give it `verification: true`"));
        }
    }
    for (n, rule) in script.health.iter().enumerate() {
        let path = format!("{path}.health[{n}]");
        problems.extend(who(scenario, &path, &rule.stage, &rule.freight));
        problems.extend(no_word(&format!("{path}.status"), "health of a Stage", &rule.status, &HEALTH));
    }
    problems
}

/// Stage and Freight of a rule; empty texts are for all.
fn who(scenario: &Scenario, path: &str, stage: &str, freight: &str) -> Vec<Problem> {
    let stage_problem = scenario.unknown_stage(&format!("{path}.stage"), stage).filter(|_| !stage.is_empty());
    let freight_problem = scenario.unknown_freight(&format!("{path}.freight"), freight);
    stage_problem.into_iter().chain(freight_problem.filter(|_| !freight.is_empty())).collect()
}

fn never(path: &str, attempts: Attempts) -> Option<Problem> {
    let is_never = matches!(attempts, Attempts::Only(0) | Attempts::UpTo(0));
    let message = "attempts count from 1, so this is never";
    is_never.then(|| Problem::new(format!("{path}.attempts"), message, "give the number of an attempt"))
}

fn unknown_step(scenario: &Scenario, path: &str, stage: &str, alias: &str) -> Option<Problem> {
    let stages = scenario.world.stages.iter().filter(|one| stage.is_empty() || one.name == stage);
    let known: Vec<&str> = stages.flat_map(|one| &one.steps).map(|step| step.alias.as_str()).collect();
    let whose = if stage.is_empty() { "no Stage".to_owned() } else { format!("Stage `{stage}`") };
    let verb = if stage.is_empty() { "has a step" } else { "has no step" };
    (!known.is_empty() && !known.contains(&alias)).then(|| {
        let message = format!("{whose} {verb} `{alias}`");
        Problem::new(path, message, format!("there are: {}", known.join(", ")))
    })
}

fn of_outcome(path: &str, outcome: &Outcome) -> Option<Problem> {
    match outcome {
        Outcome::After(after) => of_go_duration(&format!("{path}.after.takes"), &after.takes)
            .or_else(|| of_outcome(&format!("{path}.after.then"), &after.then)),
        Outcome::ErrorFirst(first) => of_outcome(&format!("{path}.errorFirst.then"), &first.then),
        Outcome::Verbatim(verbatim) => no_word(
            &format!("{path}.verbatim.status"),
            "end of a step",
            &verbatim.status,
            &["Failed", "Errored"],
        ),
        _ => None,
    }
}
