//! What a user's Promotion means for auto-promotion: hold the origin, or resume it.
//! In go the Promotion and the world, out come its two annotations, whatever the sender put there.
//! Source: `pkg/webhook/kubernetes/promotion/webhook.go:404-522`; captures `c/*`, `d/*`.

use serde_json::{Value, json};

use super::request::Sender;
use crate::candidate::candidates;
use crate::freight::Freight;
use crate::names::{CREATE_ACTOR, HOLD, RESUME};
use crate::object::{annotation, name, namespace, put, remove, text};
use crate::project_config::{AutoPromotion, auto_promotion};
use crate::stage::Stage;
use crate::world::{Kind, World};

/// Stamps the intent of `promotion`. While auto-promotion is off there is none; a Promotion of the candidate resumes,
/// every other one holds, also when there is no candidate. Whatever Kargo fails to find out, here a Warehouse that is
/// missing, silently leaves no intent.
pub(super) fn stamp(world: &World, promotion: &mut Value, stage: &Value, sender: Sender) {
    if sender == Sender::ControlPlane {
        let actor = annotation(promotion, CREATE_ACTOR).unwrap_or_default();
        if actor.is_empty() || actor.starts_with("controller:") {
            return;
        }
    }
    for key in [HOLD, RESUME] {
        remove(promotion, &["metadata", "annotations", key]);
    }
    if auto_promotion(world, Stage(stage)) == AutoPromotion::Off {
        return;
    }
    let freight = world.get(Kind::Freight, namespace(promotion), text(promotion, &["spec", "freight"]));
    let (Some(freight), Ok(candidates)) = (freight, candidates(world, Stage(stage))) else { return };
    let key = Freight(freight).origin().key();
    let is_candidate = candidates.get(&key).is_some_and(|candidate| name(candidate) == name(freight));
    let intent = if is_candidate { RESUME } else { HOLD };
    put(promotion, &["metadata", "annotations", intent], json!(key));
}
