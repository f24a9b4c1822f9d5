//! Which Promotion of a Stage is next, and whether it may start.
//! In go the Promotions and the Stage, out comes the elected one and the gate. It must not start anything.
//! Sources: `pkg/api/promotion.go:205-265` (order), `regular_stages.go:833-859` (gates).

use serde_json::Value;

use crate::object::{name, text};
use crate::promotion::{Phase, Promotion};
use crate::stage::{Stage, current_verification, has_open_verification, is_terminal_verification};

/// The Promotion that counts: a Running one, else the waiting one with the lowest name, else the finished one with
/// the highest. Nothing can jump the queue, and names decide, not creation times.
pub fn elected<'a>(promotions: &[&'a Value]) -> Option<&'a Value> {
    let of_phase = |wanted: fn(Phase) -> bool| {
        promotions.iter().copied().filter(move |promotion| wanted(Promotion(promotion).phase()))
    };
    of_phase(|phase| phase == Phase::Running)
        .min_by_key(|promotion| name(promotion))
        .or_else(|| of_phase(|phase| !phase.is_terminal()).min_by_key(|promotion| name(promotion)))
        .or_else(|| promotions.iter().copied().max_by_key(|promotion| name(promotion)))
}

/// Whether a waiting Promotion may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// It may.
    Open,
    /// A verification of the current Freight is going on (capture `e/queue-blocked-by-verification`).
    VerificationRunning,
    /// The Stage is healthy, or its health is not known yet, and the current Freight has not been verified.
    VerificationDue,
}

/// The gate of a Stage. With health Unknown, Unhealthy or Progressing the next Promotion starts at once: it may be
/// the one that repairs the Stage.
pub fn gate(stage: Stage<'_>) -> Gate {
    let Some(current) = stage.current_collection() else { return Gate::Open };
    if has_open_verification(current) {
        return Gate::VerificationRunning;
    }
    let settled = current_verification(current)
        .is_some_and(|verification| is_terminal_verification(text(verification, &["phase"])));
    match stage.health() {
        "" | "Healthy" if !settled => Gate::VerificationDue,
        _ => Gate::Open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn running_comes_first_then_the_oldest_name_then_the_newest_finished() {
        let promotion =
            |name: &str, phase: &str| json!({"metadata": {"name": name}, "status": {"phase": phase}});
        let all = [
            promotion("a", "Failed"),
            promotion("b", ""),
            promotion("c", "Running"),
            promotion("d", "Pending"),
        ];
        let elected_of = |indices: &[usize]| {
            let list: Vec<&Value> = indices.iter().map(|index| &all[*index]).collect();
            elected(&list).map(name)
        };
        assert_eq!(elected_of(&[0, 1, 2, 3]), Some("c"));
        assert_eq!(elected_of(&[0, 1, 3]), Some("b"));
        assert_eq!(elected_of(&[0]), Some("a"));
        assert_eq!(elected_of(&[]), None);
    }
}
