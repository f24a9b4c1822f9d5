//! AnalysisRuns as Kargo builds them. In go the world, a Stage and a collection, out comes the run. It must not touch the
//! Stage. What becomes of the run is `rollouts`'. Sources: `regular_stages.go`, `startVerification`; captures `e/*`.

use serde_json::{Value, json};

use crate::ids::IdSource;
use crate::names::{
    API_VERSION, FREIGHT_COLLECTION, PROMOTION, ROLLOUTS_API_VERSION, STAGE, analysis_run_name, label_value,
};
use crate::object::{list, map, name, put, text};
use crate::stage::Stage;
use crate::time::stamp_value;
use crate::world::{Kind, Templates, World};

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

/// Its limits make one bad measurement enough.
fn assumed_metric() -> Value {
    json!({
        "name": "smoke", "count": 1, "failureLimit": 0, "inconclusiveLimit": 0, "consecutiveErrorLimit": 0,
        "successCondition": "result == \"pass\"", "failureCondition": "result == \"fail\"",
        "provider": { "web": { "url": "http://127.0.0.1/assumed", "jsonPath": "{$.result}" } },
    })
}
