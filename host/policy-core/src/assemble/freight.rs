//! Freight as a guest gets it: what failed, what runs, what ran, where a rollback would go.
//!
//! In: snapshots. Out: facts. Freight that is gone keeps its name and origin, and nothing else is made up. Which one
//! is good is [`crate::target`]'s word.

use super::{World, fact, short};
use crate::context::{Artifact, FreightFacts, FreightPiece, FreightRef, PastCollection, RollbackTarget};
use crate::detect;
use crate::name::{FreightName, Origin};
use crate::redact;
use crate::snapshot::{CollectionSnapshot, FreightSnapshot};
use crate::target;

pub(super) fn facts(world: &World<'_>) -> FreightFacts {
    let failing = world.failing();
    let current = world.stage.history.first();
    FreightFacts {
        current: current.map(|held| pieces(held.items.iter(), world)).unwrap_or_default(),
        history: world.stage.history.iter().map(|past| collection(past, world)).collect(),
        targets: targets(failing.as_ref(), world),
        candidates: candidates(world),
        failing: failing.and_then(|name| known(&name, world)),
    }
}

/// The piece that failed: gone Freight is named only when its origin is known.
fn known(name: &FreightName, world: &World<'_>) -> Option<FreightPiece> {
    if let Some(snapshot) = world.freight.iter().find(|snapshot| snapshot.name == *name) {
        return Some(piece(snapshot, world));
    }
    let origin = world.promotion().and_then(|promotion| promotion.origin.clone());
    origin.map(|origin| gone(&origin, name))
}

fn pieces<'a>(
    items: impl Iterator<Item = (&'a Origin, &'a FreightName)>,
    world: &World<'_>,
) -> Vec<FreightPiece> {
    let find = |name: &FreightName| world.freight.iter().find(|snapshot| snapshot.name == *name);
    items
        .map(|(origin, name)| find(name).map_or_else(|| gone(origin, name), |one| piece(one, world)))
        .collect()
}

fn gone(origin: &Origin, name: &FreightName) -> FreightPiece {
    FreightPiece {
        name: name.to_string(),
        alias: None,
        origin: origin.to_string(),
        discovered_unix_seconds: None,
        artifacts: Vec::new(),
        extra: Vec::new(),
    }
}

fn piece(snapshot: &FreightSnapshot, world: &World<'_>) -> FreightPiece {
    let stage = &world.stage.name;
    let mut extra = Vec::new();
    if let Some(soak) = snapshot.verified_in.get(stage) {
        extra.push(fact("soak-seconds", &soak.to_string()));
    }
    if snapshot.approved_for.contains(stage) {
        extra.push(fact("approved", "true"));
    }
    if let Some(Some(since)) = snapshot.currently_in.get(stage) {
        extra.push(fact("current-since-unix-seconds", &since.0.to_string()));
    }
    let clean = |artifact: &Artifact| Artifact {
        kind: short(&artifact.kind),
        repository: short(&artifact.repository),
        version: short(&artifact.version),
    };
    FreightPiece {
        name: snapshot.name.to_string(),
        alias: snapshot.alias.as_deref().map(short),
        origin: snapshot.origin.to_string(),
        discovered_unix_seconds: snapshot.discovered,
        artifacts: snapshot.artifacts.iter().map(clean).collect(),
        extra,
    }
}

fn collection(past: &CollectionSnapshot, world: &World<'_>) -> PastCollection {
    let newest = past.verifications.first();
    let freight = past.items.iter();
    PastCollection {
        id: past.id.clone(),
        freight: freight
            .map(|(origin, name)| FreightRef { origin: origin.to_string(), name: name.to_string() })
            .collect(),
        verification: newest.and_then(|one| one.phase).map(|phase| phase.text().to_owned()),
        verification_reused: newest.is_some_and(|one| detect::is_reused(&world.stage.history, one)),
    }
}

fn targets(failing: Option<&FreightName>, world: &World<'_>) -> Vec<RollbackTarget> {
    let found = target::last_good(&target::Question {
        failure: world.failure,
        failing,
        stage: world.stage,
        promotions: world.promotions,
        freight: world.freight,
        remembered: world.remembered,
        now: world.now,
    });
    found
        .into_iter()
        .map(|target| RollbackTarget {
            because: redact::shown(&target.because, super::MAX_SHORT_BYTES),
            ..target
        })
        .collect()
}

fn candidates(world: &World<'_>) -> Vec<FreightPiece> {
    let found = target::candidates(world.stage, world.freight, world.now);
    pieces(found.iter().map(|(origin, name)| (origin, name)), world)
}
