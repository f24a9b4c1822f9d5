//! Verification of what a Stage has: when it starts, when an old AnalysisRun is reused instead, what aborts it and
//! how its result is taken over. In go the world, a Stage and ids, out come the changed Stage and writes.
//! Source: `regular_stages.go:1071-1350, 1429-1767`; captures `e/*`.

use serde_json::{Value, json};

use crate::admission::request::VerificationRequest;
use crate::conditions::{self, Condition, FALSE, TRUE, UNKNOWN};
use crate::ids::IdSource;
use crate::names::{ABORT, FREIGHT_COLLECTION, REVERIFY, STAGE, label_value};
use crate::object::{annotation, at, label, list, name, put, put_or_remove, text};
use crate::stage::{Stage, current_verification, is_terminal_verification};
use crate::time::stamp_value;
use crate::world::{Effect, Kind, ObjectKey, World};
use crate::{analysis, freight, merge, project_config};

const HISTORY: usize = 10;

/// Verifies the current Freight of `stage`, as far as it is time for it.
pub(crate) fn verify(world: &World, stage: &mut Value, ids: &mut dyn IdSource) -> Vec<Effect> {
    let Some(current) = Stage(stage).current_collection().cloned() else {
        let none = Condition::new("Verified", UNKNOWN, "NoFreight", "Stage has no current Freight to verify");
        conditions::set(stage, &none, world);
        return Vec::new();
    };
    if Stage(stage).current_promotion().is_some() {
        return Vec::new();
    }
    let request = annotation(stage, REVERIFY).and_then(VerificationRequest::parse);
    let (info, effects) = next_info(world, stage, &current, request.as_ref(), ids);
    if let Some(info) = info {
        store(stage, info);
    }
    condition(stage, world);
    effects
}

fn next_info(
    world: &World,
    stage: &Value,
    current: &Value,
    request: Option<&VerificationRequest>,
    ids: &mut dyn IdSource,
) -> (Option<Value>, Vec<Effect>) {
    let last = current_verification(current);
    if let Some(last) = last {
        let id = text(last, &["id"]);
        if !is_terminal_verification(text(last, &["phase"])) {
            let abort = annotation(stage, ABORT).and_then(VerificationRequest::parse);
            return match abort.filter(|abort| abort.is_for(id)) {
                Some(abort) => aborted(world, stage, last, &abort),
                None => (Some(result(world, last)), Vec::new()),
            };
        }
        if !request.is_some_and(|request| request.is_for(id)) {
            return (None, Vec::new());
        }
    }
    if Stage(stage).health() != "Healthy" {
        return (None, Vec::new());
    }
    start(world, stage, current, request, ids)
}

/// Without `spec.verification` a verification succeeds at once. Otherwise an existing AnalysisRun of this Stage and
/// collection is taken over with whatever phase it has, unless the Stage carries *any* reverify annotation, whose id
/// need not match (captures `e/reuse-on-rollback`, `e/forced-fresh-run-on-rollback`). A taken-over result has no
/// message, not even when it failed.
fn start(
    world: &World,
    stage: &Value,
    current: &Value,
    request: Option<&VerificationRequest>,
    ids: &mut dyn IdSource,
) -> (Option<Value>, Vec<Effect>) {
    let now = stamp_value(world.now);
    let mut info = json!({ "id": ids.uuid(), "startTime": now, "finishTime": now });
    if !project_config::has_verification(Stage(stage)) {
        put(&mut info, &["phase"], json!("Successful"));
        return (Some(info), Vec::new());
    }
    let last = current_verification(current);
    let repeats = last.zip(request).filter(|(last, request)| request.is_for(text(last, &["id"])));
    if let Some((_, request)) = repeats.filter(|(_, request)| !request.actor.is_empty()) {
        put(&mut info, &["actor"], json!(request.actor));
    }
    let fresh = match world.flaws.any_reverify_forces_fresh_run {
        true => request.is_some(),
        false => repeats.is_some(),
    };
    let reused = (!fresh && world.flaws.analysis_runs_are_reused)
        .then(|| existing_run(world, stage, text(current, &["id"])))
        .flatten();
    if let Some(run) = reused {
        refer(&mut info, run);
        return (Some(info), Vec::new());
    }
    let by_control_plane =
        repeats.is_some_and(|(_, request)| request.is_from_control_plane() && !request.actor.is_empty());
    let promotion = if last.is_none() || by_control_plane { Stage(stage).last_promotion() } else { None };
    match analysis::build(world, Stage(stage), current, promotion, ids) {
        Ok(run) => {
            refer(&mut info, &run);
            put(&mut info, &["phase"], json!("Pending"));
            (Some(info), vec![Effect::Create(run)])
        }
        Err(problem) => {
            put(&mut info, &["phase"], json!("Error"));
            put(&mut info, &["message"], json!(problem));
            (Some(info), Vec::new())
        }
    }
}

fn refer(info: &mut Value, run: &Value) {
    let phase = text(run, &["status", "phase"]);
    put(info, &["phase"], json!(phase));
    let reference = json!({ "name": name(run), "namespace": crate::object::namespace(run), "phase": phase });
    put(info, &["analysisRun"], reference);
}

/// The newest AnalysisRun of the Stage and collection, whatever it was for.
fn existing_run<'a>(world: &'a World, stage: &'a Value, collection: &'a str) -> Option<&'a Value> {
    runs(world, stage, collection)
        .max_by_key(|run| (text(run, &["metadata", "creationTimestamp"]).to_owned(), name(run).to_owned()))
}

/// All AnalysisRuns of a Stage and collection, by name.
pub(crate) fn runs<'a>(
    world: &'a World,
    stage: &'a Value,
    collection: &'a str,
) -> impl Iterator<Item = &'a Value> {
    let stage_label = label_value(name(stage));
    world.list(Kind::AnalysisRun, crate::object::namespace(stage)).filter(move |run| {
        label(run, STAGE) == Some(stage_label.as_str()) && label(run, FREIGHT_COLLECTION) == Some(collection)
    })
}

/// What the AnalysisRun says now. One that vanished is an Error.
fn result(world: &World, last: &Value) -> Value {
    let (namespace, run) = (text(last, &["analysisRun", "namespace"]), text(last, &["analysisRun", "name"]));
    let mut info = last.clone();
    let Some(found) = world.get(Kind::AnalysisRun, namespace, run) else {
        let problem = format!(
            "error getting AnalysisRun {run:?} in namespace {namespace:?}: AnalysisRun.argoproj.io {run:?} not found"
        );
        put(&mut info, &["phase"], json!("Error"));
        put(&mut info, &["message"], json!(problem));
        return info;
    };
    refer(&mut info, found);
    let message = text(found, &["status", "message"]);
    put_or_remove(&mut info, &["message"], (!message.is_empty()).then(|| json!(message)));
    // Absent while the run goes on: only a Pending entry that was just made carries the creation time here.
    put_or_remove(&mut info, &["finishTime"], at(found, &["status", "completedAt"]).cloned());
    info
}

/// A person's abort: Failed at once, the reference keeps the phase it had, the run itself is told to end (capture
/// `e/abort`).
fn aborted(
    world: &World,
    stage: &Value,
    last: &Value,
    abort: &VerificationRequest,
) -> (Option<Value>, Vec<Effect>) {
    let mut info = last.clone();
    put(&mut info, &["phase"], json!("Failed"));
    put(&mut info, &["message"], json!("Verification aborted by user"));
    put(&mut info, &["finishTime"], stamp_value(world.now));
    put_or_remove(&mut info, &["actor"], (!abort.actor.is_empty()).then(|| json!(abort.actor)));
    let run = text(last, &["analysisRun", "name"]);
    let key = ObjectKey::new(Kind::AnalysisRun, crate::object::namespace(stage), run);
    (Some(info), vec![Effect::Patch { key, patch: json!({ "spec": { "terminate": true } }) }])
}

/// Replaces the entry of the same id, or puts a new one on top.
fn store(stage: &mut Value, info: Value) {
    let mut history = list(stage, &["status", "freightHistory"]).to_vec();
    let Some(current) = history.first_mut() else { return };
    let mut entries = list(current, &["verificationHistory"]).to_vec();
    match entries.iter_mut().find(|entry| text(entry, &["id"]) == text(&info, &["id"])) {
        Some(entry) => *entry = info,
        None => entries.insert(0, info),
    }
    entries.truncate(HISTORY);
    put(current, &["verificationHistory"], Value::Array(entries));
    put(stage, &["status", "freightHistory"], Value::Array(history));
}

/// The `Verified` condition. One success in the current collection's history keeps it True for good, whatever came
/// later (capture `e/verified-condition-sticky`).
fn condition(stage: &mut Value, world: &World) {
    let entries = Stage(stage).current_collection().map(|current| list(current, &["verificationHistory"]));
    let Some((newest, all)) = entries.and_then(|entries| entries.first().map(|first| (first, entries)))
    else {
        return;
    };
    let message = text(newest, &["message"]);
    let verified = |status, reason: &str, message: &str| Condition::new("Verified", status, reason, message);
    let looked_at = if world.flaws.verified_condition_sticks { all } else { std::slice::from_ref(newest) };
    let condition = if looked_at.iter().any(|entry| text(entry, &["phase"]) == "Successful") {
        verified(TRUE, "Verified", "Freight has been verified")
    } else {
        match text(newest, &["phase"]) {
            "Pending" => verified(UNKNOWN, "VerificationPending", "Freight is pending verification"),
            "Running" => verified(UNKNOWN, "VerificationRunning", "Freight is currently being verified"),
            phase @ ("Failed" | "Error" | "Aborted") => {
                verified(FALSE, &format!("Verification{phase}"), message)
            }
            "Inconclusive" => verified(UNKNOWN, "VerificationInconclusive", message),
            other => {
                let message = format!("Freight verification is in an unknown phase: {other}");
                verified(UNKNOWN, "UnknownVerificationPhase", &message)
            }
        }
    };
    conditions::set(stage, &condition, world);
}

/// Marks every Freight of the current collection as verified in the Stage, once its newest verification succeeded
/// and the Stage is healthy.
pub(crate) fn mark_verified(world: &World, stage: &Value) -> Vec<Effect> {
    let view = Stage(stage);
    let Some(current) = view.current_collection().filter(|_| view.health() == "Healthy") else {
        return Vec::new();
    };
    let newest = current_verification(current).filter(|newest| text(newest, &["phase"]) == "Successful");
    let Some(newest) = newest.filter(|_| !crate::stage::has_open_verification(current)) else {
        return Vec::new();
    };
    let finished = newest.get("finishTime").cloned().unwrap_or(Value::Null);
    let items = crate::object::map(current, &["items"]).into_iter().flatten();
    items
        .filter_map(|(_, item)| world.get(Kind::Freight, view.namespace(), text(item, &["name"])))
        .filter_map(|old| status_patch(old, &freight::verified(old, view.name(), finished.clone())))
        .collect()
}

pub(crate) fn status_patch<'a>(old: &'a Value, new: &'a Value) -> Option<Effect> {
    let empty = json!({});
    let status = |value: &'a Value| value.get("status");
    let patch = merge::diff(status(old).unwrap_or(&empty), status(new).unwrap_or(&empty))?;
    Some(Effect::PatchStatus { key: ObjectKey::of(new)?, patch })
}
