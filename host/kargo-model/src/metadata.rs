//! What `set-metadata` steps write. In go the updates of one run over the steps, out come writes to the status of Stages
//! and Freight. It must not touch any other field.
//! Source: `pkg/promotion/runner/builtin/metadata_setter.go`; capture `a/set-metadata-hint-lost`.

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::object::{map, namespace, text};
use crate::steps::Update;
use crate::time::parse;
use crate::world::{Effect, Kind, ObjectKey, World};

/// A Promotion of this length left all eight of eight values on its Stage (`kargo-live` 0.3).
const SLOW: SignedDuration = SignedDuration::from_millis(1500);

/// The writes of `updates`. Those to a Stage are lost in a quick Promotion: the Stage's own reconcile, which the
/// Promotion has just set off, writes its older idea of the status over them.
pub(crate) fn updates(world: &World, promotion: &Value, updates: &[Update]) -> Vec<Effect> {
    let started = parse(text(promotion, &["status", "startedAt"])).unwrap_or(world.now);
    let is_kept = |update: &&Update| {
        let quick = update.at.duration_since(started) < SLOW;
        !(world.flaws.stage_metadata_gets_lost && quick && text(&update.what, &["kind"]) == "Stage")
    };
    updates.iter().filter(is_kept).filter_map(|update| write(namespace(promotion), &update.what)).collect()
}

fn write(project: &str, update: &Value) -> Option<Effect> {
    let kind = match text(update, &["kind"]) {
        "Stage" => Kind::Stage,
        "Freight" => Kind::Freight,
        _ => return None,
    };
    let values = map(update, &["values"])?;
    let key = ObjectKey::new(kind, project, text(update, &["name"]));
    Some(Effect::PatchStatus { key, patch: json!({ "metadata": values }) })
}
