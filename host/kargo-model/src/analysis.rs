//! AnalysisRuns: how Kargo builds one, and what Argo Rollouts makes of it as the script says.
//! In go the world, a Stage and a collection, out come the run and later its status. It must not touch the Stage.
//! Sources: `regular_stages.go`, `startVerification`; captures `e/successful`, `e/failed`, `e/error`, `e/inconclusive`,
//! `e/running`, `e/abort` (Argo Rollouts v1.10.2).

use serde_json::{Value, json};

use crate::ids::IdSource;
use crate::names::{
    API_VERSION, FREIGHT_COLLECTION, PROMOTION, ROLLOUTS_API_VERSION, STAGE, analysis_run_name, label_value,
};
use crate::object::{at, flag, list, map, name, put, text};
use crate::script::{Script, VerificationOutcome};
use crate::stage::Stage;
use crate::time::stamp_value;
use crate::verification::{runs, status_patch};
use crate::world::{Effect, Kind, Templates, World};

/// The AnalysisRun that verifies `collection` in `stage`; `promotion` is named in an annotation where Kargo does so.
///
/// # Errors
/// Kargo's message when a template does not exist; the verification then ends as Error without a run.
pub(crate) fn build(
    world: &World,
    stage: Stage<'_>,
    collection: &Value,
    promotion: Option<&str>,
    ids: &mut dyn IdSource,
) -> Result<Value, String> {
    let id = text(collection, &["id"]);
    let metrics = metrics(world, stage, id)?;
    let owners: Vec<Value> = map(collection, &["items"])
        .into_iter()
        .flatten()
        .filter_map(|(_, item)| world.get(Kind::Freight, stage.namespace(), text(item, &["name"])))
        .map(|freight| {
            json!({
                "apiVersion": API_VERSION, "kind": "Freight", "blockOwnerDeletion": false,
                "name": name(freight), "uid": text(freight, &["metadata", "uid"]),
            })
        })
        .collect();
    let mut run = json!({
        "apiVersion": ROLLOUTS_API_VERSION,
        "kind": "AnalysisRun",
        "metadata": {
            "name": analysis_run_name(stage.name(), &ids.ulid(world.now), id),
            "namespace": stage.namespace(),
            "creationTimestamp": stamp_value(world.now),
            "labels": { STAGE: label_value(stage.name()), FREIGHT_COLLECTION: id },
            "ownerReferences": owners,
        },
        "spec": { "metrics": metrics },
        "status": { "phase": "", "runSummary": {} },
    });
    let args = list(stage.0, &["spec", "verification", "args"]);
    if !args.is_empty() {
        put(&mut run, &["spec", "args"], Value::Array(args.to_vec()));
    }
    if let Some(promotion) = promotion {
        put(&mut run, &["metadata", "annotations", PROMOTION], json!(promotion));
    }
    if label_value(stage.name()) != stage.name() {
        put(&mut run, &["metadata", "annotations", STAGE], json!(stage.name()));
    }
    Ok(run)
}

fn metrics(world: &World, stage: Stage<'_>, collection: &str) -> Result<Vec<Value>, String> {
    let mut metrics = Vec::new();
    for reference in list(stage.0, &["spec", "verification", "analysisTemplates"]) {
        let wanted = text(reference, &["name"]);
        match (world.get(Kind::AnalysisTemplate, stage.namespace(), wanted), world.templates) {
            (Some(template), _) => metrics.extend_from_slice(list(template, &["spec", "metrics"])),
            (None, Templates::Assumed) => metrics.push(assumed_metric()),
            (None, Templates::Required) => {
                let (stage, project) = (stage.name(), stage.namespace());
                return Err(format!(
                    "error building AnalysisRun for Stage {stage:?} and Freight collection {collection:?} in namespace \
                     {project:?}: get analysis templates: get AnalysisRun {wanted:?} in namespace {project:?}: \
                     AnalysisTemplate.argoproj.io {wanted:?} not found"
                ));
            }
        }
    }
    Ok(metrics)
}

fn assumed_metric() -> Value {
    json!({
        "name": "smoke", "count": 1,
        "successCondition": "result == \"pass\"", "failureCondition": "result == \"fail\"",
        "provider": { "web": { "url": "http://127.0.0.1/assumed", "jsonPath": "{$.result}" } },
    })
}

/// What Argo Rollouts does next with a Stage's run; nothing once it is over.
pub(crate) fn progress(world: &World, run: &Value, stage: &Value, script: &Script) -> Option<Effect> {
    let phase = text(run, &["status", "phase"]);
    if !matches!(phase, "" | "Pending" | "Running") {
        return None;
    }
    let collection = crate::object::label(run, FREIGHT_COLLECTION).unwrap_or_default();
    let siblings = runs(world, stage, collection).filter(|other| name(other) <= name(run)).count();
    let attempt = u32::try_from(siblings).unwrap_or(u32::MAX);
    let freight: Vec<&str> =
        list(run, &["metadata", "ownerReferences"]).iter().map(|owner| text(owner, &["name"])).collect();
    let terminate = flag(run, &["spec", "terminate"]);
    let outcome = script.verification_outcome(name(stage), &freight, attempt);
    let end = match outcome {
        // Its measurements had passed when it was cut off (capture `e/abort`).
        _ if terminate => {
            End { phase: "Successful", count: "successful", message: "Run Terminated".to_owned() }
        }
        VerificationOutcome::Ignore => return None,
        VerificationOutcome::Run => End { phase: "Running", count: "", message: String::new() },
        VerificationOutcome::Succeed => {
            End { phase: "Successful", count: "successful", message: String::new() }
        }
        VerificationOutcome::Fail => End::assessed(run, "Failed", "failed (1) > failureLimit (0)"),
        VerificationOutcome::Inconclusive => {
            End::assessed(run, "Inconclusive", "inconclusive (1) > inconclusiveLimit (0)")
        }
        VerificationOutcome::Error(problem) => End::assessed(
            run,
            "Error",
            &format!("consecutiveErrors (1) > consecutiveErrorLimit (0): \"Error Message: {problem}\""),
        ),
    };
    let mut new = run.clone();
    put(&mut new, &["status"], end.status(world, run));
    status_patch(run, &new)
}

struct End {
    phase: &'static str,
    /// The counter of measurements that goes with the phase.
    count: &'static str,
    message: String,
}

impl End {
    fn assessed(run: &Value, phase: &'static str, why: &str) -> Self {
        let metric = metric_name(run);
        let count = match phase {
            "Failed" => "failed",
            "Inconclusive" => "inconclusive",
            _ => "error",
        };
        Self { phase, count, message: format!("Metric {metric:?} assessed {phase} due to {why}") }
    }

    fn status(&self, world: &World, run: &Value) -> Value {
        let now = stamp_value(world.now);
        let started = at(run, &["status", "startedAt"]).cloned().unwrap_or_else(|| now.clone());
        let mut result = json!({ "name": metric_name(run), "phase": self.phase, "count": 1 });
        let mut summary = json!({ "count": 1 });
        let over = !self.count.is_empty();
        let measured = if over { self.phase } else { "Successful" };
        let measurement = json!({ "phase": measured, "startedAt": started, "finishedAt": now });
        put(&mut result, &["measurements"], json!([measurement]));
        if over {
            put(&mut result, &[self.count], json!(1));
            put(&mut summary, &[self.count], json!(1));
        }
        if self.phase == "Error" {
            // An error is not a measurement, and only the metric says which error it was.
            crate::object::remove(&mut result, &["count"]);
            put(&mut result, &["consecutiveError"], json!(1));
        }
        let mut status = json!({
            "phase": self.phase, "startedAt": started, "dryRunSummary": {},
            "runSummary": summary, "metricResults": [result],
        });
        if over {
            put(&mut status, &["completedAt"], now);
        }
        if !self.message.is_empty() {
            put(&mut status, &["message"], json!(self.message));
        }
        // A run that goes on is measured once here; measuring again would never settle.
        match text(run, &["status", "phase"]) == self.phase {
            true => run.get("status").cloned().unwrap_or(status),
            false => status,
        }
    }
}

fn metric_name(run: &Value) -> &str {
    list(run, &["spec", "metrics"]).first().map_or("smoke", |metric| text(metric, &["name"]))
}
