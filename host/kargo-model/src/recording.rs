//! How a Stage learns what its Promotions did: the election of the next one and the replay of finished ones by name.
//! In go a Stage and its Promotions, out comes the changed Stage. The replay by name is Kargo's flaw to reproduce:
//! a Promotion that finishes after one with a higher name was recorded is never recorded itself (captures
//! `a/queued-abort-higher-name`, `a/abort-queued`). Source: `regular_stages.go:607-888`, `syncPromotions`.

use serde_json::{Value, json};

use crate::conditions::{self, Condition, TRUE, UNKNOWN};
use crate::object::{at, list, name, put, put_or_remove, remove, text};
use crate::project_config::AutoPromotion;
use crate::promotion::{Phase, Promotion};
use crate::queue::{Gate, elected, gate};
use crate::stage::Stage;
use crate::time::parse;
use crate::world::World;
use crate::{holds, object};

/// Entries of `freightHistory` that Kargo keeps.
const HISTORY: usize = 10;

/// Brings `currentPromotion`, `lastPromotion`, `freightHistory` and durable holds up to date. `promotions` are the
/// Stage's, by name.
pub(crate) fn sync(stage: &mut Value, promotions: &[&Value], auto: AutoPromotion, world: &World) {
    holds::prune(stage, auto);
    let Some(first) = elected(promotions) else {
        conditions::delete(stage, "Promoting");
        remove(stage, &["status", "currentPromotion"]);
        return;
    };
    let over = Promotion(first).phase().is_terminal();
    let has_finished = Stage(stage).current_promotion().is_some_and(|current| over || current != name(first));
    if has_finished {
        conditions::delete(stage, "Promoting");
        remove(stage, &["status", "currentPromotion"]);
        replay(stage, promotions, auto, world);
        return;
    }
    if over || gate(Stage(stage)) != Gate::Open {
        conditions::delete(stage, "Promoting");
        return;
    }
    announce(stage, first, world);
}

fn announce(stage: &mut Value, promotion: &Value, world: &World) {
    let message =
        format!("Promotion {:?} is currently {}", name(promotion), Promotion(promotion).phase().text());
    conditions::set(stage, &Condition::new("Promoting", TRUE, "ActivePromotion", &message), world);
    let mut current = json!({ "name": name(promotion) });
    put_or_remove(&mut current, &["freight"], at(promotion, &["status", "freight"]).cloned());
    put(stage, &["status", "currentPromotion"], current);
}

fn replay(stage: &mut Value, promotions: &[&Value], auto: AutoPromotion, world: &World) {
    for promotion in news(stage, promotions, world) {
        holds::apply(stage, promotion, auto);
        record(stage, promotion, world);
    }
}

/// Finished Promotions that the Stage has not recorded, in the order in which it does.
fn news<'a>(stage: &Value, promotions: &[&'a Value], world: &World) -> Vec<&'a Value> {
    let last = Stage(stage).last_promotion().unwrap_or_default();
    let over = promotions.iter().copied().filter(|promotion| Promotion(promotion).phase().is_terminal());
    if world.flaws.recording_goes_by_name {
        return over.filter(|promotion| name(promotion) > last).collect();
    }
    let ended = |promotion: &Value| parse(text(promotion, &["status", "finishedAt"]));
    let reached = parse(text(stage, &["status", "lastPromotion", "finishedAt"]));
    let mut news: Vec<&Value> =
        over.filter(|promotion| (ended(promotion), name(promotion)) > (reached, last)).collect();
    news.sort_by_key(|promotion| (ended(promotion), name(promotion)));
    news
}

fn record(stage: &mut Value, promotion: &Value, world: &World) {
    let mut status = promotion.get("status").cloned().unwrap_or_default();
    // Aborted before it ran: it keeps the collection of the one before, or the Stage would forget its other origins
    // (issue 6810, fixed in v1.11.2; capture `a/abort-queued`).
    let never_ran = status.get("startedAt").is_none() || !world.flaws.early_error_forgets_origins;
    if never_ran && status.get("freightCollection").is_none() {
        let before = at(stage, &["status", "lastPromotion", "status", "freightCollection"]).cloned();
        put_or_remove(&mut status, &["freightCollection"], before);
    }
    let collection = status.get("freightCollection").cloned();
    let mut reference = json!({ "name": name(promotion) });
    put_or_remove(&mut reference, &["finishedAt"], status.get("finishedAt").cloned());
    put_or_remove(&mut reference, &["freight"], status.get("freight").cloned());
    put(&mut reference, &["status"], status);
    put(stage, &["status", "lastPromotion"], reference);
    if Promotion(promotion).phase() == Phase::Succeeded {
        succeed(stage, collection, world);
    }
}

/// A success becomes the newest entry of the history, even when the same collection is there already, and health and
/// verification start anew.
fn succeed(stage: &mut Value, collection: Option<Value>, world: &World) {
    let history = collection
        .into_iter()
        .chain(list(stage, &["status", "freightHistory"]).iter().cloned())
        .take(HISTORY)
        .collect();
    put(stage, &["status", "freightHistory"], Value::Array(history));
    remove(stage, &["status", "health"]);
    let waiting = [
        (
            "Healthy",
            "WaitingForHealthCheck",
            "Waiting for health check to be performed after successful promotion",
        ),
        (
            "Verified",
            "WaitingForVerification",
            "Waiting for verification to be performed after successful promotion",
        ),
    ];
    for (kind, reason, message) in waiting {
        conditions::set(stage, &Condition::new(kind, UNKNOWN, reason, message), world);
    }
}

/// Whether the Stage has recorded a Promotion: the name of `lastPromotion` has reached it.
pub fn is_recorded(stage: &Value, promotion: &Value) -> bool {
    text(stage, &["status", "lastPromotion", "name"]) >= object::name(promotion)
}
