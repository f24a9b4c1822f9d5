//! Promotions, their steps and verifications as a guest gets them.
//!
//! In: snapshots. Out: facts with redacted, capped texts. Outputs of steps enter only for aliases that the
//! FailurePolicy names, and `failure-hint`.

use super::{MAX_MESSAGE_BYTES, MAX_OUTPUT_BYTES, World, drift, fact, list, name, short};
use crate::context::{
    Measurement, MetricFacts, PromotionFacts, QueuedPromotion, RollbackTarget, StepFacts, VerificationFacts,
};
use crate::redact;
use crate::rules::Rules;
use crate::snapshot::{
    CollectionSnapshot, PromotionPhase, PromotionSnapshot, StepSnapshot, VerificationSnapshot,
};
use crate::{classify, detect};

/// The alias whose output is always captured: the hint channel for templates.
const HINT_ALIAS: &str = "failure-hint";

pub(super) fn promotion(
    snapshot: &PromotionSnapshot,
    world: &World<'_>,
    targets: &[RollbackTarget],
) -> PromotionFacts {
    let drift = drift::since(snapshot, world.stage);
    let has_changed = drift.as_ref().is_some_and(|changes| !changes.is_empty());
    let template_changed = match (&snapshot.template_hash, &world.stage.template_hash) {
        (Some(ran), Some(now)) => Some(ran != now),
        // Of a template with tasks no hash is known, but some of what has changed is.
        (None, _) | (_, None) => has_changed.then_some(true),
    };
    let steps = snapshot.steps.iter().enumerate().map(|(index, one)| step(index, one, world)).collect();
    let mut extra = extra(snapshot, world);
    extra.extend(list("template-drift", drift.unwrap_or_default()));
    if let Some(good) = good_promotion(snapshot, world, targets) {
        extra.push(fact("good-promotion", good.name.as_str()));
        extra.extend(list("template-drift-since-good", drift::since(good, world.stage).unwrap_or_default()));
    }
    PromotionFacts {
        name: name(snapshot.name.as_str()),
        freight: name(snapshot.freight.as_str()),
        phase: snapshot.phase.map(PromotionPhase::text).unwrap_or_default().to_owned(),
        message: redact::shown(&snapshot.message, MAX_MESSAGE_BYTES),
        actor_kind: snapshot.actor_kind,
        actor: snapshot.actor.as_deref().map(short),
        is_rollback: snapshot.is_rollback,
        created_unix_seconds: snapshot.created,
        started_unix_seconds: snapshot.started,
        finished_unix_seconds: snapshot.finished,
        steps,
        template_changed,
        extra,
    }
}

fn extra(snapshot: &PromotionSnapshot, world: &World<'_>) -> Vec<(String, String)> {
    let mut extra = Vec::new();
    if let Some(actor) = &snapshot.abort_actor {
        extra.push(fact("abort-actor", actor));
    }
    if let Some(origin) = &snapshot.hold {
        extra.push(fact("hold-origin", origin.as_str()));
    }
    if let Some(origin) = &snapshot.resume {
        extra.push(fact("resume-origin", origin.as_str()));
    }
    if snapshot.restarted {
        extra.push(fact("restarted", "true"));
    }
    let items = prior(snapshot, world).into_iter().flat_map(|held| &held.items);
    extra.extend(list("prior-freight", items.map(|(origin, freight)| format!("{origin} {freight}"))));
    extra
}

/// What the Stage held before this Promotion: what it holds when the Promotion established nothing, else the entry
/// before its own. `None` when the Stage has recorded another Promotion since, so that there is no saying.
fn prior<'a>(snapshot: &PromotionSnapshot, world: &World<'a>) -> Option<&'a CollectionSnapshot> {
    let history = &world.stage.history;
    let last = world.stage.last_promotion.as_ref().map(|last| &last.name);
    if last.is_some_and(|last| *last > snapshot.name) {
        return None;
    }
    let is_recorded = last == Some(&snapshot.name) && snapshot.phase == Some(PromotionPhase::Succeeded);
    if !is_recorded {
        return history.first();
    }
    let own = history.iter().position(|held| held.items == snapshot.collection)?;
    history.get(own + 1)
}

/// The newest Promotion before this one that delivered the last good Freight of the same origin here.
fn good_promotion<'a>(
    snapshot: &PromotionSnapshot,
    world: &World<'a>,
    targets: &[RollbackTarget],
) -> Option<&'a PromotionSnapshot> {
    let is_own = |target: &&RollbackTarget| {
        snapshot.origin.as_ref().is_none_or(|origin| origin.as_str() == target.origin)
    };
    let good = targets.iter().find(is_own)?.freight.as_deref()?;
    let delivered = world.promotions.iter().filter(|one| {
        one.stage == world.stage.name
            && one.phase == Some(PromotionPhase::Succeeded)
            && one.freight.as_str() == good
            && one.name < snapshot.name
    });
    delivered.max_by(|one, two| one.name.cmp(&two.name))
}

fn step(index: usize, snapshot: &StepSnapshot, world: &World<'_>) -> StepFacts {
    let output = snapshot.output.as_deref().filter(|_| may_capture(&snapshot.alias, world.rules));
    StepFacts {
        index: u32::try_from(index).unwrap_or(u32::MAX),
        alias: short(&snapshot.alias),
        kind: short(&snapshot.kind),
        status: snapshot.status.as_deref().map(short),
        message: redact::shown(&snapshot.message, MAX_MESSAGE_BYTES),
        error_count: snapshot.error_count,
        continue_on_error: snapshot.continue_on_error,
        mutates: classify::mutates(&snapshot.kind),
        started_unix_seconds: snapshot.started,
        finished_unix_seconds: snapshot.finished,
        output: output.map(|text| redact::shown(text, MAX_OUTPUT_BYTES)),
        extra: step_extra(snapshot, output, world),
    }
}

fn step_extra(snapshot: &StepSnapshot, output: Option<&str>, world: &World<'_>) -> Vec<(String, String)> {
    let is_running = snapshot.status.as_deref() == Some("Running");
    let ended = snapshot.finished.or(is_running.then_some(world.now));
    let duration = snapshot.started.zip(ended).map(|(started, ended)| ended.since(started).to_string());
    let facts = [
        ("duration-seconds", duration),
        ("error-threshold", snapshot.error_threshold.map(|threshold| threshold.to_string())),
        ("timeout-seconds", snapshot.timeout_seconds.map(|seconds| seconds.to_string())),
        ("pull-request", output.and_then(pull_request)),
    ];
    facts.into_iter().filter_map(|(key, value)| Some(fact(key, &value?))).collect()
}

/// The pull request that a captured output speaks of, as its address or else its number: `pr.url` and `pr.id` of
/// `git-open-pr` and its kin (`pkg/promotion/runner/builtin/git_pr_opener.go`, v1.11.2).
fn pull_request(output: &str) -> Option<String> {
    let output: serde_json::Value = serde_json::from_str(output).ok()?;
    let request = output.get("pr")?;
    let url = request.get("url").and_then(serde_json::Value::as_str).map(str::to_owned);
    url.or_else(|| Some(request.get("id")?.as_u64()?.to_string()))
}

/// A step of a task has the alias `task::step`, and may be named either way.
fn may_capture(alias: &str, rules: &Rules) -> bool {
    let own = alias.rsplit("::").next().unwrap_or(alias);
    own == HINT_ALIAS || rules.capture_outputs.iter().any(|allowed| allowed == alias)
}

/// Promotions of the Stage that have not ended, by name: the order in which Kargo runs them.
pub(super) fn queue(world: &World<'_>) -> Vec<QueuedPromotion> {
    let mut waiting: Vec<&PromotionSnapshot> = world
        .promotions
        .iter()
        .filter(|promotion| promotion.stage == world.stage.name && !promotion.is_terminal())
        .collect();
    waiting.sort_by(|one, other| one.name.cmp(&other.name));
    waiting
        .into_iter()
        .map(|promotion| QueuedPromotion {
            name: name(promotion.name.as_str()),
            freight: name(promotion.freight.as_str()),
            phase: promotion.phase.map(|phase| phase.text().to_owned()),
            actor_kind: promotion.actor_kind,
        })
        .collect()
}

pub(super) fn verification(snapshot: &VerificationSnapshot, world: &World<'_>) -> VerificationFacts {
    let has_it = |list: &[VerificationSnapshot]| list.iter().any(|one| one.id == snapshot.id);
    let collection = world.stage.history.iter().find(|collection| has_it(&collection.verifications));
    let run = world.analysis_run.filter(|run| snapshot.analysis_run.as_deref() == Some(run.name.as_str()));
    VerificationFacts {
        id: name(snapshot.id.as_str()),
        phase: snapshot.phase.map(|phase| phase.text().to_owned()).unwrap_or_default(),
        message: redact::shown(&snapshot.message, MAX_MESSAGE_BYTES),
        actor: snapshot.actor.as_deref().map(short),
        analysis_run: snapshot.analysis_run.as_deref().map(name),
        reused: detect::is_reused(&world.stage.history, snapshot),
        started_unix_seconds: snapshot.started,
        finished_unix_seconds: snapshot.finished,
        metrics: run.map(|run| run.metrics.iter().map(metric).collect()).unwrap_or_default(),
        extra: collection.map(|collection| fact("freight-collection", &collection.id)).into_iter().collect(),
    }
}

fn metric(metric: &MetricFacts) -> MetricFacts {
    let measurement = |one: &Measurement| Measurement {
        phase: short(&one.phase),
        value: short(&one.value),
        message: redact::shown(&one.message, MAX_MESSAGE_BYTES),
        finished_unix_seconds: one.finished_unix_seconds,
    };
    MetricFacts {
        name: short(&metric.name),
        phase: short(&metric.phase),
        message: redact::shown(&metric.message, MAX_MESSAGE_BYTES),
        counts: metric.counts,
        dry_run: metric.dry_run,
        measurements: metric.measurements.iter().map(measurement).collect(),
        extra: metric.extra.iter().map(|(key, value)| (short(key), short(value))).collect(),
    }
}
