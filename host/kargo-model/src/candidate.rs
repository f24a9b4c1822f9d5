//! The Freight that Kargo would promote to a Stage by itself, per origin.
//! In go the world and a Stage, out comes the candidate of each origin. It does not say whether Kargo may promote it:
//! holds and earlier failures are `auto_promotion`'s. Sources: `pkg/api/stage.go:138-200`, `pkg/api/auto_promotion.go:97`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::freight::Freight;
use crate::object;
use crate::stage::{Request, Selection, Stage};
use crate::world::{Kind, World};

/// A requested origin whose Warehouse does not exist: Kargo can then tell no candidate of *any* origin. The
/// webhook stamps neither hold nor resume in that case, and a reconcile stops there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Warehouse {name:?} not found in namespace {namespace:?}")]
pub struct WarehouseMissing {
    /// The Warehouse.
    pub name: String,
    /// The Project.
    pub namespace: String,
}

/// The candidate of each origin, by origin key.
///
/// # Errors
/// [`WarehouseMissing`] when one of the requested origins has no Warehouse object.
pub fn candidates<'a>(
    world: &'a World,
    stage: Stage<'a>,
) -> Result<BTreeMap<String, &'a Value>, WarehouseMissing> {
    let mut found = BTreeMap::new();
    for request in stage.requests() {
        let origin = request.origin();
        if world.get(Kind::Warehouse, stage.namespace(), &origin.name).is_none() {
            return Err(WarehouseMissing { name: origin.name, namespace: stage.namespace().to_owned() });
        }
        let available: Vec<&Value> = world
            .list(Kind::Freight, stage.namespace())
            .filter(|freight| is_available_for(world, stage, request, freight))
            .collect();
        // Two pieces of Freight in the upstream Stage are a moment's state; Kargo waits for it to pass.
        if request.selection() == Selection::MatchUpstream && available.len() > 1 {
            continue;
        }
        let newest = available
            .into_iter()
            .max_by_key(|freight| (Freight(freight).discovered_at(), object::name(freight).to_owned()));
        if let Some(newest) = newest {
            found.insert(origin.key(), newest);
        }
    }
    Ok(found)
}

fn is_available_for(world: &World, stage: Stage<'_>, request: Request<'_>, freight: &Value) -> bool {
    let freight = Freight(freight);
    if freight.origin() != request.origin() {
        return false;
    }
    if request.is_direct() {
        return true;
    }
    let passed = freight.is_approved_for(stage.name()) || freight.has_passed_upstream(request, world.now);
    match request.selection() {
        Selection::NewestFreight => passed,
        Selection::MatchUpstream => {
            passed && request.upstream().next().is_some_and(|upstream| freight.is_currently_in(upstream))
        }
    }
}
