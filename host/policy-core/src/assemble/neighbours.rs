//! The Stages before and after a Stage, a line for each: what it holds, how healthy it is, how it was verified.
//!
//! In: Stages of the Project. Out: lines in the order of names, those that hold the failing Freight first, so that a cut
//! list still says where it has got to. Only Stages next to each other count; how many lines fit is [`super::cut`]'s word.

use super::World;
use crate::name::FreightName;
use crate::snapshot::{StageSnapshot, VerificationPhase};

/// Whether one of the two Stages gets Freight from the other.
pub fn is_neighbour(stage: &StageSnapshot, other: &StageSnapshot) -> bool {
    other.project == stage.project && (feeds(stage, other) || feeds(other, stage))
}

fn feeds(upstream: &StageSnapshot, downstream: &StageSnapshot) -> bool {
    upstream.name != downstream.name
        && downstream.requests.iter().any(|request| request.stages.contains(&upstream.name))
}

/// Stages that this one gets Freight from.
pub(super) fn upstream(world: &World<'_>) -> Vec<String> {
    lines(world, |other| feeds(other, world.stage))
}

/// Stages that get Freight from this one.
pub(super) fn downstream(world: &World<'_>) -> Vec<String> {
    lines(world, |other| feeds(world.stage, other))
}

fn lines(world: &World<'_>, is_meant: impl Fn(&StageSnapshot) -> bool) -> Vec<String> {
    let failing = world.failing();
    let holds = |stage: &StageSnapshot| failing.as_ref().is_some_and(|failing| holds(stage, failing));
    let is_meant = |other: &&StageSnapshot| other.project == world.stage.project && is_meant(other);
    let all = world.neighbours.iter().map(AsRef::as_ref);
    let mut found: Vec<&StageSnapshot> = all.filter(is_meant).collect();
    found.sort_by_key(|stage| (!holds(stage), &stage.name));
    found.into_iter().map(line).collect()
}

fn holds(stage: &StageSnapshot, freight: &FreightName) -> bool {
    stage.history.first().is_some_and(|held| held.items.values().any(|name| name == freight))
}

/// `NAME holds ORIGIN=FREIGHT, health healthy, verification Successful`.
fn line(stage: &StageSnapshot) -> String {
    let held = stage.history.first();
    let items = held.iter().flat_map(|held| &held.items);
    let items: Vec<String> = items.map(|(origin, freight)| format!("{origin}={freight}")).collect();
    let items = if items.is_empty() { "nothing".to_owned() } else { items.join(" ") };
    let health = stage.health.map_or_else(|| "unknown".to_owned(), |health| crate::explain::word(&health));
    let newest = held.and_then(|held| held.verifications.first());
    let verification = match newest.map(|newest| newest.phase) {
        Some(phase) => phase.map_or("Pending", VerificationPhase::text),
        None => "none",
    };
    format!("{} holds {items}, health {health}, verification {verification}", stage.name)
}
