//! Names and labels that no API server takes.
//!
//! In: a scenario. Out: a problem for each of them, with its path. Which texts are names is
//! [`policy_core::kubernetes_name`]'s word.

use policy_core::kubernetes_name::{is_label_value, is_namespace_name, is_object_name};

use super::Problem;
use crate::scenario::Scenario;

const OF_OBJECTS: &str =
    "names have lower-case letters, digits, `-` and `.`, and begin and end with a letter or a digit";
const OF_PROJECTS: &str =
    "it has at most 63 lower-case letters, digits and `-`, and begins and ends with a letter or a digit";
const OF_LABELS: &str =
    "it has at most 63 letters, digits, `-`, `_` and `.`, and begins and ends with a letter or a digit";

pub(super) fn problems(scenario: &Scenario) -> Vec<Problem> {
    let world = &scenario.world;
    let mut problems = Vec::new();
    let is_project = is_namespace_name(&world.project);
    problems.extend((!is_project).then(|| wrong("world.project", &world.project, "Project", OF_PROJECTS)));
    for (path, name, kind) in objects(scenario) {
        problems.extend((!is_object_name(name)).then(|| wrong(&path, name, kind, OF_OBJECTS)));
    }
    for (n, piece) in world.freight.iter().enumerate() {
        problems.extend(of_freight(&format!("world.freight[{n}].name"), &piece.name));
    }
    for (n, moment) in scenario.timeline.iter().enumerate() {
        let piece = moment.freight.as_ref();
        problems
            .extend(piece.and_then(|piece| of_freight(&format!("timeline[{n}].freight.name"), &piece.name)));
    }
    for (n, stage) in world.stages.iter().enumerate() {
        for (key, value) in &stage.labels {
            let path = format!("world.stages[{n}].labels.{key}");
            problems.extend((!is_key(key)).then(|| wrong(&path, key, "label", OF_LABELS)));
            let is_fine = value.is_empty() || is_label_value(value);
            problems.extend((!is_fine).then(|| {
                Problem::new(&path, format!("`{value}` cannot be the value of a label"), OF_LABELS)
            }));
        }
    }
    problems
}

/// Names that objects have, with their paths and kinds.
fn objects(scenario: &Scenario) -> Vec<(String, &String, &'static str)> {
    let world = &scenario.world;
    let warehouses = world.warehouses.iter().enumerate();
    let warehouses = warehouses.map(|(n, name)| (format!("world.warehouses[{n}]"), name, "Warehouse"));
    let stages = world.stages.iter().enumerate();
    let stages = stages.map(|(n, stage)| (format!("world.stages[{n}].name"), &stage.name, "Stage"));
    let policies = scenario.policies.keys().map(|name| (format!("policies.{name}"), name, "FailurePolicy"));
    let modules = scenario.modules.keys().map(|name| (format!("modules.{name}"), name, "module"));
    let later = scenario.timeline.iter().enumerate().flat_map(|(n, moment)| {
        let names = moment.policies.iter().flat_map(|policies| policies.keys());
        names.map(move |name| (format!("timeline[{n}].policies.{name}"), name, "FailurePolicy"))
    });
    warehouses.chain(stages).chain(policies).chain(modules).chain(later).collect()
}

/// Kargo keeps the alias of Freight in a label.
fn of_freight(path: &str, alias: &str) -> Option<Problem> {
    (!is_label_value(alias)).then(|| wrong(path, alias, "piece of Freight", OF_LABELS))
}

fn wrong(path: &str, name: &str, kind: &str, help: &str) -> Problem {
    Problem::new(path, format!("`{name}` cannot be the name of a {kind}"), help)
}

fn is_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_object_name(prefix) && is_label_value(name),
        None => is_label_value(text),
    }
}
