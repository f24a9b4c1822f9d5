//! What makes no sense in the world that a scenario begins with.

use std::collections::BTreeSet;

use kargo_model::ControlPlane;

use super::Problem;
use crate::scenario::{Scenario, StageSpec};

/// Verbs that the Project's account may lack, as `refloat enable` grants them.
const VERBS: [&str; 5] = ["create", "get", "list", "patch", "promote"];

pub(super) fn problems(scenario: &Scenario) -> Vec<Problem> {
    let world = &scenario.world;
    let mut problems = Vec::new();
    if world.stages.is_empty() {
        problems.push(Problem::new("world.stages", "there is no Stage", "add one, such as `- name: prod`"));
    }
    if world.warehouses.is_empty() {
        let help = "leave `warehouses` out for one that is called `web`";
        problems.push(Problem::new("world.warehouses", "there is no Warehouse", help));
    }
    if let Some(Err(error)) = world.control_plane.as_deref().map(ControlPlane::matching) {
        let help = "write a regular expression, such as `^system:serviceaccount:kargo:`";
        problems.push(Problem::new("world.controlPlane", one_line(&error), help));
    }
    let stages = world.stages.iter().enumerate();
    problems
        .extend(twice(stages.map(|(n, stage)| (format!("world.stages[{n}].name"), &stage.name)), "Stages"));
    for n in 0..world.stages.len() {
        problems.extend(of_stage(scenario, n));
    }
    problems.extend(of_freight(scenario));
    for (n, verb) in world.missing_verbs.iter().enumerate() {
        problems.extend(super::no_word(
            &format!("world.missingVerbs[{n}]"),
            "verb of the Project's account",
            verb,
            &VERBS,
        ));
    }
    if !(1..=5).contains(&scenario.replicas) {
        let message = format!("{} replicas cannot be played", scenario.replicas);
        problems.push(Problem::new("replicas", message, "give 1 to 5"));
    }
    problems
}

/// An error of several lines, of which the last says what is wrong.
fn one_line(error: &impl ToString) -> String {
    let text = error.to_string();
    text.lines().last().unwrap_or_default().trim().to_owned()
}

/// Those that have the name of an earlier one.
fn twice<'a>(named: impl Iterator<Item = (String, &'a String)>, what: &str) -> Vec<Problem> {
    let mut seen = BTreeSet::new();
    named
        .filter(|(_, name)| !seen.insert(*name))
        .map(|(path, name)| {
            Problem::new(path, format!("there are two {what} `{name}`"), "give one another name")
        })
        .collect()
}

fn of_freight(scenario: &Scenario) -> Vec<Problem> {
    let first = scenario.world.freight.iter().enumerate();
    let first = first.map(|(n, piece)| (format!("world.freight[{n}]"), piece));
    let later = scenario.timeline.iter().enumerate();
    let later =
        later.filter_map(|(n, moment)| Some((format!("timeline[{n}].freight"), moment.freight.as_ref()?)));
    let all: Vec<_> = first.chain(later).collect();
    let named = all.iter().map(|(path, piece)| (format!("{path}.name"), &piece.name));
    let mut problems = twice(named, "pieces of Freight");
    for (path, piece) in &all {
        problems.extend(
            piece
                .warehouse
                .as_ref()
                .and_then(|name| unknown_warehouse(scenario, &format!("{path}.warehouse"), name)),
        );
    }
    problems
}

fn unknown_warehouse(scenario: &Scenario, path: &str, name: &str) -> Option<Problem> {
    let known = &scenario.world.warehouses;
    let message = format!("there is no Warehouse `{name}`");
    (!known.iter().any(|known| known == name))
        .then(|| Problem::new(path, message, format!("there are: {}", known.join(", "))))
}

fn of_stage(scenario: &Scenario, n: usize) -> Vec<Problem> {
    let (before, rest) = scenario.world.stages.split_at(n);
    let Some(stage) = rest.first() else { return Vec::new() };
    let path = format!("world.stages[{n}]");
    let mut problems = Vec::new();
    for (i, upstream) in stage.after.iter().enumerate() {
        let path = format!("{path}.after[{i}]");
        problems.extend(scenario.unknown_stage(&path, upstream));
        if *upstream == stage.name {
            let message = format!("Stage `{upstream}` comes after itself");
            problems.push(Problem::new(&path, message, "name the Stage before it"));
        }
    }
    if stage.after.iter().all(|upstream| *upstream != stage.name) && is_after_itself(scenario, stage) {
        let message = format!("Stage `{}` comes after itself, by way of others", stage.name);
        problems.push(Problem::new(format!("{path}.after"), message, "let Freight flow in one direction"));
    }
    if stage.steps.is_empty() {
        let message = format!("Stage `{}` has no steps, and a control flow Stage is not played", stage.name);
        let help =
            "leave `steps` out for the usual one, and let the Stages behind it follow the Stages before it";
        problems.push(Problem::new(format!("{path}.steps"), message, help));
    }
    for (i, warehouse) in stage.warehouses.iter().enumerate() {
        problems.extend(unknown_warehouse(scenario, &format!("{path}.warehouses[{i}]"), warehouse));
    }
    if stage.match_upstream && stage.after.len() != 1 {
        let message = "`matchUpstream` needs exactly one Stage before it";
        problems.push(Problem::new(format!("{path}.matchUpstream"), message, "name that Stage with `after`"));
    }
    let steps = stage.steps.iter().enumerate();
    problems.extend(twice(
        steps.map(|(i, step)| (format!("{path}.steps[{i}].as"), &step.alias)),
        &format!("steps of Stage `{}` called", stage.name),
    ));
    problems.extend(of_holds(scenario, stage, before, &path));
    problems
}

/// Whether Freight would have to be in a Stage before it gets there.
fn is_after_itself(scenario: &Scenario, stage: &StageSpec) -> bool {
    let (mut seen, mut open) = (BTreeSet::new(), vec![stage]);
    while let Some(one) = open.pop() {
        for upstream in one.after.iter().filter(|name| seen.insert(*name)) {
            open.extend(scenario.world.stages.iter().filter(|stage| stage.name == *upstream));
        }
    }
    seen.contains(&stage.name)
}

/// What a Stage holds at the beginning it must be able to get: the set-up promotes it, Stage by Stage.
fn of_holds(scenario: &Scenario, stage: &StageSpec, before: &[StageSpec], path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (i, freight) in stage.holds.iter().enumerate() {
        let path = format!("{path}.holds[{i}]");
        problems.extend(scenario.unknown_freight(&path, freight));
        problems.extend(scenario.unwanted(&path, stage, freight));
        let is_there = scenario.world.freight.iter().any(|piece| piece.name == *freight);
        if !is_there && scenario.piece(freight).is_some() {
            let message = format!("Freight `{freight}` appears only later");
            problems.push(Problem::new(&path, message, "name it under `world.freight`"));
        }
        let origin = |name: &str| scenario.piece(name).map(|piece| scenario.warehouse_of(piece));
        let other = stage.holds.iter().take(i).find(|other| origin(other) == origin(freight));
        if let (Some(other), Some(warehouse)) = (other, origin(freight)) {
            let message = format!("Freight `{freight}` and `{other}` both come from Warehouse `{warehouse}`");
            problems.push(Problem::new(
                &path,
                message,
                "a Stage holds one piece of each; name the newer one",
            ));
        }
        let mut upstream = before.iter().filter(|one| stage.after.contains(&one.name));
        if !stage.after.is_empty() && !upstream.any(|one| one.holds.contains(freight)) {
            let message = format!("Freight `{freight}` has not been in {} before", stage.after.join(" or "));
            let help = "let a Stage before it hold it, too, and name that Stage first";
            problems.push(Problem::new(&path, message, help));
        }
    }
    problems
}
