//! A policy's answer as values: ordered actions with reasons.
//!
//! In: what the engine lifted from a guest. Out: the same, for guardrails, plan and record.
//! Texts in here come from a guest: untrusted, redacted and capped by whoever shows them.

use serde::{Deserialize, Serialize};

use crate::failure::Class;
use crate::settings::Problem;

/// What a chain entry answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// No opinion.
    Pass,
    /// This is to be done.
    Decide(Decision),
}

/// A policy's own error: it was asked and cannot answer. Treated like a guest fault, but it is the guest's word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyError {
    /// The settings make no sense together.
    InvalidSettings(Vec<Problem>),
    /// This failure is outside of what the policy knows.
    Unsupported(String),
    /// Something went wrong inside.
    Internal(String),
    /// A case newer than this host.
    Other(String),
}

/// An ordered list of actions, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Decision {
    /// Carried out in order.
    #[serde(default)]
    pub actions: Vec<Action>,
    /// One or two sentences for people.
    #[serde(default)]
    pub explanation: String,
    /// Handed back to the same chain entry in this incident, at most 4 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The policy's own classification, for the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Action {
    /// Unique in its decision.
    pub id: String,
    /// Why, in one sentence.
    pub reason: String,
    /// What happens to the rest of the list when this one is refused or fails.
    #[serde(default)]
    pub on_error: OnError,
    /// What to do.
    pub operation: Operation,
}

/// What happens to the rest of the list. Messages are sent in either case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnError {
    /// Leave it.
    #[default]
    Stop,
    /// Go on with it.
    Continue,
}

/// Kinds of action by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each case is documented once, in wit/v0.1/policy.wit")]
pub enum ActionKind {
    Retry,
    Rollback,
    Wait,
    Notify,
    EmitEvent,
    Accept,
    Escalate,
    HandOff,
    Record,
    RequestApproval,
    AbortPromotion,
    Hold,
    RunRecovery,
    Custom(String),
}

impl ActionKind {
    /// The name as it stands in YAML, metrics and messages; `custom:kind` for custom ones.
    pub fn text(&self) -> String {
        match self {
            Self::Retry => "retry".to_owned(),
            Self::Rollback => "rollback".to_owned(),
            Self::Wait => "wait".to_owned(),
            Self::Notify => "notify".to_owned(),
            Self::EmitEvent => "emit-event".to_owned(),
            Self::Accept => "accept".to_owned(),
            Self::Escalate => "escalate".to_owned(),
            Self::HandOff => "hand-off".to_owned(),
            Self::Record => "record".to_owned(),
            Self::RequestApproval => "request-approval".to_owned(),
            Self::AbortPromotion => "abort-promotion".to_owned(),
            Self::Hold => "hold".to_owned(),
            Self::RunRecovery => "run-recovery".to_owned(),
            Self::Custom(kind) => format!("custom:{kind}"),
        }
    }

    /// The kind of that name, the inverse of [`ActionKind::text`].
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "retry" => Self::Retry,
            "rollback" => Self::Rollback,
            "wait" => Self::Wait,
            "notify" => Self::Notify,
            "emit-event" => Self::EmitEvent,
            "accept" => Self::Accept,
            "escalate" => Self::Escalate,
            "hand-off" => Self::HandOff,
            "record" => Self::Record,
            "request-approval" => Self::RequestApproval,
            "abort-promotion" => Self::AbortPromotion,
            "hold" => Self::Hold,
            "run-recovery" => Self::RunRecovery,
            other => Self::Custom(other.strip_prefix("custom:")?.to_owned()),
        })
    }

    /// Whether it delivers Freight to a Stage or runs a recovery: budgeted, at most one in a decision.
    pub fn is_delivery(&self) -> bool {
        match self {
            Self::Retry | Self::Rollback | Self::RunRecovery => true,
            Self::Wait
            | Self::Notify
            | Self::EmitEvent
            | Self::Accept
            | Self::Escalate
            | Self::HandOff
            | Self::Record
            | Self::RequestApproval
            | Self::AbortPromotion
            | Self::Hold
            | Self::Custom(_) => false,
        }
    }

    /// Whether it writes to Kargo objects: delivery, abort and hold.
    pub fn writes_to_kargo(&self) -> bool {
        self.is_delivery() || matches!(self, Self::AbortPromotion | Self::Hold)
    }

    /// Whether it only tells people or keeps facts. Carried out even when the rest of the list is refused.
    pub fn is_communication(&self) -> bool {
        matches!(self, Self::Notify | Self::EmitEvent | Self::Escalate | Self::Record)
    }

    /// Whether this version of the host can carry it out. Others are refused as `unsupported-here`.
    pub fn is_supported(&self) -> bool {
        match self {
            Self::Retry
            | Self::Rollback
            | Self::Wait
            | Self::Notify
            | Self::EmitEvent
            | Self::Accept
            | Self::Escalate
            | Self::HandOff
            | Self::Record => true,
            Self::RequestApproval
            | Self::AbortPromotion
            | Self::Hold
            | Self::RunRecovery
            | Self::Custom(_) => false,
        }
    }
}

/// What an action does. Field docs are those of the contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "camelCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "each case and field is documented once, in wit/v0.1/policy.wit")]
pub enum Operation {
    Retry { delay_seconds: u32 },
    Rollback { target: RollbackSelector, origin: Option<String> },
    Wait { seconds: u32, cause: String },
    Notify(Message),
    EmitEvent { reason: String, note: String },
    Accept { text: String },
    Escalate { title: String, text: String },
    HandOff { to: String, note: String },
    Record(Vec<(String, String)>),
    RequestApproval(ApprovalRequest),
    AbortPromotion { name: Option<String> },
    Hold { origin: Option<String>, until_unix_seconds: Option<u32> },
    RunRecovery { name: String, parameters: Vec<(String, String)> },
    Custom { kind: String, json: String },
}

impl Operation {
    /// The kind of this operation.
    pub fn kind(&self) -> ActionKind {
        match self {
            Self::Retry { .. } => ActionKind::Retry,
            Self::Rollback { .. } => ActionKind::Rollback,
            Self::Wait { .. } => ActionKind::Wait,
            Self::Notify(_) => ActionKind::Notify,
            Self::EmitEvent { .. } => ActionKind::EmitEvent,
            Self::Accept { .. } => ActionKind::Accept,
            Self::Escalate { .. } => ActionKind::Escalate,
            Self::HandOff { .. } => ActionKind::HandOff,
            Self::Record(_) => ActionKind::Record,
            Self::RequestApproval(_) => ActionKind::RequestApproval,
            Self::AbortPromotion { .. } => ActionKind::AbortPromotion,
            Self::Hold { .. } => ActionKind::Hold,
            Self::RunRecovery { .. } => ActionKind::RunRecovery,
            Self::Custom { kind, .. } => ActionKind::Custom(kind.clone()),
        }
    }
}

/// Which Freight to go back to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RollbackSelector {
    /// The host's last good Freight.
    LastVerified,
    /// What was deployed before, verified or not.
    Previous,
    /// The Freight of this name.
    Exact(String),
    /// A selector newer than this host; refused.
    Other(String),
}

/// A message to people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Message {
    /// A channel that the FailurePolicy declares; `None` for all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// How loud.
    pub severity: Severity,
    /// One line.
    pub title: String,
    /// Plain text.
    pub text: String,
    /// Messages with the same key are sent once per incident; `None` means the title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedupe_key: Option<String>,
}

/// How loud a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Somebody should look.
    Warning,
    /// Somebody must look now.
    Critical,
}

/// A question to a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApprovalRequest {
    /// The question.
    pub question: String,
    /// What may be answered: id and label.
    pub options: Vec<(String, String)>,
    /// How long to wait.
    pub timeout_seconds: u32,
    /// Id of the option that counts when nobody answers.
    pub on_timeout: String,
}
