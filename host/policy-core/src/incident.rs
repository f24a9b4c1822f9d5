//! The state of an incident as values: attempts, budgets spent, how it closed.
//!
//! In: `Incident.status` of the cluster, converted by `policy-api`. Out: what guardrails and assembly read.
//! The Incident is the unit of consistency: an attempt exists here before its Promotion does.

use serde::{Deserialize, Serialize};

use crate::context::{Outcome, PastDecision};
use crate::decision::{Action, ActionKind};
use crate::failure::Failure;
use crate::guardrails::Seen;
use crate::name::{FailureId, FreightName, IncidentName, Origin, PromotionName};
use crate::time::Timestamp;
use crate::write::HoldExpectation;

/// The shortest time for which an incident that waits is left alone, seconds.
const PATIENCE_AT_LEAST: u32 = 30;
/// The longest such time, seconds.
const PATIENCE_AT_MOST: u32 = 300;

/// A failure and every attempt until it ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IncidentState {
    /// Its name.
    pub name: IncidentName,
    /// The failure that opened it.
    pub root: Failure,
    /// The failure that is being handled now: the root, or that of the newest attempt.
    pub current: Failure,
    /// When it was opened.
    pub opened: Timestamp,
    /// Attempts, oldest first.
    #[serde(default)]
    pub attempts: Vec<Attempt>,
    /// Earlier decisions, oldest first, at most 20.
    #[serde(default)]
    pub decisions: Vec<PastDecision>,
    /// Keys of messages that were sent.
    #[serde(default)]
    pub sent: Vec<String>,
    /// What each chain entry wants to be given back, by position.
    #[serde(default)]
    pub states: Vec<Option<String>>,
    /// The failure that the policies were asked about last; the current one is undecided while they differ.
    #[serde(default)]
    pub decided: Option<FailureId>,
    /// The rule that read the failure then: what other Stages are compared by, see [`crate::fleet`].
    #[serde(default)]
    pub rule: Option<String>,
    /// How many decisions were made, which numbers the DecisionRecords.
    #[serde(default)]
    pub n_decisions: u32,
    /// A delivery that was decided on and waits for its time.
    #[serde(default)]
    pub pending: Option<Pending>,
    /// When the policies want to be asked again.
    #[serde(default)]
    pub timer: Option<Timer>,
    /// The refresh of the Stage that was asked for, see [`crate::refresh`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<AskedRefresh>,
    /// How it ended; `None` while it is open.
    #[serde(default)]
    pub closed: Option<Closed>,
}

impl IncidentState {
    /// An incident that has just been opened.
    pub fn open(name: IncidentName, failure: Failure, now: Timestamp) -> Self {
        Self {
            name,
            root: failure.clone(),
            current: failure,
            opened: now,
            attempts: Vec::new(),
            decisions: Vec::new(),
            sent: Vec::new(),
            states: Vec::new(),
            decided: None,
            rule: None,
            n_decisions: 0,
            pending: None,
            timer: None,
            refresh: None,
            closed: None,
        }
    }

    /// Attempts of one kind, whatever became of them: a claim spends the budget.
    pub fn n_attempts(&self, kind: &ActionKind) -> u32 {
        let n = self.attempts.iter().filter(|attempt| attempt.kind == *kind).count();
        u32::try_from(n).unwrap_or(u32::MAX)
    }

    /// For how long an incident that waits for Kargo is left alone when no watch tells of anything, seconds from 30 to 300: a
    /// tenth of how long it has waited. Deadlines are not its business. It is for an event that never arrived, and what has
    /// stood still for an hour can stand still for five minutes more.
    pub fn patience(&self, now: Timestamp) -> u32 {
        let claimed = self.attempts.last().map(|attempt| attempt.claimed);
        let since = claimed.unwrap_or_default().max(self.opened).max(self.current.at);
        patience_after(now.since(since))
    }
}

fn patience_after(waited: u32) -> u32 {
    (waited / 10).clamp(PATIENCE_AT_LEAST, PATIENCE_AT_MOST)
}

/// One delivery that was claimed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Attempt {
    /// 1 for the first.
    pub number: u32,
    /// What it is.
    pub kind: ActionKind,
    /// The Freight that it delivers.
    pub freight: Option<FreightName>,
    /// Its origin.
    pub origin: Option<Origin>,
    /// When it was claimed.
    pub claimed: Timestamp,
    /// The Promotion, once it is known.
    pub promotion: Option<PromotionName>,
    /// The guest's reason for it.
    pub reason: String,
    /// The DecisionRecord that it comes from.
    #[serde(default)]
    pub record: String,
    /// The create is not sent after this time. For people: the sender goes by its monotonic clock, and a successor
    /// by how long it has watched the claim.
    #[serde(default)]
    pub send_before: Timestamp,
    /// How often it was claimed: more than once only after a crash or a lost answer.
    #[serde(default)]
    pub n_claims: u32,
    /// What Kargo's admission must say about holds, so that a claim taken up again is rehearsed like the first time.
    #[serde(default)]
    pub expect: HoldExpectation,
    /// What became of it.
    pub outcome: Outcome,
}

impl Attempt {
    /// Whether it is claimed and nobody knows yet what became of the claim.
    pub fn is_unanswered(&self) -> bool {
        self.promotion.is_none() && self.outcome == Outcome::Pending
    }
}

/// A delivery that was decided on and waits for its time. It spends nothing until it is claimed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pending {
    /// Not before this time.
    pub at: Timestamp,
    /// The action that it comes from, as the policy gave it: guardrails look at it again when it is due.
    pub action: Action,
    /// The DecisionRecord that it comes from.
    pub record: String,
    /// What the decision saw in the Stage (G8).
    pub seen: Seen,
}

/// A refresh of the Stage that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AskedRefresh {
    /// When.
    pub at: Timestamp,
    /// The token: Kargo repeats it once it has looked.
    pub token: String,
}

/// When the policies want to be asked again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Timer {
    /// When.
    pub at: Timestamp,
    /// What is waited for.
    pub cause: String,
    /// Whether a policy asked for the wait; else the host put a delivery off.
    #[serde(default)]
    pub by_policy: bool,
}

/// A delivery to a Stage in the last 24 hours, whichever incident asked for it. Comes from the StageRecord, which is
/// rebuilt from labels of Promotions when it is lost: deleting an Incident gives no new budget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Delivery {
    /// When it was claimed.
    pub at: Timestamp,
    /// What it was.
    pub kind: ActionKind,
    /// The incident that it belonged to.
    pub incident: IncidentName,
    /// The attempt's number in it.
    #[serde(default)]
    pub attempt: u32,
    /// Its Promotion, once it was known.
    #[serde(default)]
    pub promotion: Option<PromotionName>,
    /// The Freight that it delivered.
    #[serde(default)]
    pub freight: Option<FreightName>,
}

/// How an incident ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Closed {
    /// When.
    pub at: Timestamp,
    /// How.
    pub resolution: Resolution,
    /// One CamelCase word more, such as `NoGoodFreight` or `GuestFault`.
    #[serde(default)]
    pub reason: String,
    /// A sentence for people.
    #[serde(default)]
    pub message: String,
}

/// How incidents end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Resolution {
    /// A retry worked, and so did its verification; or Kargo went on after a refresh.
    Recovered,
    /// A rollback worked, and its verification ran afresh and was good.
    RolledBack,
    /// Left alone on purpose.
    Accepted,
    /// The mode allowed nothing else.
    Observed,
    /// Somebody or something else moved the Stage on.
    Superseded,
    /// Nothing automatic is left to try.
    Exhausted,
    /// Somebody else has it.
    HandedOff,
    /// The Stage is gone.
    StageGone,
    /// Too old before anything was done.
    Expired,
}

impl Resolution {
    /// The word itself.
    pub fn text(self) -> &'static str {
        match self {
            Self::Recovered => "Recovered",
            Self::RolledBack => "RolledBack",
            Self::Accepted => "Accepted",
            Self::Observed => "Observed",
            Self::Superseded => "Superseded",
            Self::Exhausted => "Exhausted",
            Self::HandedOff => "HandedOff",
            Self::StageGone => "StageGone",
            Self::Expired => "Expired",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_an_incident_waits_the_longer_it_is_left_alone() {
        assert_eq!([0, 299, 600, 3_000, 86_400].map(patience_after), [30, 30, 60, 300, 300]);
    }
}
