//! Stage to its snapshot.
//!
//! In: [`Stage`]. Out: [`StageSnapshot`].

use policy_core::context::Health;
use policy_core::name::{FreightName, Origin, ProjectName, PromotionName, StageName, VerificationId};
use policy_core::redact;
use policy_core::snapshot::{
    ApplicationRef, CollectionSnapshot, FreightRequest, HoldSnapshot, LastPromotion, StageSnapshot,
    TemplateStepSnapshot, VerificationPhase, VerificationSnapshot, WindowSnapshot,
};
use serde_json::Value;

use super::promotion::{default_alias, phase};
use super::{
    ConvertError, Identity, annotation, failure_hint, identity, is_ignored, origin, some, time, unknown_word,
};
use crate::kargo::digest::{self, TemplateDigest};
use crate::kargo::stage::{
    Collection, ConditionText, PromotionReference, RequestText, StageStatus, TemplateStep, VerificationText,
    WindowText,
};
use crate::kargo::{Stage, keys};

/// Longest text of Kargo's that is kept of a Stage, in bytes.
const MAX_TEXT: usize = 512;

/// Converts a Stage.
///
/// # Errors
/// When it lacks its name, namespace or uid, or says a phase or health that is not one of Kargo's.
pub fn stage(stage: &Stage) -> Result<StageSnapshot, ConvertError> {
    let Identity { object, name, namespace, uid } = identity("Stage", &stage.metadata)?;
    let none = StageStatus::default();
    let status = stage.status.as_ref().unwrap_or(&none);
    let history = status.freight_history.iter().enumerate();
    Ok(StageSnapshot {
        project: ProjectName::new(namespace),
        name: StageName::new(name),
        uid,
        resource_version: stage.metadata.resource_version.clone().unwrap_or_default(),
        labels: stage.metadata.labels.clone().unwrap_or_default(),
        shard: stage.spec.shard.as_deref().and_then(some),
        requests: stage.spec.requested_freight.iter().filter_map(request).collect(),
        has_steps: stage
            .spec
            .promotion_template
            .as_ref()
            .is_some_and(|template| !template.spec.steps.is_empty()),
        verifies: stage.spec.verification.is_some(),
        template_hash: template_hash(stage),
        template: template(stage),
        vars: vars(stage),
        window: status.promotion_window_status.as_ref().map(window),
        health: health(&object, status)?,
        current_promotion: status.current_promotion.as_ref().and_then(|current| named(&current.name)),
        last_promotion: last_promotion(&object, status.last_promotion.as_ref())?,
        history: history.map(|(at, entry)| collection(&object, at, entry)).collect::<Result<_, _>>()?,
        holds: holds(status),
        reverify: annotation(&stage.metadata, keys::REVERIFY).map(str::to_owned),
        refresh: annotation(&stage.metadata, keys::REFRESH).map(str::to_owned),
        handled_refresh: some(&status.last_handled_refresh),
        health_issue: health_issue(status),
        reconcile_error: reconcile_error(status),
        failure_hint: failure_hint(&status.metadata),
        applications: applications(stage),
        ignored: is_ignored(&stage.metadata),
        deleting: stage.metadata.deletion_timestamp.is_some(),
    })
}

/// What Kargo notes on the Stage (`pkg/api/stage.go`, v1.11.2); a text that it would not write says nothing.
fn applications(stage: &Stage) -> Vec<ApplicationRef> {
    let noted = annotation(&stage.metadata, keys::ARGOCD_CONTEXT);
    let noted: Option<Vec<Value>> = noted.and_then(|text| serde_json::from_str(text).ok());
    noted.iter().flatten().filter_map(crate::kargo::promotion::application).collect()
}

fn request(request: &RequestText) -> Option<FreightRequest> {
    Some(FreightRequest {
        origin: origin(&request.origin)?,
        direct: request.sources.direct,
        stages: request.sources.stages.iter().map(|stage| StageName::from(stage.as_str())).collect(),
        all_stages: request.sources.availability_strategy == "All",
        soak_seconds: request.sources.required_soak_time.unwrap_or_default().seconds_required(),
        follows_upstream: request
            .sources
            .auto_promotion_options
            .as_ref()
            .is_some_and(|options| options.selection_policy == "MatchUpstream"),
    })
}

/// The hash that a Promotion made from this template would have, see [`super::promotion`]. `None` when the template
/// refers to tasks: their steps and vars are not in the Stage.
fn template_hash(stage: &Stage) -> Option<String> {
    let template = stage.spec.promotion_template.as_ref()?;
    let mut digest = TemplateDigest::default();
    for (index, step) in template.spec.steps.iter().enumerate() {
        match step {
            TemplateStep::Runner(step) => digest.step(&default_alias(&step.alias, index), &step.digest),
            TemplateStep::Task { .. } => return None,
        }
    }
    for var in stage.spec.vars.iter().chain(&template.spec.vars) {
        digest.var(var);
    }
    Some(digest.finish())
}

fn template(stage: &Stage) -> Vec<TemplateStepSnapshot> {
    let steps = stage.spec.promotion_template.iter().flat_map(|template| &template.spec.steps).enumerate();
    let piece = |(index, step): (usize, &TemplateStep)| match step {
        TemplateStep::Runner(step) => TemplateStepSnapshot {
            alias: default_alias(&step.alias, index),
            kind: step.uses.clone(),
            task: None,
            digest: Some(digest::short(&step.digest)),
        },
        // Kargo's own default for a task (`pkg/api/promotion.go`, v1.11.2).
        TemplateStep::Task { alias, name } => TemplateStepSnapshot {
            alias: if alias.is_empty() { format!("task-{}", index + 1) } else { alias.clone() },
            kind: String::new(),
            task: Some(name.clone()),
            digest: None,
        },
    };
    steps.map(piece).collect()
}

/// A Promotion's vars are the Stage's followed by the template's (kargo-api.md 1.6).
fn vars(stage: &Stage) -> std::collections::BTreeMap<String, String> {
    let template = stage.spec.promotion_template.iter().flat_map(|template| &template.spec.vars);
    digest::of_vars(stage.spec.vars.iter().chain(template))
}

fn window(window: &WindowText) -> WindowSnapshot {
    WindowSnapshot {
        closed: window.closed,
        reason: window.reason.clone(),
        next_open: window.next_open.map(time),
    }
}

fn health(object: &str, status: &StageStatus) -> Result<Option<Health>, ConvertError> {
    let word = status.health.as_ref().map(|health| health.status.as_str()).unwrap_or_default();
    Ok(Some(match word {
        "" => return Ok(None),
        "Healthy" => Health::Healthy,
        "Unhealthy" => Health::Unhealthy,
        "Progressing" => Health::Progressing,
        "Unknown" => Health::Unknown,
        "NotApplicable" => Health::NotApplicable,
        _ => return Err(unknown_word(object, "status.health.status", word)),
    }))
}

/// What the first health check that is not content says. Redacted before it is cut: half a token is no token to
/// anybody who looks for tokens.
fn health_issue(status: &StageStatus) -> Option<String> {
    let issue = status.health.as_ref()?.issues.iter().find(|issue| !issue.is_empty())?;
    Some(redact::shown(issue, MAX_TEXT))
}

/// Why the last reconcile ended (`regular_stages.go:2303-2325`).
fn reconcile_error(status: &StageStatus) -> Option<String> {
    let is_error =
        |condition: &&ConditionText| condition.kind == "Ready" && condition.reason == "ReconcileError";
    let error = status.conditions.iter().find(is_error)?;
    Some(redact::shown(&error.message, MAX_TEXT))
}

fn last_promotion(
    object: &str,
    last: Option<&PromotionReference>,
) -> Result<Option<LastPromotion>, ConvertError> {
    let Some((last, name)) = last.and_then(|last| Some((last, named(&last.name)?))) else { return Ok(None) };
    let word = last.status.as_ref().map(|status| status.phase.as_str()).unwrap_or_default();
    Ok(Some(LastPromotion {
        name,
        phase: phase(object, "status.lastPromotion.status.phase", word)?,
        freight: last.freight.as_ref().and_then(|freight| some(&freight.name)).map(FreightName::new),
        finished: last.finished_at.map(time),
    }))
}

fn collection(object: &str, at: usize, entry: &Collection) -> Result<CollectionSnapshot, ConvertError> {
    let attempts = entry.verification_history.iter().enumerate();
    let items = entry.items.iter();
    Ok(CollectionSnapshot {
        id: entry.id.clone(),
        items: items
            .map(|(origin, freight)| {
                (Origin::from(origin.as_str()), FreightName::from(freight.name.as_str()))
            })
            .collect(),
        verifications: attempts
            .map(|(index, attempt)| {
                let path = || format!("status.freightHistory[{at}].verificationHistory[{index}].phase");
                verification(object, path, attempt)
            })
            .collect::<Result<_, _>>()?,
    })
}

fn verification(
    object: &str,
    path: impl Fn() -> String,
    attempt: &VerificationText,
) -> Result<VerificationSnapshot, ConvertError> {
    let phase = match attempt.phase.as_str() {
        "" => None,
        "Pending" => Some(VerificationPhase::Pending),
        "Running" => Some(VerificationPhase::Running),
        "Successful" => Some(VerificationPhase::Successful),
        "Failed" => Some(VerificationPhase::Failed),
        "Error" => Some(VerificationPhase::Error),
        "Aborted" => Some(VerificationPhase::Aborted),
        "Inconclusive" => Some(VerificationPhase::Inconclusive),
        word => return Err(unknown_word(object, path(), word)),
    };
    Ok(VerificationSnapshot {
        id: VerificationId::from(attempt.id.as_str()),
        phase,
        message: attempt.message.clone(),
        actor: some(&attempt.actor),
        analysis_run: attempt.analysis_run.as_ref().and_then(|run| some(&run.name)),
        started: attempt.start_time.map(time),
        finished: attempt.finish_time.map(time),
    })
}

fn holds(status: &StageStatus) -> Vec<HoldSnapshot> {
    let holds = status.auto_promotion_holds.iter();
    holds
        .map(|(origin, hold)| HoldSnapshot {
            origin: Origin::from(origin.as_str()),
            freight: FreightName::from(hold.freight_name.as_str()),
            promotion: named(&hold.promotion_name),
            actor: some(&hold.actor),
            created: hold.created_at.map(time),
        })
        .collect()
}

fn named(name: &str) -> Option<PromotionName> {
    some(name).map(PromotionName::new)
}
