//! G3: a Stage gets a limited number of automatic deliveries in 24 hours, 6 unless the rules say otherwise.
//!
//! Why: budgets per incident do not stop a chain of incidents, each of which is opened by the answer to the one
//! before. Anchor: Restate pauses after a bounded number of tries and waits for a person.
//! Counted are all deliveries of this incident, whenever they were, and those of other incidents within 24 hours.

use super::{Input, budget};
use crate::decision::Action;
use crate::write::Verdict;

/// Refuses a delivery when the Stage has had enough of them.
pub fn check(action: &Action, input: &Input<'_>) -> Verdict {
    if !action.operation.kind().is_delivery() {
        return Verdict::Allow;
    }
    let spent = budget::deliveries_spent(input.incident, input.deliveries, input.now);
    let limit = input.rules.deliveries;
    if spent < limit {
        return Verdict::Allow;
    }
    Verdict::Refuse { because: format!("the Stage had {spent} of {limit} automatic deliveries in 24 hours") }
}
