//! Verdicts and planned writes: what guardrails say about each action, and what would be written.
//!
//! In: nothing. Out: the values between [`crate::guardrails`], [`crate::plan`] and whoever carries a plan out.
//! A planned write does not know Kargo minors: an adapter in `policy-api` makes it an object.

use serde::{Deserialize, Serialize};

use crate::decision::{ActionKind, Message};
use crate::incident::Resolution;
use crate::name::{FreightName, Origin, StageName};
use crate::time::Timestamp;

/// What one guardrail says about one action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Verdict {
    /// No objection.
    Allow,
    /// Not before that time.
    Postpone {
        /// The earliest time.
        until: Timestamp,
        /// Why, a sentence without a final dot.
        because: String,
    },
    /// Not at all.
    Refuse {
        /// Why, a sentence without a final dot.
        because: String,
    },
}

/// Every guardrail's word on one action, in the order of their ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ActionVerdict {
    /// Id of the action.
    pub action: String,
    /// Its kind.
    pub kind: ActionKind,
    /// What came of it, the strictest of `by`.
    pub verdict: Verdict,
    /// Guardrails that did not allow it: id such as `G1`, and verdict.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<(String, Verdict)>,
}

/// A change that would be made. In the order in which they are made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Write {
    /// Ask Kargo for a fresh verification at the next first one of this Stage, so that a rollback is judged anew
    /// (kargo-live.md 5, "forced fresh run").
    ForceFreshVerification {
        /// The Stage.
        stage: StageName,
    },
    /// Create a Promotion.
    CreatePromotion {
        /// The Stage.
        stage: StageName,
        /// The Freight.
        freight: FreightName,
        /// Its origin.
        origin: Option<Origin>,
        /// Retry, rollback or recovery.
        kind: ActionKind,
        /// Not before this time.
        not_before: Timestamp,
        /// What Kargo's admission must answer about holds; anything else is refused.
        expect: HoldExpectation,
    },
    /// Make Kargo look at a Stage again.
    Refresh {
        /// The Stage.
        stage: StageName,
    },
    /// Ask the policy again at that time.
    Timer {
        /// When.
        at: Timestamp,
        /// What is waited for.
        cause: String,
        /// Whether the policy asked for the wait, and is asked again because of it; else a delivery was put off, and it is
        /// asked about the failure anew.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        by_policy: bool,
    },
    /// Send a message.
    Send {
        /// The message.
        message: Message,
    },
    /// Write a Kubernetes Event on the Stage.
    Event {
        /// One CamelCase word.
        reason: String,
        /// The note.
        note: String,
    },
    /// Keep facts in the record.
    Keep {
        /// The facts.
        facts: Vec<(String, String)>,
    },
    /// Close the incident.
    Close {
        /// How.
        resolution: Resolution,
        /// One CamelCase word more, or empty.
        reason: String,
        /// A sentence.
        message: String,
    },
}

impl Write {
    /// Whether it changes a Kargo object. Observe mode does none of these.
    pub fn touches_kargo(&self) -> bool {
        match self {
            Self::ForceFreshVerification { .. } | Self::CreatePromotion { .. } | Self::Refresh { .. } => true,
            Self::Timer { .. }
            | Self::Send { .. }
            | Self::Event { .. }
            | Self::Keep { .. }
            | Self::Close { .. } => false,
        }
    }
}

/// What the admission of a Promotion must say about auto-promotion holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HoldExpectation {
    /// A hold must be stamped: the Stage is auto-promoted and this is not its candidate.
    MustHold,
    /// A hold must not be lifted: somebody's hold is in force.
    MustNotResume,
    /// Either is fine: nothing is held, or the Stage is not auto-promoted.
    #[default]
    Any,
}
