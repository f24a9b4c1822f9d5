//! What must outlive the incidents of one Stage: its last good Freight, deliveries, faults of policies, health timers.
//!
//! In: what was remembered, and the Stage as it is now. Out: what is to be remembered from now on. Kargo's history is
//! ten entries short, its Promotions may be deleted and its transition times never move (kargo-live.md 0.7), so none
//! of them can stand for this memory; what of it can be read off the Stage again comes back when it is lost.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::context::Health;
use crate::detect;
use crate::guardrails::budget::DAY_SECONDS;
use crate::guardrails::g23_guest_fault::FaultTally;
use crate::incident::Delivery;
use crate::name::{FreightName, Origin, VerificationId};
use crate::snapshot::{PromotionSnapshot, StageSnapshot};
use crate::target;
use crate::time::Timestamp;

/// Deliveries that are remembered at most, the newest ones: five times what G3 may be set to in a day.
pub const MAX_DELIVERIES: usize = 128;

/// The memory of one Stage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct StageMemory {
    /// The last combination that was good as a whole.
    pub good: Option<GoodCombination>,
    /// Deliveries of the last 24 hours, oldest first.
    pub deliveries: Vec<Delivery>,
    /// Faults of policies, the latest called last.
    pub faults: Vec<FaultTally>,
    /// Since when Kargo calls the Stage Unhealthy without a break, as seen from here.
    pub unhealthy_since: Option<Timestamp>,
    /// Since when Kargo does not know, as seen from here.
    pub unknown_since: Option<Timestamp>,
    /// Since when it is not well, whatever Kargo calls that meanwhile; `None` for what was never well.
    pub sick_since: Option<Timestamp>,
}

/// A combination that was good as a whole (product.md 10, invariant 8).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GoodCombination {
    /// The Freight of each origin.
    pub items: BTreeMap<Origin, FreightName>,
    /// The verification that says so.
    pub verification: Option<VerificationId>,
    /// When it was first seen to be good.
    pub at: Timestamp,
}

impl StageMemory {
    /// The memory after a look at the Stage. `seen` are deliveries that can be read off its Promotions now.
    #[must_use]
    pub fn after_look(
        &self,
        stage: &StageSnapshot,
        promotions: &[PromotionSnapshot],
        seen: &[Delivery],
        now: Timestamp,
    ) -> Self {
        Self {
            good: self.good_now(stage, promotions, now),
            deliveries: deliveries(&self.deliveries, seen, now),
            faults: self.faults.clone(),
            unhealthy_since: since(stage, Health::Unhealthy, self.unhealthy_since, now),
            unknown_since: since(stage, Health::Unknown, self.unknown_since, now),
            sick_since: detect::sickness_to_remember(stage, self.sick_since, now),
        }
    }

    /// The Stage's history speaks first. What is remembered counts as long as the history does not speak against it: a
    /// combination that failed a later verification is not good because it once was, but one whose Promotions were
    /// deleted still is.
    fn good_now(
        &self,
        stage: &StageSnapshot,
        promotions: &[PromotionSnapshot],
        now: Timestamp,
    ) -> Option<GoodCombination> {
        let Some(newest) = target::newest_good(stage, promotions, self.good.as_ref()) else {
            return self.good.as_ref().filter(|good| !target::is_refuted(stage, &good.items)).cloned();
        };
        match &self.good {
            Some(good) if good.items == newest.items => self.good.clone(),
            Some(_) | None => Some(GoodCombination {
                items: newest.items.clone(),
                verification: target::proof(stage, newest),
                at: now,
            }),
        }
    }
}

/// What is remembered and what is seen, each delivery once: an attempt of an incident has one. What is seen knows more.
pub fn deliveries(remembered: &[Delivery], seen: &[Delivery], now: Timestamp) -> Vec<Delivery> {
    let window = now.minus(DAY_SECONDS);
    let all = remembered.iter().chain(seen).filter(|delivery| delivery.at >= window);
    let by_attempt: BTreeMap<_, &Delivery> =
        all.map(|delivery| ((&delivery.incident, delivery.attempt), delivery)).collect();
    let mut kept: Vec<Delivery> = by_attempt.into_values().cloned().collect();
    kept.sort_by(|one, two| (one.at, &one.incident, one.attempt).cmp(&(two.at, &two.incident, two.attempt)));
    let excess = kept.len().saturating_sub(MAX_DELIVERIES);
    kept.drain(..excess);
    kept
}

/// Health counts only while it speaks of what was promoted last: a Stage is Unknown whenever a Promotion runs.
fn since(stage: &StageSnapshot, of: Health, known: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
    (stage.health == Some(of) && detect::speaks_of_freight(stage)).then(|| known.unwrap_or(now))
}
