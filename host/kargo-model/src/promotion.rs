//! One Promotion's life: Pending, Running, terminal. In go the world, the Promotion and the script, out come the
//! writes that Kargo's Promotion controller would make next. It must not touch the Stage's status.
//! Source: `pkg/controller/promotions/promotions.go:256-790`; captures `a/*`, `c/*`, `i/*`, `m/controller-down`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::admission::request::{AbortRequest, Sender, VerificationRequest};
use crate::expression::{Scope, fill};
use crate::names::{ABORT, CREATE_ACTOR, REFRESH, REVERIFY, ROLLBACK};
use crate::object::{annotation, at, list, map, name, namespace, put, put_or_remove, text};
use crate::script::Script;
use crate::stage::{Stage, current_verification};
use crate::steps::{self, Progress, Run, Shows, WorkDir};
use crate::time::stamp_value;
use crate::world::{Effect, Kind, ObjectKey, World};
use crate::{freight, merge, metadata};

/// Where a Promotion stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No controller has seen it: it has no status at all.
    New,
    /// Waiting for its turn.
    Pending,
    /// Its steps run.
    Running,
    /// All steps went well, or those that did not may fail.
    Succeeded,
    /// A step said no.
    Failed,
    /// A step could not be carried out.
    Errored,
    /// Somebody stopped it.
    Aborted,
}

impl Phase {
    /// The phase that Kargo writes as `text`; unknown text counts as no phase.
    pub fn from_text(text: &str) -> Self {
        match text {
            "Pending" => Self::Pending,
            "Running" => Self::Running,
            "Succeeded" => Self::Succeeded,
            "Failed" => Self::Failed,
            "Errored" => Self::Errored,
            "Aborted" => Self::Aborted,
            _ => Self::New,
        }
    }

    /// What Kargo writes.
    pub fn text(self) -> &'static str {
        match self {
            Self::New => "",
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Errored => "Errored",
            Self::Aborted => "Aborted",
        }
    }

    /// Whether nothing will change any more.
    pub fn is_terminal(self) -> bool {
        match self {
            Self::New | Self::Pending | Self::Running => false,
            Self::Succeeded | Self::Failed | Self::Errored | Self::Aborted => true,
        }
    }
}

/// A Promotion.
#[derive(Clone, Copy, Debug)]
pub struct Promotion<'a>(pub &'a Value);

impl<'a> Promotion<'a> {
    /// `status.phase`.
    pub fn phase(self) -> Phase {
        Phase::from_text(text(self.0, &["status", "phase"]))
    }

    /// `spec.stage`.
    pub fn stage(self) -> &'a str {
        text(self.0, &["spec", "stage"])
    }

    /// `spec.freight`.
    pub fn freight(self) -> &'a str {
        text(self.0, &["spec", "freight"])
    }

    fn key(self) -> ObjectKey {
        ObjectKey::new(Kind::Promotion, namespace(self.0), name(self.0))
    }
}

/// The next writes for one Promotion; none when it has to wait or is over. `work_dir` says whether the files of its
/// earlier steps are still there.
pub fn reconcile(world: &World, promotion: &Value, script: &Script, work_dir: WorkDir) -> Vec<Effect> {
    let view = Promotion(promotion);
    if view.phase().is_terminal() || is_phantom(world, view) {
        return Vec::new();
    }
    let turn = turn(world, promotion, script, work_dir);
    let abort = annotation(promotion, ABORT).and_then(AbortRequest::parse);
    if let Some(request) = abort.filter(|abort| abort.action == "terminate") {
        let hangs = matches!(&turn, Turn::Steps { progress, .. } if progress.blocked.is_positive());
        if !hangs || !world.flaws.abort_waits_for_requests {
            return patch(view, aborted(world, promotion, &request));
        }
    }
    match turn {
        Turn::Acknowledged => patch(view, json!({ "phase": "Pending" })),
        Turn::Waits => Vec::new(),
        Turn::Begins => {
            let mut status = promotion.get("status").cloned().unwrap_or_default();
            put(&mut status, &["phase"], json!("Running"));
            put(&mut status, &["startedAt"], stamp_value(world.now));
            patch(view, status)
        }
        Turn::Impossible(problem) => {
            let status = json!({ "phase": "Errored", "message": problem });
            let mut new = promotion.get("status").cloned().unwrap_or_default();
            merge::apply(&mut new, &status);
            stored(world, promotion, new)
        }
        Turn::Steps { progress, .. } if matches!(progress.until, Some((_, Shows::NotYet))) => Vec::new(),
        Turn::Steps { progress, target, stage } => carried_out(world, promotion, *progress, target, stage),
    }
}

/// When the Promotion goes on by itself, if it does: a step's time is up, its timeout, or its next retry.
pub fn next_wake(world: &World, promotion: &Value, script: &Script, work_dir: WorkDir) -> Option<Timestamp> {
    let view = Promotion(promotion);
    if view.phase() != Phase::Running || is_phantom(world, view) {
        return None;
    }
    match turn(world, promotion, script, work_dir) {
        Turn::Steps { progress, .. } => progress.until.map(|(until, _)| until),
        _ => None,
    }
}

/// Whether the API server knows it by another name than it bears (capture `g/ssa-phantom`): every write of it is refused.
fn is_phantom(world: &World, promotion: Promotion<'_>) -> bool {
    world.find(&promotion.key()).is_none()
}

/// What a Promotion's reconcile comes to.
enum Turn<'a> {
    /// No controller has seen it before.
    Acknowledged,
    /// The Stage waits for another one.
    Waits,
    /// The Stage waits for it.
    Begins,
    /// It can't be started.
    Impossible(String),
    /// Its steps run.
    Steps { progress: Box<Progress>, target: &'a Value, stage: &'a Value },
}

fn turn<'a>(world: &'a World, promotion: &Value, script: &Script, work_dir: WorkDir) -> Turn<'a> {
    let view = Promotion(promotion);
    if view.phase() == Phase::New {
        return Turn::Acknowledged;
    }
    let stage = world.get(Kind::Stage, namespace(promotion), view.stage());
    let Some(stage) = stage.filter(|stage| Stage(stage).current_promotion() == Some(name(promotion))) else {
        return Turn::Waits;
    };
    if view.phase() == Phase::Pending {
        return Turn::Begins;
    }
    match target(world, promotion, stage) {
        Err(problem) => Turn::Impossible(problem),
        Ok(target) => {
            let progress = Box::new(run_steps(world, promotion, target, script, work_dir));
            Turn::Steps { progress, target, stage }
        }
    }
}

fn patch(promotion: Promotion<'_>, status: Value) -> Vec<Effect> {
    let empty = json!({});
    let old = promotion.0.get("status").unwrap_or(&empty);
    merge::diff(old, &status)
        .map(|patch| Effect::PatchStatus { key: promotion.key(), patch })
        .into_iter()
        .collect()
}

/// A Running step becomes Aborted, a stalled one stays Failed, later steps are not mentioned: no `always()` step
/// runs (captures `a/abort-running`, `b/http-stall`).
fn aborted(world: &World, promotion: &Value, request: &AbortRequest) -> Value {
    let mut status = promotion.get("status").cloned().unwrap_or_else(|| json!({}));
    let mut entries = list(&status, &["stepExecutionMetadata"]).to_vec();
    if let Some(entry) = entries.last_mut().filter(|entry| text(entry, &["status"]) == "Running") {
        put(entry, &["status"], json!("Aborted"));
        put(entry, &["finishedAt"], stamp_value(world.now));
    }
    if !entries.is_empty() {
        put(&mut status, &["stepExecutionMetadata"], Value::Array(entries));
    }
    let actor = match request.actor.as_str() {
        "" => "controller:promotion-controller",
        actor => actor,
    };
    put(&mut status, &["phase"], json!("Aborted"));
    put(&mut status, &["message"], json!(format!("Promotion terminated by {actor}")));
    put(&mut status, &["finishedAt"], stamp_value(world.now));
    status
}

fn carried_out(
    world: &World,
    promotion: &Value,
    progress: Progress,
    target: &Value,
    stage: &Value,
) -> Vec<Effect> {
    let mut status = promotion.get("status").cloned().unwrap_or_default();
    let mut effects = metadata::updates(world, promotion, &progress.updates);
    put(&mut status, &["freight"], freight::Freight(target).reference());
    put(&mut status, &["freightCollection"], target_collection(world, target, Stage(stage)));
    if progress.phase == Phase::Succeeded {
        effects.extend(request_reverification(stage, Promotion(promotion).freight()));
    }
    store(&mut status, progress);
    effects.extend(stored(world, promotion, status));
    effects
}

fn stored(world: &World, promotion: &Value, mut status: Value) -> Vec<Effect> {
    if Phase::from_text(text(&status, &["phase"])).is_terminal() {
        put(&mut status, &["finishedAt"], stamp_value(world.now));
    }
    if let Some(token) = annotation(promotion, REFRESH) {
        put(&mut status, &["lastHandledRefresh"], json!(token));
    }
    patch(Promotion(promotion), status)
}

/// Availability is checked a second time when the Promotion starts: Errored without collection or steps (capture
/// `i/errored-before-collection`).
fn target<'a>(world: &'a World, promotion: &Value, stage: &Value) -> Result<&'a Value, String> {
    let (wanted, project) = (Promotion(promotion).freight(), namespace(promotion));
    let found = world.get(Kind::Freight, project, wanted);
    let Some(found) = found else {
        return Err(format!("Freight {wanted:?} not found in namespace {project:?}"));
    };
    if !freight::is_available(Stage(stage), Some(found), world.now) {
        let stage = name(stage);
        return Err(format!(
            "Freight {wanted:?} is not available to Stage {stage:?} in namespace {project:?}"
        ));
    }
    Ok(found)
}

/// The target Freight plus, on Stages with several origins, the other origins of the last *terminal* Promotion, even
/// when that one failed: the leak of capture `i/inheritance-from-failed`.
fn target_collection(world: &World, target: &Value, stage: Stage<'_>) -> Value {
    let mut items = Map::new();
    if stage.requests().count() > 1 {
        let others = match world.flaws.failed_freight_leaks {
            true => map(stage.0, &["status", "lastPromotion", "status", "freightCollection", "items"]),
            false => stage.current_collection().and_then(|current| map(current, &["items"])),
        };
        for key in stage.requested_keys() {
            if let Some(item) = others.and_then(|others| others.get(&key)) {
                items.insert(key, item.clone());
            }
        }
    }
    let target = freight::Freight(target);
    items.insert(target.origin().key(), target.reference());
    freight::collection(items)
}

fn run_steps(
    world: &World,
    promotion: &Value,
    target: &Value,
    script: &Script,
    work_dir: WorkDir,
) -> Progress {
    let view = Promotion(promotion);
    let attempt = attempt_number(world, promotion);
    let outcome = |alias: &str| script.step_outcome(view.stage(), view.freight(), attempt, alias).cloned();
    steps::run(Run {
        steps: list(promotion, &["spec", "steps"]),
        status: promotion.get("status").unwrap_or(&Value::Null),
        work_dir,
        scope: scope(promotion, target),
        outcome: &outcome,
        now: world.now,
    })
}

/// Which Promotion of this Freight to this Stage it is, counted by name from 1. Deleted ones are not counted.
pub fn attempt_number(world: &World, promotion: &Value) -> u32 {
    let view = Promotion(promotion);
    let before = world
        .promotions_of(namespace(promotion), view.stage())
        .filter(|other| Promotion(other).freight() == view.freight() && name(other) < name(promotion))
        .count();
    u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1)
}

fn scope(promotion: &Value, target: &Value) -> Scope {
    // Only the exact text `true` counts; `True`, `1` and `yes` do not (kargo-live section 4).
    let rollback = annotation(promotion, ROLLBACK) == Some("true");
    let actor = annotation(promotion, CREATE_ACTOR).unwrap_or_default();
    let context = BTreeMap::from([
        ("ctx.project".to_owned(), json!(namespace(promotion))),
        ("ctx.promotion".to_owned(), json!(name(promotion))),
        ("ctx.stage".to_owned(), json!(Promotion(promotion).stage())),
        ("ctx.targetFreight.name".to_owned(), json!(name(target))),
        ("ctx.targetFreight.alias".to_owned(), json!(text(target, &["alias"]))),
        ("ctx.targetFreight.origin.name".to_owned(), json!(text(target, &["origin", "name"]))),
        ("ctx.meta.promotion.actor".to_owned(), json!(actor)),
        ("ctx.meta.promotion.rollback".to_owned(), json!(rollback)),
    ]);
    let mut scope = Scope { context, ..Scope::default() };
    for var in list(promotion, &["spec", "vars"]) {
        let value = fill(var.get("value").unwrap_or(&Value::Null), &scope);
        scope.vars.insert(text(var, &["name"]).to_owned(), value);
    }
    scope
}

fn store(status: &mut Value, progress: Progress) {
    put(status, &["phase"], json!(progress.phase.text()));
    let message = (!progress.message.is_empty()).then(|| json!(progress.message));
    put_or_remove(status, &["message"], message);
    let step = (progress.current_step > 0).then(|| json!(progress.current_step));
    put_or_remove(status, &["currentStep"], step);
    put(status, &["stepExecutionMetadata"], Value::Array(progress.metadata));
    put(status, &["state"], Value::Object(progress.state));
}

/// Promoting the Freight that the Stage already has asks for a fresh verification, in the control plane's name
/// (`promotions.go:640-663`, capture `e/repromote-current-forces-fresh-run`).
fn request_reverification(stage: &Value, freight: &str) -> Option<Effect> {
    let current = Stage(stage).current_collection().filter(|current| freight::includes(current, freight))?;
    let id = at(current_verification(current)?, &["id"])?.as_str()?;
    let request =
        VerificationRequest { id: id.to_owned(), actor: String::new(), sender: Sender::ControlPlane };
    let text = request.text();
    let key = ObjectKey::new(Kind::Stage, namespace(stage), name(stage));
    Some(Effect::Patch { key, patch: json!({ "metadata": { "annotations": { REVERIFY: text } } }) })
}
