//! What a FailurePolicy and the platform's caps come to for one Stage: the rules that guardrails apply.
//!
//! In: accepted FailurePolicy and ClusterFailurePolicies, converted and intersected by `policy-api`.
//! Out: one value in force. A Project can tighten what the platform allows, never loosen it.

use serde::{Deserialize, Serialize};

use crate::context::Mode;
use crate::deadlines::Deadlines;
use crate::decision::ActionKind;

/// The rules in force for one Stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Rules {
    /// How far the host goes.
    pub mode: Mode,
    /// What keeps it from going as far as the policy says, a sentence without a final dot; `None` when nothing does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_back: Option<String>,
    /// Allowed actions (G13). Whatever is not in it is refused.
    pub actions: Vec<ActionKind>,
    /// Retries per incident (G1), at most [`Rules::MAX_RETRIES`].
    pub retries: u32,
    /// Rollbacks per incident (G2), at most [`Rules::MAX_ROLLBACKS`].
    pub rollbacks: u32,
    /// Delivery actions per incident and 24 hours (G3).
    pub deliveries: u32,
    /// First pause before a retry, seconds (G4); doubles with every retry.
    pub backoff_seconds: u32,
    /// Longest pause before a retry, seconds (G4).
    pub backoff_cap_seconds: u32,
    /// Pause of a Stage after an automatic rollback, seconds (G5).
    pub cooldown_seconds: u32,
    /// A failure older than this gets no delivery action, seconds since it happened (G6).
    pub max_age_seconds: u32,
    /// Channels that messages may name.
    pub channels: Vec<String>,
    /// Channels that are told of a guest fault; empty means all of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fault_channels: Vec<String>,
    /// Aliases whose step outputs may enter the context. `failure-hint` always may.
    pub capture_outputs: Vec<String>,
    /// Aliases of steps whose texts may quote envelopes. Those of other steps are heard only in the author's own words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trust_envelopes: Vec<String>,
    /// How long things may go on before they are failures.
    #[serde(skip_serializing_if = "Deadlines::are_usual")]
    pub deadlines: Deadlines,
    /// Largest context as JSON, bytes; see [`crate::assemble::cut`] for what goes first.
    pub context_bytes: u32,
}

impl Rules {
    /// No Project gets more retries than this per incident: the upper end of what release systems offer
    /// (Google Cloud Deploy allows 10).
    pub const MAX_RETRIES: u32 = 10;
    /// One rollback, and never a rollback of a rollback (AWS CodePipeline, Kargo Enterprise).
    pub const MAX_ROLLBACKS: u32 = 1;
    /// No pause before a delivery is shorter: Kargo's own floor for requeues.
    pub const MIN_BACKOFF_SECONDS: u32 = 10;
    /// No wait is longer: 14 days.
    pub const MAX_WAIT_SECONDS: u32 = 14 * 86_400;
    /// No context is cut to less than 16 KiB: what failed would no longer fit beside what a decision needs.
    pub const MIN_CONTEXT_BYTES: u32 = 16 * 1024;
    /// No context is larger: 256 KiB.
    pub const MAX_CONTEXT_BYTES: u32 = 256 * 1024;
}

impl Default for Rules {
    /// What a FailurePolicy means that sets nothing: observe, talk, and retry at most three times once enforced.
    fn default() -> Self {
        Self {
            mode: Mode::Observe,
            held_back: None,
            actions: vec![
                ActionKind::Notify,
                ActionKind::EmitEvent,
                ActionKind::Record,
                ActionKind::Wait,
                ActionKind::Accept,
                ActionKind::Retry,
                ActionKind::Escalate,
                ActionKind::HandOff,
                ActionKind::RequestApproval,
            ],
            retries: 3,
            rollbacks: 1,
            deliveries: 6,
            backoff_seconds: 30,
            backoff_cap_seconds: 1_800,
            cooldown_seconds: 600,
            max_age_seconds: 1_200,
            channels: Vec::new(),
            fault_channels: Vec::new(),
            capture_outputs: Vec::new(),
            trust_envelopes: Vec::new(),
            deadlines: Deadlines::default(),
            context_bytes: 64 * 1024,
        }
    }
}
