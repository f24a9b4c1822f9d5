//! The Project and the Stage as a guest gets them.
//!
//! In: snapshots. Out: facts. Auto-promotion comes from the ProjectConfig, never from the Stage's status, which lags
//! (kargo-live.md section 4). Labels are text from outside: redacted and capped.

use std::collections::BTreeMap;

use super::{World, fact, list, name, neighbours, short};
use crate::context::{Health, HoldFacts, ProjectFacts, StageFacts};
use crate::guardrails::{g15_human_hold, g26_two_engines};
use crate::name::FreightName;
use crate::snapshot::{ApplicationSnapshot, HoldSnapshot, PromotionPhase, StageSnapshot};
use crate::target;

pub(super) fn project(world: &World<'_>) -> ProjectFacts {
    let mut extra = Vec::new();
    if g26_two_engines::rolls_back_by_itself(world.project, world.stage) {
        extra.push(fact("enterprise-auto-rollback", "true"));
    }
    ProjectFacts { name: name(world.project.name.as_str()), labels: labels(&world.project.labels), extra }
}

pub(super) fn stage(world: &World<'_>) -> StageFacts {
    let stage = world.stage;
    let mut upstream: Vec<String> =
        stage.requests.iter().flat_map(|request| &request.stages).map(|stage| name(stage.as_str())).collect();
    upstream.sort();
    upstream.dedup();
    StageFacts {
        name: name(stage.name.as_str()),
        labels: labels(&stage.labels),
        shard: stage.shard.as_deref().map(name),
        origins: stage.requests.iter().map(|request| name(request.origin.as_str())).collect(),
        health: stage.health.unwrap_or(Health::Unknown),
        auto_promotion: target::auto_promotion(world.project, stage),
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
    if let Some(reason) = health_untrusted(stage) {
        extra.push(fact("health-untrusted", reason));
    }
    let soaks = stage.requests.iter().filter(|request| request.soak_seconds > 0);
    let soaks = soaks.map(|request| format!("{} {}", request.origin, request.soak_seconds));
    extra.extend(list("required-soak-seconds", soaks));
    extra.extend(of_history(world));
    extra.extend(list("upstream-stages", neighbours::upstream(world)));
    extra.extend(list("downstream-stages", neighbours::downstream(world)));
    extra.extend(window(stage));
    extra.extend(list("argocd-applications", world.applications.iter().map(application)));
    extra
}

/// `NAMESPACE/NAME: sync OutOfSync, health Degraded (...), operation Failed (...), revision ...`.
fn application(application: &ApplicationSnapshot) -> String {
    let name = format!("{}/{}", application.is.namespace, application.is.name);
    let Some(says) = &application.says else { return format!("{name}: not readable for this Stage") };
    let explained = |what: &str, word: &str, message: &str| match (word, message) {
        ("", _) => None,
        (word, "") => Some(format!("{what} {word}")),
        (word, message) => Some(format!("{what} {word} ({})", short(message))),
    };
    let parts = [
        explained("sync", &says.sync, ""),
        explained("health", &says.health, &says.health_message),
        explained("operation", &says.operation, &says.operation_message),
        explained("revision", &says.revisions.join(" "), ""),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    format!(
        "{name}: {}",
        if parts.is_empty() { "Argo CD says nothing yet".to_owned() } else { parts.join(", ") }
    )
}

/// Why the Stage's health says nothing about what runs, if so. After a Promotion that did not succeed Kargo stops
/// assessing and writes Unknown, whatever is deployed (failure-strategies.md 0.7; `regular_stages.go`, v1.11.2).
fn health_untrusted(stage: &StageSnapshot) -> Option<&'static str> {
    if stage.current_promotion.is_some() {
        return Some("promotion-running");
    }
    match stage.last_promotion.as_ref().and_then(|last| last.phase) {
        Some(PromotionPhase::Failed | PromotionPhase::Errored | PromotionPhase::Aborted) => {
            Some("last-promotion-did-not-succeed")
        }
        Some(PromotionPhase::Pending | PromotionPhase::Running | PromotionPhase::Succeeded) | None => {
            stage.health.is_none().then_some("not-assessed")
        }
    }
}

/// Freight of the Stage's history that is gone, and what of the rest Kargo would not promote here now.
fn of_history(world: &World<'_>) -> Vec<(String, String)> {
    let mut names: Vec<&FreightName> = Vec::new();
    for freight in world.stage.history.iter().flat_map(|held| held.items.values()) {
        if !names.contains(&freight) {
            names.push(freight);
        }
    }
    let gone = names.iter().filter(|name| world.freight.exists(name) == Some(false));
    let is_kept_away = |wanted: &&&FreightName| {
        world.freight.get(wanted).is_some_and(|piece| !target::is_available(world.stage, piece, world.now))
    };
    let unavailable = names.iter().filter(is_kept_away);
    let gone = list("freight-gone", gone.map(ToString::to_string));
    let unavailable = list("freight-unavailable", unavailable.map(ToString::to_string));
    gone.into_iter().chain(unavailable).collect()
}

/// Promotion windows, as far as Kargo says anything about them; open-source Kargo does not.
fn window(stage: &StageSnapshot) -> Vec<(String, String)> {
    let Some(window) = &stage.window else { return Vec::new() };
    let mut extra = vec![fact("promotion-window", if window.closed { "closed" } else { "open" })];
    if !window.reason.is_empty() {
        extra.push(fact("promotion-window-reason", &window.reason));
    }
    if let Some(opens) = window.next_open {
        extra.push(fact("promotion-window-opens-unix-seconds", &opens.0.to_string()));
    }
    extra
}

fn hold(hold: &HoldSnapshot, world: &World<'_>) -> HoldFacts {
    let actor = hold.actor.as_deref().map(short);
    let ours = g15_human_hold::is_ours(hold, world.promotions, world.deliveries, world.incident);
    HoldFacts { origin: name(hold.origin.as_str()), freight: name(hold.freight.as_str()), actor, ours }
}

fn labels(labels: &BTreeMap<String, String>) -> Vec<(String, String)> {
    labels.iter().map(|(key, value)| (short(key), short(value))).collect()
}
