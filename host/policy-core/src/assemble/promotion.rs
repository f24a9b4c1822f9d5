//! Promotions, their steps and verifications as a guest gets them.
//!
//! In: snapshots. Out: facts with redacted, capped texts. Outputs of steps enter only for aliases that the
//! FailurePolicy names, and `failure-hint`.

use super::{MAX_MESSAGE_BYTES, MAX_OUTPUT_BYTES, World, fact, short};
use crate::context::{
    Measurement, MetricFacts, PromotionFacts, QueuedPromotion, StepFacts, VerificationFacts,
};
use crate::redact;
use crate::rules::Rules;
use crate::snapshot::{PromotionPhase, PromotionSnapshot, StepSnapshot, VerificationSnapshot};
use crate::{classify, detect};

/// The alias whose output is always captured: the hint channel for templates.
const HINT_ALIAS: &str = "failure-hint";

pub(super) fn promotion(snapshot: &PromotionSnapshot, world: &World<'_>) -> PromotionFacts {
    let template_changed = match (&snapshot.template_hash, &world.stage.template_hash) {
        (Some(ran), Some(now)) => Some(ran != now),
        (None, _) | (_, None) => None,
    };
    let steps = snapshot.steps.iter().enumerate().map(|(index, one)| step(index, one, world.rules)).collect();
    PromotionFacts {
        name: snapshot.name.to_string(),
        freight: snapshot.freight.to_string(),
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
        extra: extra(snapshot),
    }
}

fn extra(snapshot: &PromotionSnapshot) -> Vec<(String, String)> {
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
    extra
}

fn step(index: usize, snapshot: &StepSnapshot, rules: &Rules) -> StepFacts {
    let output = snapshot.output.as_deref().filter(|_| may_capture(&snapshot.alias, rules));
    StepFacts {
        index: u32::try_from(index).unwrap_or(u32::MAX),
        alias: short(&snapshot.alias),
        kind: short(&snapshot.kind),
        status: snapshot.status.clone(),
        message: redact::shown(&snapshot.message, MAX_MESSAGE_BYTES),
        error_count: snapshot.error_count,
        continue_on_error: snapshot.continue_on_error,
        mutates: classify::mutates(&snapshot.kind),
        started_unix_seconds: snapshot.started,
        finished_unix_seconds: snapshot.finished,
        output: output.map(|text| redact::shown(text, MAX_OUTPUT_BYTES)),
        extra: Vec::new(),
    }
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
            name: promotion.name.to_string(),
            freight: promotion.freight.to_string(),
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
        id: snapshot.id.to_string(),
        phase: snapshot.phase.map(|phase| phase.text().to_owned()).unwrap_or_default(),
        message: redact::shown(&snapshot.message, MAX_MESSAGE_BYTES),
        actor: snapshot.actor.as_deref().map(short),
        analysis_run: snapshot.analysis_run.clone(),
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
