//! The conditions of a Stage: setting, finding and removing one.
//! In go a Stage and a condition, out comes the changed Stage. The transition time of a condition stays at its
//! first appearance through every flip, as observed (`kargo-live` 0.7, every `stage.yaml` captured).

use serde_json::{Value, json};

use crate::object::{at, list, put, remove, text};
use crate::time::stamp_value;
use crate::world::World;

pub(crate) const TRUE: &str = "True";
pub(crate) const FALSE: &str = "False";
pub(crate) const UNKNOWN: &str = "Unknown";

/// One condition to set.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    pub(crate) kind: &'static str,
    pub(crate) status: &'static str,
    pub(crate) reason: String,
    pub(crate) message: String,
}

impl Condition {
    pub(crate) fn new(kind: &'static str, status: &'static str, reason: &str, message: &str) -> Self {
        Self { kind, status, reason: reason.to_owned(), message: message.to_owned() }
    }
}

/// The condition of that type.
pub(crate) fn find<'a>(stage: &'a Value, kind: &str) -> Option<&'a Value> {
    list(stage, &["status", "conditions"]).iter().find(|condition| text(condition, &["type"]) == kind)
}

/// Sets a condition; a new one goes to the end of the list.
pub(crate) fn set(stage: &mut Value, condition: &Condition, world: &World) {
    let generation = at(stage, &["metadata", "generation"]).and_then(Value::as_i64).unwrap_or_default();
    let stays =
        |old: &&Value| world.flaws.transition_times_stand_still || text(old, &["status"]) == condition.status;
    let since = find(stage, condition.kind)
        .filter(stays)
        .and_then(|old| old.get("lastTransitionTime").cloned())
        .unwrap_or_else(|| stamp_value(world.now));
    let mut new = json!({
        "type": condition.kind,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "lastTransitionTime": since,
    });
    if generation != 0 {
        put(&mut new, &["observedGeneration"], json!(generation));
    }
    let Some(all) = listed(stage) else {
        put(stage, &["status", "conditions"], json!([new]));
        return;
    };
    match all.iter_mut().find(|old| text(old, &["type"]) == condition.kind) {
        Some(old) => *old = new,
        None => all.push(new),
    }
}

fn listed(stage: &mut Value) -> Option<&mut Vec<Value>> {
    stage.get_mut("status")?.get_mut("conditions")?.as_array_mut()
}

/// Takes a condition away.
pub(crate) fn delete(stage: &mut Value, kind: &str) {
    let Some(all) = listed(stage) else { return };
    all.retain(|condition| text(condition, &["type"]) != kind);
    if all.is_empty() {
        remove(stage, &["status", "conditions"]);
    }
}
