//! The Project and the Stage as a guest gets them.
//!
//! In: snapshots. Out: facts. Auto-promotion comes from the ProjectConfig, never from the Stage's status, which lags
//! (kargo-live.md section 4). Labels are text from outside: redacted and capped.

use std::collections::BTreeMap;

use super::{World, fact, short};
use crate::context::{ActorKind, Health, HoldFacts, ProjectFacts, StageFacts};
use crate::guardrails::g26_two_engines;
use crate::snapshot::HoldSnapshot;
use crate::target;

pub(super) fn project(world: &World<'_>) -> ProjectFacts {
    let mut extra = Vec::new();
    if g26_two_engines::rolls_back_by_itself(world.project, world.stage) {
        extra.push(fact("enterprise-auto-rollback", "true"));
    }
    ProjectFacts { name: world.project.name.to_string(), labels: labels(&world.project.labels), extra }
}

pub(super) fn stage(world: &World<'_>) -> StageFacts {
    let stage = world.stage;
    let mut upstream: Vec<String> =
        stage.requests.iter().flat_map(|request| &request.stages).map(ToString::to_string).collect();
    upstream.sort();
    upstream.dedup();
    StageFacts {
        name: stage.name.to_string(),
        labels: labels(&stage.labels),
        shard: stage.shard.clone(),
        origins: stage.requests.iter().map(|request| request.origin.to_string()).collect(),
        health: stage.health.unwrap_or(Health::Unknown),
        auto_promotion: Some(target::auto_promotion(world.project, stage)),
        holds: target::effective_holds(stage, world.promotions).iter().map(|one| hold(one, world)).collect(),
        upstream,
        verifies: stage.verifies,
        extra: extra(world),
    }
}

fn extra(world: &World<'_>) -> Vec<(String, String)> {
    let stage = world.stage;
    let mut extra = Vec::new();
    if let Some(current) = &stage.current_promotion {
        extra.push(fact("current-promotion", current.as_str()));
    }
    if let Some(last) = &stage.last_promotion {
        extra.push(fact("last-promotion", last.name.as_str()));
        if let Some(phase) = last.phase {
            extra.push(fact("last-promotion-phase", phase.text()));
        }
    }
    if let Some(reverify) = &stage.reverify {
        extra.push(fact("reverify-pending", reverify));
    }
    extra
}

/// A hold is ours when its Promotion is, or when its actor made a Promotion of ours. Promotions are collected as
/// garbage, so an actor's name may be all that is left; a hold that cannot be told apart counts as a person's.
fn hold(hold: &HoldSnapshot, world: &World<'_>) -> HoldFacts {
    let by_us = |promotion: &crate::snapshot::PromotionSnapshot| promotion.actor_kind == ActorKind::Refloat;
    let ours = world.promotions.iter().filter(|promotion| by_us(promotion)).any(|promotion| {
        hold.promotion.as_ref() == Some(&promotion.name)
            || (hold.actor.is_some() && hold.actor == promotion.actor)
    });
    let remembered = world
        .deliveries
        .iter()
        .map(|delivery| &delivery.promotion)
        .chain(world.incident.attempts.iter().map(|attempt| &attempt.promotion))
        .any(|promotion| promotion.is_some() && *promotion == hold.promotion);
    HoldFacts {
        origin: hold.origin.to_string(),
        freight: hold.freight.to_string(),
        actor: hold.actor.as_deref().map(short),
        ours: ours || remembered,
    }
}

fn labels(labels: &BTreeMap<String, String>) -> Vec<(String, String)> {
    labels.iter().map(|(key, value)| (short(key), short(value))).collect()
}
