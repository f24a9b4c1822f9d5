//! `target`: a delivery needs Freight that exists, that the Stage may have, and that is not what just failed.
//!
//! Why: Kargo answers missing, foreign and unavailable Freight with one and the same text, and after a rollback to
//! the wrong piece the bad one is back. Which Freight is the last good one is [`crate::target`]'s word; here it is
//! only looked up. What is not known (availability) is left to the dry run.

use super::Input;
use crate::context::{PastCollection, RollbackTarget};
use crate::decision::{Action, ActionKind, Operation, RollbackSelector};
use crate::name::{FreightName, Origin};
use crate::write::Verdict;

/// The Freight that a delivery would promote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The Freight.
    pub freight: FreightName,
    /// Its origin, when it is known.
    pub origin: Option<Origin>,
    /// Why this one.
    pub because: String,
}

/// Why there is no such Freight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// One CamelCase word: `NoGoodFreight`, `GoodFreightGone` or `GoodFreightUnavailable`.
    pub reason: &'static str,
    /// A sentence without a final dot.
    pub because: String,
}

/// Refuses a delivery without usable Freight.
pub fn check(action: &Action, input: &Input<'_>) -> Verdict {
    match of(action, input) {
        Some(Err(missing)) => Verdict::Refuse { because: missing.because },
        Some(Ok(_)) | None => Verdict::Allow,
    }
}

/// The Freight of a delivery; `None` for other actions.
pub fn of(action: &Action, input: &Input<'_>) -> Option<Result<Target, Missing>> {
    if let Operation::Rollback { target, origin } = &action.operation {
        return Some(back(target, origin.as_deref(), input));
    }
    (action.operation.kind() == ActionKind::Retry).then(|| again(input))
}

/// The Freight that failed.
pub fn failing(input: &Input<'_>) -> Option<FreightName> {
    let piece = input.context.freight.failing.as_ref().map(|piece| piece.name.as_str());
    let promoted = input.context.promotion.as_ref().map(|promotion| promotion.freight.as_str());
    piece.or(promoted).filter(|name| !name.is_empty()).map(FreightName::from)
}

/// The origin of the Freight that failed; that of the Stage when it has only one.
pub fn failing_origin(input: &Input<'_>) -> Option<String> {
    if let Some(piece) = &input.context.freight.failing {
        return Some(piece.origin.clone());
    }
    match input.context.stage.origins.as_slice() {
        [only] => Some(only.clone()),
        [] | [_, ..] => None,
    }
}

fn again(input: &Input<'_>) -> Result<Target, Missing> {
    let Some(freight) = failing(input) else {
        return Err(missing("NoGoodFreight", "the Freight that failed is not known"));
    };
    // Whether one that cannot be read may be promoted, Kargo says when it is asked.
    if input.freight.exists(&freight) == Some(false) {
        return Err(missing("GoodFreightGone", &format!("Freight `{freight}` is gone")));
    }
    let origin = failing_origin(input).map(Origin::from);
    Ok(Target { freight, origin, because: "the same Freight again".to_owned() })
}

fn back(selector: &RollbackSelector, origin: Option<&str>, input: &Input<'_>) -> Result<Target, Missing> {
    let Some(origin) = origin.map(str::to_owned).or_else(|| failing_origin(input)) else {
        return Err(missing(
            "NoGoodFreight",
            "the Stage has several origins, and which one to roll back is not known",
        ));
    };
    let (name, because) = match selector {
        RollbackSelector::LastVerified => last_verified(&origin, input)?,
        RollbackSelector::Previous => (previous(&origin, input)?, "it ran before".to_owned()),
        RollbackSelector::Exact(name) => (name.clone(), "the policy names it".to_owned()),
        RollbackSelector::Other(name) => {
            return Err(missing("NoGoodFreight", &format!("this host knows no rollback target `{name}`")));
        }
    };
    let freight = FreightName::from(name);
    if failing(input).is_some_and(|failing| failing == freight) {
        return Err(missing("NoGoodFreight", &format!("Freight `{freight}` is the one that failed")));
    }
    let Some(piece) = input.freight.get(&freight) else {
        return Err(match input.freight.exists(&freight) {
            Some(false) => missing("GoodFreightGone", &format!("Freight `{freight}` is gone")),
            Some(true) | None => {
                missing("GoodFreightUnavailable", &format!("what Freight `{freight}` is could not be read"))
            }
        });
    };
    if piece.origin.as_str() != origin {
        return Err(missing("NoGoodFreight", &format!("Freight `{freight}` is not of {origin}")));
    }
    if !crate::target::is_available(input.stage, piece, input.now) {
        let text = format!("Freight `{freight}` is not available to this Stage any more");
        return Err(missing("GoodFreightUnavailable", &text));
    }
    Ok(Target { freight, origin: Some(Origin::from(origin)), because })
}

/// The host's last good Freight of that origin, as the context announced it to the policy.
fn last_verified(origin: &str, input: &Input<'_>) -> Result<(String, String), Missing> {
    let Some(target) = input.context.freight.targets.iter().find(|target| target.origin == origin) else {
        return Err(missing("NoGoodFreight", &format!("no good Freight of {origin} is known")));
    };
    let RollbackTarget { freight, because, exists, available, .. } = target;
    match (freight, exists, available) {
        (None, _, _) => Err(missing("NoGoodFreight", because)),
        (Some(name), Some(false), _) => Err(missing("GoodFreightGone", &format!("Freight `{name}` is gone"))),
        (Some(name), Some(true) | None, Some(false)) => {
            let text = format!("Freight `{name}` is not available to this Stage any more");
            Err(missing("GoodFreightUnavailable", &text))
        }
        (Some(name), Some(true) | None, Some(true) | None) => Ok((name.clone(), because.clone())),
    }
}

/// What ran before what failed. A Promotion that failed is not in the history (`pkg/controller/stages`, v1.11.2), so
/// its predecessor is the newest entry; Freight whose verification failed is, so it is the first older, other one.
fn previous(origin: &str, input: &Input<'_>) -> Result<String, Missing> {
    let failing = failing(input);
    let is_failing = |name: &str| failing.as_ref().is_some_and(|failing| failing.as_str() == name);
    input
        .context
        .freight
        .history
        .iter()
        .filter_map(|collection| name_in(collection, origin))
        .find(|name| !is_failing(name))
        .map(str::to_owned)
        .ok_or_else(|| missing("NoGoodFreight", &format!("nothing else of {origin} ran here before")))
}

fn name_in<'a>(collection: &'a PastCollection, origin: &str) -> Option<&'a str> {
    collection.freight.iter().find(|piece| piece.origin == origin).map(|piece| piece.name.as_str())
}

fn missing(reason: &'static str, because: &str) -> Missing {
    Missing { reason, because: because.to_owned() }
}
