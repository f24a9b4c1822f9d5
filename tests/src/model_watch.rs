//! A recorded watch beside the model's writes. In: a `watch.jsonl` and the changes of a model's cluster. Out: pairs to
//! compare, one per object. Of Stages only what is settled counts: a running Kargo also writes states that contradict
//! each other, when its cache lags (`kargo-live` 1).

use kargo_model::cluster::Change;
use kargo_model::object::{at, list, map, name, text};
use serde_json::{Value, json};

use crate::captured::{Pair, capture};

/// Pairs of what was seen of each object, in the order in which objects appeared.
///
/// # Errors
/// When the file is missing or no log of a watch.
pub fn pairs(file: &str, changes: &[Change]) -> anyhow::Result<Vec<Pair>> {
    let captured: Vec<Value> =
        capture(file)?.into_iter().filter_map(|event| event.get("object").cloned()).collect();
    let model: Vec<Value> = changes.iter().filter_map(|change| change.object.clone()).collect();
    let pair = |kind: &str| Pair {
        file: file.to_owned(),
        captured: json!({ kind: seen(&captured, kind) }),
        model: json!({ kind: seen(&model, kind) }),
    };
    Ok(["Promotion", "AnalysisRun", "Freight", "Stage"].map(pair).to_vec())
}

/// The states of every object of a kind, one after the other, without repetitions.
fn seen(objects: &[Value], kind: &str) -> Vec<Vec<Value>> {
    let mut all: Vec<(String, Vec<Value>)> = Vec::new();
    for object in objects.iter().filter(|object| text(object, &["kind"]) == kind) {
        let state = state(object, kind);
        match all.iter_mut().find(|(known, _)| known == name(object)) {
            Some((_, states)) if states.last() == Some(&state) => {}
            Some((_, states)) => states.push(state),
            None => all.push((name(object).to_owned(), vec![state])),
        }
    }
    all.into_iter().map(|(_, states)| states).collect()
}

fn state(object: &Value, kind: &str) -> Value {
    let of = |path: &[&str]| at(object, path).cloned().unwrap_or_default();
    match kind {
        "Promotion" => object.clone(),
        "AnalysisRun" => json!({"metadata": of(&["metadata"]), "status": of(&["status"])}),
        "Freight" => json!({"name": name(object), "status": of(&["status"])}),
        _ => {
            let history: Vec<Value> = list(object, &["status", "freightHistory"])
                .iter()
                .map(|entry| json!([entry["id"], entry.get("verificationHistory")]))
                .collect();
            let holds = |field: &str| map(object, &["status", field]).cloned();
            json!({"last": of(&["status", "lastPromotion", "name"]), "history": history,
                "holds": holds("autoPromotionHolds"), "effective": holds("effectiveAutoPromotionHolds")})
        }
    }
}
