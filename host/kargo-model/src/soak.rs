//! When Freight has been long enough in an upstream Stage for a Stage that asks for it. In go the world and a Stage, out
//! comes the moment. It must not say whether the Freight is available: that is `freight`'s.
//! Source: `api/v1alpha1/stage_types.go:176-209`, `api/v1alpha1/freight_types.go` (`GetLongestSoak`).

use jiff::Timestamp;

use crate::freight::Freight;
use crate::object::{at, text};
use crate::project_config::{AutoPromotion, auto_promotion};
use crate::stage::Stage;
use crate::time::{parse, parse_duration};
use crate::world::{Kind, World};

/// The next moment in the future at which some Freight has soaked for an auto-promoted Stage. Kargo has no timer for it:
/// it looks again with the next reconcile.
pub(crate) fn matures(world: &World, stage: Stage<'_>) -> Option<Timestamp> {
    if auto_promotion(world, stage) == AutoPromotion::Off {
        return None;
    }
    let moments = stage.requests().flat_map(|request| {
        let required = parse_duration(request.soak_time()).filter(|_| !request.soak_time().is_empty());
        let freight = world.list(Kind::Freight, stage.namespace()).map(Freight);
        let of_origin = freight.filter(move |one| one.origin() == request.origin());
        of_origin.flat_map(move |one| {
            request.upstream().filter(move |upstream| one.is_verified_in(upstream)).filter_map(
                move |upstream| {
                    let since = at(one.0, &["status", "currentlyIn", upstream])?;
                    parse(text(since, &["since"]))?.saturating_add(required?).ok()
                },
            )
        })
    });
    moments.filter(|moment| *moment > world.now).min()
}
