//! A failure: one observed signal, with an identity that does not change, and what the host makes of it.
//!
//! In: what detection found. Out: values that everything after detection speaks in.
//! A failure is data, never an error of this program.

use serde::de::{Error as _, Unexpected};
use serde::{Deserialize, Deserializer, Serialize};

use crate::name::{FailureId, ProjectName, PromotionName, StageName, Uid, VerificationId};
use crate::time::Timestamp;

/// Why a policy is asked. The WIT text documents each case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each case is documented once, in wit/v0.1/policy.wit")]
pub enum Trigger {
    PromotionFailed,
    PromotionErrored,
    PromotionAborted,
    PromotionStalled,
    PromotionPendingStuck,
    PromotionDenied,
    StepFailedTolerated,
    PromotionNotRecorded,
    VerificationFailed,
    VerificationError,
    VerificationInconclusive,
    VerificationAborted,
    VerificationStuck,
    VerificationMissing,
    StageUnhealthy,
    StageHealthUnknown,
    RollbackFailed,
    AutoPromotionBlocked,
    ExternalAlert,
    Timer,
    ActionResult,
    ApprovalResolved,
    ApprovalExpired,
    Manual,
}

impl Trigger {
    /// Why nothing here raises it, as the end of a sentence about it; `None` for what is raised. The contract has these
    /// so that policies need not change when it is.
    pub fn unsupported(self) -> Option<&'static str> {
        match self {
            Self::PromotionDenied => Some(
                "is not raised here: what Kargo denies to Refloat ends the incident that asked for it, and what it \
                 denies to itself is `auto-promotion-blocked`",
            ),
            Self::ExternalAlert => Some("is not raised here: nothing receives alerts yet"),
            Self::ActionResult => Some(
                "is not raised here: what became of an action is in the incident's decisions when the policy is asked \
                 again",
            ),
            Self::ApprovalResolved | Self::ApprovalExpired => {
                Some("is not raised here: there are no approvals yet")
            }
            Self::PromotionFailed
            | Self::PromotionErrored
            | Self::PromotionAborted
            | Self::PromotionStalled
            | Self::PromotionPendingStuck
            | Self::StepFailedTolerated
            | Self::PromotionNotRecorded
            | Self::VerificationFailed
            | Self::VerificationError
            | Self::VerificationInconclusive
            | Self::VerificationAborted
            | Self::VerificationStuck
            | Self::VerificationMissing
            | Self::StageUnhealthy
            | Self::StageHealthUnknown
            | Self::RollbackFailed
            | Self::AutoPromotionBlocked
            | Self::Timer
            | Self::Manual => None,
        }
    }
}

/// One observed signal.
///
/// `id` is derived from what Kargo itself uses as identity (`kargo-api.md` section 9, pitfall 2): the Promotion's
/// uid for Promotion failures, the Stage's uid and the verification's id for verification failures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Failure {
    /// Stable identity: the same signal has the same id in every process and after every restart.
    pub id: FailureId,
    /// Which kind of signal.
    pub trigger: Trigger,
    /// The Project.
    pub project: ProjectName,
    /// The Stage.
    pub stage: StageName,
    /// The Stage's uid; a Stage made anew under the old name is another Stage. `None` while it is not known.
    pub stage_uid: Option<Uid>,
    /// The Promotion that failed, or that delivered the Freight whose verification failed.
    pub promotion: Option<PromotionName>,
    /// The Promotion's uid.
    pub promotion_uid: Option<Uid>,
    /// The verification that failed.
    pub verification: Option<VerificationId>,
    /// When Kargo says that it happened.
    pub at: Timestamp,
    /// Set when a person ended it. Nothing automatic ever follows such a failure.
    pub user_abort: Option<UserAbort>,
    /// One line for people, redacted.
    pub summary: String,
}

/// A person ended a Promotion or a verification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UserAbort {
    /// Who, as Kargo records it, such as `kubernetes:alice@example.com`.
    pub actor: Option<String>,
}

/// Kinds of failure. The WIT text documents each case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each case is documented once, in wit/v0.1/policy.wit")]
pub enum Class {
    Transient,
    Conflict,
    MergeConflict,
    Quota,
    Timeout,
    Auth,
    Config,
    NotFound,
    Artifact,
    DeployFailed,
    Unhealthy,
    VerificationFailed,
    VerificationInconclusive,
    VerificationError,
    UnhealthyAfterSuccess,
    PolicyDenied,
    HumanRejected,
    HumanTimeout,
    UserAbort,
    Stalled,
    Capability,
    Internal,
    RollbackFailed,
    Unknown,
}

/// Whether repeating may help, from most to least willing. The order is the strictness: later is stricter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Retryability {
    /// At once.
    Now,
    /// After a pause.
    AfterDelay,
    /// Only the whole Promotion from its first step.
    WholeOnly,
    /// Not known.
    Unknown,
    /// Not before somebody changed something.
    NeedsChange,
    /// Never by itself.
    Never,
}

/// Where the fault lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultDomain {
    /// What is being delivered.
    Freight,
    /// What it runs on or talks to.
    Environment,
    /// Kargo itself.
    Platform,
    /// Templates, settings, permissions.
    Configuration,
    /// A person's decision.
    Human,
    /// Not known.
    Unknown,
}

/// What the failed run had changed outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// Nothing.
    None,
    /// Something.
    Partial,
    /// Everything that it was to change.
    Complete,
    /// Not known.
    Unknown,
}

/// The host's reading of a failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Classification {
    /// What kind of failure.
    pub class: Class,
    /// Whether the same thing may work again.
    pub retryability: Retryability,
    /// Who or what is to blame.
    pub fault_domain: FaultDomain,
    /// What the failed run had already changed.
    pub effect: Effect,
    /// How sure, 0 to 100.
    #[serde(deserialize_with = "percent")]
    pub confidence_percent: u8,
    /// Id of the rule that decided, or `unknown`.
    pub rule: String,
    /// Alias of the step that failed first, when one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The text that was read, unwrapped and redacted, at most 2 KiB.
    #[serde(default)]
    pub text: String,
}

/// A whole number from 0 to 100.
fn percent<'de, D: Deserializer<'de>>(from: D) -> Result<u8, D::Error> {
    let given = u64::deserialize(from)?;
    let wrong = || D::Error::invalid_value(Unexpected::Unsigned(given), &"a whole number from 0 to 100");
    u8::try_from(given).ok().filter(|percent| *percent <= 100).ok_or_else(wrong)
}

impl Classification {
    /// What is said when nothing is known: low confidence, never a guess.
    pub fn unknown() -> Self {
        Self {
            class: Class::Unknown,
            retryability: Retryability::Unknown,
            fault_domain: FaultDomain::Unknown,
            effect: Effect::Unknown,
            confidence_percent: 0,
            rule: "unknown".to_owned(),
            step: None,
            text: String::new(),
        }
    }
}

/// What a step says about its own failure: checked, clamped, and never more than advice to be stricter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StepHint {
    /// Alias of the step.
    pub step: String,
    /// How it reached the host: `envelope` or `output`.
    pub channel: String,
    /// The step's own classification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
    /// The step's own view on repeating.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retryability>,
    /// Lower bound for the pause before the next attempt, at most 14 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u32>,
    /// Upper bound for attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u8>,
    /// Machine-readable reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What shares this limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope_key: Option<String>,
    /// Other keys, unread.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extra: Vec<(String, String)>,
}
