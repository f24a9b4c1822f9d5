//! Freight as a guest gets it: what failed, what runs, what ran, where a rollback would go.
//!
//! In: snapshots. Out: facts. Freight that is gone keeps its name and origin, and nothing else is made up. Which one
//! is good is [`crate::target`]'s word.

use super::{World, difference, fact, list, name, short};
use crate::context::{Artifact, FreightFacts, FreightPiece, FreightRef, PastCollection, RollbackTarget};
use crate::detect;
use crate::name::{FreightName, Origin, StageName};
use crate::redact;
use crate::snapshot::{CollectionSnapshot, FreightSnapshot};
use crate::target;

pub(super) fn facts(world: &World<'_>, targets: Vec<RollbackTarget>) -> FreightFacts {
    let failing = world.failing();
    let current = world.stage.history.first();
    FreightFacts {
        current: current.map(|held| pieces(held.items.iter(), world)).unwrap_or_default(),
        history: world.stage.history.iter().map(|past| collection(past, world)).collect(),
        candidates: candidates(world),
        failing: failing.and_then(|failing| known(&failing, &targets, world)),
        targets,
    }
}

/// The piece that failed: gone Freight is named only when its origin is known.
fn known(failing: &FreightName, targets: &[RollbackTarget], world: &World<'_>) -> Option<FreightPiece> {
    let Some(snapshot) = world.freight.get(failing) else {
        let origin = world.promotion().and_then(|promotion| promotion.origin.clone());
        return origin.map(|origin| unread(&origin, failing, world));
    };
    let mut piece = piece(snapshot, world);
    piece.extra.extend(newer(snapshot, world));
    let is_own = |target: &&RollbackTarget| target.origin == snapshot.origin.as_str();
    let good = targets.iter().find(is_own).and_then(|target| target.freight.as_deref());
    piece.extra.extend(good.map(|good| compared(snapshot, good, world)).unwrap_or_default());
    Some(piece)
}

/// How much Freight of the same origin was discovered after this one, in the order by which Kargo chooses.
fn newer(snapshot: &FreightSnapshot, world: &World<'_>) -> [(String, String); 2] {
    let is_newer = |piece: &&FreightSnapshot| {
        let is_later = (piece.discovered, &piece.name) > (snapshot.discovered, &snapshot.name);
        is_later && piece.origin == snapshot.origin
    };
    let newer: Vec<&FreightSnapshot> = world.freight.iter().filter(is_newer).collect();
    let available = newer.iter().filter(|piece| target::is_available(world.stage, piece, world.now)).count();
    [fact("newer", &newer.len().to_string()), fact("newer-available", &available.to_string())]
}

/// What is different from the last good Freight; only its name when that is gone, because its artifacts are not known.
fn compared(failing: &FreightSnapshot, good: &str, world: &World<'_>) -> Vec<(String, String)> {
    let mut extra = vec![fact("compared-with", good)];
    let good = world.freight.get(&FreightName::from(good));
    if let Some(good) = good.filter(|good| !(good.artifacts.is_empty() && failing.artifacts.is_empty())) {
        let difference = difference::between(&good.artifacts, &failing.artifacts);
        extra.push(fact("bump", difference.bump.map_or("unknown", difference::Bump::text)));
        extra.extend(list("changes", difference.lines));
    }
    extra
}

fn pieces<'a>(
    items: impl Iterator<Item = (&'a Origin, &'a FreightName)>,
    world: &World<'_>,
) -> Vec<FreightPiece> {
    items
        .map(|(origin, name)| match world.freight.get(name) {
            Some(snapshot) => piece(snapshot, world),
            None => unread(origin, name, world),
        })
        .collect()
}

/// A piece of which only the name and the origin are known.
fn unread(origin: &Origin, freight: &FreightName, world: &World<'_>) -> FreightPiece {
    let gone = match world.freight.exists(freight) {
        Some(true) => "false",
        Some(false) => "true",
        None => "unknown",
    };
    FreightPiece {
        name: name(freight.as_str()),
        alias: None,
        origin: name(origin.as_str()),
        discovered_unix_seconds: None,
        artifacts: Vec::new(),
        extra: vec![fact("gone", gone)],
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
    let available = target::is_available(world.stage, snapshot, world.now);
    extra.push(fact("available", if available { "true" } else { "false" }));
    extra.extend(list("held-by", snapshot.currently_in.keys().map(StageName::to_string)));
    extra.extend(list("verified-in", snapshot.verified_in.keys().map(StageName::to_string)));
    let clean = |artifact: &Artifact| Artifact {
        kind: short(&artifact.kind),
        repository: short(&artifact.repository),
        version: short(&artifact.version),
    };
    FreightPiece {
        name: name(snapshot.name.as_str()),
        alias: snapshot.alias.as_deref().map(short),
        origin: name(snapshot.origin.as_str()),
        discovered_unix_seconds: snapshot.discovered,
        artifacts: snapshot.artifacts.iter().map(clean).collect(),
        extra,
    }
}

fn collection(past: &CollectionSnapshot, world: &World<'_>) -> PastCollection {
    let newest = past.verifications.first();
    let freight = past.items.iter();
    PastCollection {
        id: name(&past.id),
        freight: freight
            .map(|(origin, freight)| FreightRef {
                origin: name(origin.as_str()),
                name: name(freight.as_str()),
            })
            .collect(),
        verification: newest.and_then(|one| one.phase).map(|phase| phase.text().to_owned()),
        verification_reused: newest.is_some_and(|one| detect::is_reused(&world.stage.history, one)),
    }
}

pub(super) fn targets(world: &World<'_>) -> Vec<RollbackTarget> {
    let failing = world.failing();
    let found = target::last_good(&target::Question {
        failure: world.failure,
        failing: failing.as_ref(),
        stage: world.stage,
        promotions: world.promotions,
        freight: world.freight,
        remembered: world.remembered,
        now: world.now,
    });
    found
        .into_iter()
        .map(|target| RollbackTarget {
            origin: name(&target.origin),
            freight: target.freight.as_deref().map(name),
            because: redact::shown(&target.because, super::MAX_SHORT_BYTES),
            ..target
        })
        .collect()
}

fn candidates(world: &World<'_>) -> Vec<FreightPiece> {
    let found = target::candidates(world.stage, world.freight, world.now);
    pieces(found.iter().map(|(origin, name)| (origin, name)), world)
}
