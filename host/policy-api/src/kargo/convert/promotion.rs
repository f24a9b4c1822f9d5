//! Promotion to its snapshot.
//!
//! In: [`Promotion`] and a [`Reading`]. Out: [`PromotionSnapshot`]; outputs only of aliases that may be captured.

use std::collections::BTreeMap;

use kube::core::ObjectMeta;
use policy_core::context::ActorKind;
use policy_core::name::{FreightName, Origin, ProjectName, PromotionName, StageName};
use policy_core::snapshot::{PromotionPhase, PromotionSnapshot, StepSnapshot};
use serde_json::{Value, json};

use super::{
    ConvertError, Identity, MAX_OUTPUT_BYTES, Reading, annotation, created, identity, is_ignored, origin,
    some, time, unknown_word,
};
use crate::kargo::digest::{self, TemplateDigest};
use crate::kargo::{GoDuration, Promotion, PromotionStatus, StepResult, keys};

/// Converts a Promotion.
///
/// # Errors
/// When it lacks its name, namespace, uid or Stage, or its phase is not one of Kargo's.
pub fn promotion(promotion: &Promotion, reading: &Reading<'_>) -> Result<PromotionSnapshot, ConvertError> {
    let Identity { object, name, namespace, uid } = identity("Promotion", &promotion.metadata)?;
    if promotion.spec.stage.is_empty() {
        return Err(ConvertError::Missing { object, path: "spec.stage" });
    }
    let status = promotion.status.clone().unwrap_or_default();
    let metadata = &promotion.metadata;
    let labels = our_labels(metadata);
    let actor = annotation(metadata, keys::CREATE_ACTOR).map(str::to_owned);
    let of_status = status.freight.as_ref().and_then(|freight| freight.origin.as_ref());
    Ok(PromotionSnapshot {
        phase: phase(&object, "status.phase", &status.phase)?,
        name: PromotionName::new(name),
        uid,
        stage: StageName::from(promotion.spec.stage.as_str()),
        freight: FreightName::from(promotion.spec.freight.as_str()),
        origin: of_status.or(promotion.spec.origin.as_ref()).and_then(origin),
        message: status.message.clone(),
        created: created(metadata),
        started: status.started_at.map(time),
        finished: status.finished_at.map(time),
        actor_kind: actor_kind(actor.as_deref(), &labels, &namespace, reading.account),
        actor,
        is_rollback: annotation(metadata, keys::ROLLBACK) == Some("true"),
        abort_actor: annotation(metadata, keys::ABORT).and_then(abort_actor),
        hold: annotation(metadata, keys::HOLD).map(Origin::from),
        resume: annotation(metadata, keys::RESUME).map(Origin::from),
        labels,
        ignored: is_ignored(metadata),
        collection: collection(&status),
        steps: steps(promotion, &status, reading),
        template_hash: Some(template_hash(promotion)),
        vars: digest::of_vars(&promotion.spec.vars),
        restarted: has_restarted(promotion, &status),
        project: ProjectName::new(namespace),
    })
}

/// Kargo's word for a Promotion's phase; the empty text means that Kargo has not seen it.
///
/// # Errors
/// For any other word.
pub(super) fn phase(object: &str, path: &str, word: &str) -> Result<Option<PromotionPhase>, ConvertError> {
    Ok(Some(match word {
        "" => return Ok(None),
        "Pending" => PromotionPhase::Pending,
        "Running" => PromotionPhase::Running,
        "Succeeded" => PromotionPhase::Succeeded,
        "Failed" => PromotionPhase::Failed,
        "Errored" => PromotionPhase::Errored,
        "Aborted" => PromotionPhase::Aborted,
        _ => return Err(unknown_word(object, path, word)),
    }))
}

/// Who made a Promotion. The webhook sets the annotation for everybody but the control plane and protects it
/// (`pkg/webhook/kubernetes/promotion/webhook.go`), so its absence means Kargo. Our account alone is not enough to
/// be us: somebody may use its token by hand, and only our own Promotions carry the incident label.
fn actor_kind(
    actor: Option<&str>,
    labels: &BTreeMap<String, String>,
    project: &str,
    account: &str,
) -> ActorKind {
    let Some(actor) = actor else { return ActorKind::Kargo };
    let ours = format!("kubernetes:system:serviceaccount:{project}:{account}");
    if actor == ours && labels.contains_key(keys::INCIDENT) {
        ActorKind::Refloat
    } else if actor.starts_with("controller:") {
        ActorKind::Kargo
    } else {
        ActorKind::Person
    }
}

fn our_labels(metadata: &ObjectMeta) -> BTreeMap<String, String> {
    let labels = metadata.labels.iter().flatten();
    labels
        .filter(|(key, _)| key.starts_with(keys::OURS))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// The webhook rewrites `terminate` to JSON with the actor; the bare word has none.
fn abort_actor(annotation: &str) -> Option<String> {
    let request: Value = serde_json::from_str(annotation).ok()?;
    request.get("actor").and_then(Value::as_str).and_then(some)
}

fn collection(status: &PromotionStatus) -> BTreeMap<Origin, FreightName> {
    let items = status.freight_collection.iter().flat_map(|collection| &collection.items);
    items
        .map(|(origin, freight)| (Origin::from(origin.as_str()), FreightName::from(freight.name.as_str())))
        .collect()
}

/// Steps of the spec with what the status says about each; results without a step in the spec come last.
fn steps(promotion: &Promotion, status: &PromotionStatus, reading: &Reading<'_>) -> Vec<StepSnapshot> {
    let mut results: Vec<&StepResult> = status.step_execution_metadata.iter().collect();
    let mut steps = Vec::with_capacity(promotion.spec.steps.len());
    for (index, step) in promotion.spec.steps.iter().enumerate() {
        let alias = default_alias(&step.alias, index);
        let result = results.iter().position(|result| result.alias == alias).map(|at| results.remove(at));
        let mut snapshot = step_snapshot(&alias, result, status, reading);
        snapshot.kind.clone_from(&step.uses);
        snapshot.continue_on_error |= step.continue_on_error;
        snapshot.error_threshold = step.retry.error_threshold;
        snapshot.applications.clone_from(&step.applications);
        snapshot.timeout_seconds = step.retry.timeout.map(GoDuration::seconds_required);
        snapshot.digest = Some(digest::short(&step.digest));
        steps.push(snapshot);
    }
    steps.extend(results.iter().map(|result| step_snapshot(&result.alias, Some(result), status, reading)));
    steps
}

/// Kargo's own default for `as`, counted from 1 (`pkg/promotion`).
pub(super) fn default_alias(alias: &str, index: usize) -> String {
    if alias.is_empty() { format!("step-{}", index + 1) } else { alias.to_owned() }
}

fn step_snapshot(
    alias: &str,
    result: Option<&StepResult>,
    status: &PromotionStatus,
    reading: &Reading<'_>,
) -> StepSnapshot {
    let none = StepResult::default();
    let result = result.unwrap_or(&none);
    StepSnapshot {
        alias: alias.to_owned(),
        kind: String::new(),
        status: some(&result.status),
        message: result.message.clone(),
        error_count: result.error_count,
        continue_on_error: result.continue_on_error,
        started: result.started_at.map(time),
        finished: result.finished_at.map(time),
        output: output(alias, status, reading),
        error_threshold: None,
        timeout_seconds: None,
        digest: None,
        applications: Vec::new(),
    }
}

/// Whether there is an output of a step that has not begun: Kargo keeps outputs when it begins anew, and nothing else.
/// Once every step has begun again there is no trace left.
fn has_restarted(promotion: &Promotion, status: &PromotionStatus) -> bool {
    let has_begun = |alias: &str| status.step_execution_metadata.iter().any(|result| result.alias == alias);
    let mut aliases =
        promotion.spec.steps.iter().enumerate().map(|(index, step)| default_alias(&step.alias, index));
    let state = status.state.as_ref();
    aliases.any(|alias| state.is_some_and(|state| state.contains_key(&alias)) && !has_begun(&alias))
}

/// The output of one step as JSON text, when it may be captured and is not larger than the contract allows. Of every
/// other step, what it says as `hint` and nothing else.
fn output(alias: &str, status: &PromotionStatus, reading: &Reading<'_>) -> Option<String> {
    let is_hint = alias == "failure-hint" || alias.ends_with("::failure-hint");
    let output = status.state.as_ref()?.get(alias)?;
    let text = if is_hint || reading.capture.iter().any(|captured| captured == alias) {
        output.to_string()
    } else {
        json!({ "hint": output.get("hint")? }).to_string()
    };
    (text.len() <= MAX_OUTPUT_BYTES).then_some(text)
}

fn template_hash(promotion: &Promotion) -> String {
    let mut digest = TemplateDigest::default();
    for (index, step) in promotion.spec.steps.iter().enumerate() {
        digest.step(&default_alias(&step.alias, index), &step.digest);
    }
    for var in &promotion.spec.vars {
        digest.var(var);
    }
    digest.finish()
}
