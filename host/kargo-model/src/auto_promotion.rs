//! Which Freight Kargo promotes by itself: the candidate of each origin, unless something speaks against it.
//! In go the world, a Stage and its effective holds, out come Promotions to create. Kargo never tries a candidate
//! again whose newest Promotion did not succeed (capture `c/auto-promotion-failed`).
//! Source: `regular_stages.go:1903-2068`.

use serde_json::{Map, Value, json};

use crate::candidate::{WarehouseMissing, candidates};
use crate::names::API_VERSION;
use crate::object::{name, text};
use crate::promotion::{Phase, Promotion};
use crate::stage::Stage;
use crate::world::World;

/// The Promotions to create now.
///
/// # Errors
/// [`WarehouseMissing`], on which Kargo's whole reconcile ends.
pub fn due(
    world: &World,
    stage: Stage<'_>,
    holds: &Map<String, Value>,
) -> Result<Vec<Value>, WarehouseMissing> {
    let candidates = candidates(world, stage)?;
    let current = stage.current_collection();
    let mut due = Vec::new();
    for key in stage.requested_keys() {
        let Some(candidate) = candidates.get(&key).copied().filter(|_| !holds.contains_key(&key)) else {
            continue;
        };
        let deployed = current
            .and_then(|current| current.get("items")?.get(&key))
            .is_some_and(|item| text(item, &["name"]) == name(candidate));
        if !deployed
            && !is_under_way(world, stage, name(candidate))
            && !has_failed(world, stage, name(candidate))
        {
            due.push(minimal(stage, name(candidate)));
        }
    }
    Ok(due)
}

fn promotions<'a>(world: &'a World, stage: Stage<'a>, freight: &'a str) -> impl Iterator<Item = &'a Value> {
    world
        .promotions_of(stage.namespace(), stage.name())
        .filter(move |promotion| Promotion(promotion).freight() == freight)
}

/// Whether a Promotion of it is not over, or succeeded and waits to be recorded.
fn is_under_way(world: &World, stage: Stage<'_>, freight: &str) -> bool {
    promotions(world, stage, freight).any(|promotion| {
        let phase = Promotion(promotion).phase();
        let is_news = stage.last_promotion().is_none_or(|last| name(promotion) > last);
        !phase.is_terminal() || (phase == Phase::Succeeded && is_news)
    })
}

/// Whether the newest finished Promotion of it did not succeed. Deleting that Promotion makes the Freight due again.
fn has_failed(world: &World, stage: Stage<'_>, freight: &str) -> bool {
    promotions(world, stage, freight)
        .filter(|promotion| Promotion(promotion).phase().is_terminal())
        .max_by_key(|promotion| {
            (text(promotion, &["metadata", "creationTimestamp"]).to_owned(), name(promotion).to_owned())
        })
        .is_some_and(|promotion| Promotion(promotion).phase() != Phase::Succeeded)
}

/// What Kargo sends; the webhook does the rest (`pkg/api/promotion.go`, `NewMinimalPromotion`).
fn minimal(stage: Stage<'_>, freight: &str) -> Value {
    json!({
        "apiVersion": API_VERSION,
        "kind": "Promotion",
        "metadata": { "generateName": "promo-", "namespace": stage.namespace() },
        "spec": { "stage": stage.name(), "freight": freight },
    })
}
