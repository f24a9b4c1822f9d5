//! Auto-promotion holds: the durable ones that a recorded Promotion leaves, and the effective ones that count.
//! In go a Stage and its Promotions, out comes the map of holds by origin. It must not stamp intent: that is
//! admission's. Sources: `regular_stages.go` (`syncPromotions`, `computeEffectiveAutoPromotionHolds`), captures `c/*`.

use serde_json::{Map, Value, json};

use crate::names::{CREATE_ACTOR, HOLD, RESUME};
use crate::object::{annotation, map, name, put_or_remove, remove, text};
use crate::project_config::AutoPromotion;
use crate::promotion::{Phase, Promotion};
use crate::stage::{Origin, Stage};

const DURABLE: [&str; 2] = ["status", "autoPromotionHolds"];

/// The hold that a Promotion establishes.
pub fn hold(promotion: &Value, origin: &Origin) -> Value {
    let mut hold = json!({
        "freightName": text(promotion, &["spec", "freight"]),
        "origin": origin.value(),
        "promotionName": name(promotion),
    });
    let actor = annotation(promotion, CREATE_ACTOR).filter(|actor| !actor.is_empty());
    put_or_remove(&mut hold, &["actor"], actor.map(Value::from));
    let created = text(promotion, &["metadata", "creationTimestamp"]);
    put_or_remove(&mut hold, &["createdAt"], (!created.is_empty()).then(|| Value::from(created)));
    hold
}

/// Drops durable holds that mean nothing: all of them while auto-promotion is off, else those of origins that are no
/// longer requested (also a hold written by somebody else, `j/external-hold`).
pub(crate) fn prune(stage: &mut Value, auto: AutoPromotion) {
    let requested = Stage(stage).requested_keys();
    let kept: Map<String, Value> = match auto {
        AutoPromotion::Off => Map::new(),
        AutoPromotion::On => map(stage, &DURABLE)
            .into_iter()
            .flatten()
            .filter(|(key, _)| requested.contains(key))
            .map(|(key, hold)| (key.clone(), hold.clone()))
            .collect(),
    };
    store(stage, kept);
}

/// Applies the intent of one finished Promotion. It counts in any phase but Aborted: also a Failed or Errored
/// Promotion leaves or lifts a hold (captures `c/hold-after-failed`, `c/resume-after-errored`, `c/hold-aborted`).
pub(crate) fn apply(stage: &mut Value, promotion: &Value, auto: AutoPromotion) {
    if auto == AutoPromotion::Off || Promotion(promotion).phase() == Phase::Aborted {
        return;
    }
    let mut holds = map(stage, &DURABLE).cloned().unwrap_or_default();
    if let Some(key) = annotation(promotion, HOLD).filter(|key| !key.is_empty()) {
        let requested = Stage(stage).requested_keys().iter().any(|requested| requested == key);
        if let Some(origin) = Origin::parse(key).filter(|_| requested) {
            holds.insert(key.to_owned(), hold(promotion, &origin));
        }
    } else if let Some(key) = annotation(promotion, RESUME) {
        holds.remove(key);
    }
    store(stage, holds);
}

fn store(stage: &mut Value, holds: Map<String, Value>) {
    match holds.is_empty() {
        true => remove(stage, &DURABLE),
        false => crate::object::put(stage, &DURABLE, Value::Object(holds)),
    }
}

/// The holds that count: durable ones, overlaid per origin with the newest Promotion that carries intent, was not
/// aborted and is not recorded yet. Limit: Kargo shows `{}` for a moment after a hold was recorded; this does not.
pub fn effective(stage: Stage<'_>, promotions: &[&Value], auto: AutoPromotion) -> Map<String, Value> {
    if auto == AutoPromotion::Off {
        return Map::new();
    }
    let mut holds = map(stage.0, &DURABLE).cloned().unwrap_or_default();
    for request in stage.requests() {
        let origin = request.origin();
        let key = origin.key();
        let carries =
            |promotion: &Value, annotation_key: &str| annotation(promotion, annotation_key) == Some(&key);
        let newest = promotions
            .iter()
            .copied()
            .filter(|promotion| Promotion(promotion).phase() != Phase::Aborted)
            .filter(|promotion| stage.last_promotion().is_none_or(|last| name(promotion) > last))
            .filter(|promotion| carries(promotion, HOLD) || carries(promotion, RESUME))
            .max_by_key(|promotion| name(promotion));
        match newest {
            Some(promotion) if carries(promotion, HOLD) => {
                holds.insert(key, hold(promotion, &origin));
            }
            Some(_) => {
                holds.remove(&key);
            }
            None => {}
        }
    }
    holds
}
