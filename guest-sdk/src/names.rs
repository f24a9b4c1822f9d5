//! The names of the contract's cases, as they stand in settings, YAML and messages.
//!
//! In: a case. Out: its name, such as `promotion-errored`; for `other` the name that the host gave.
//! Matches are exhaustive, so a case that is new to the contract does not compile without its name here.

use std::fmt;

use crate::{ActionKind, Class, Operation, Retryability, Severity, Trigger};

macro_rules! names {
    ($type:ident $example:literal { $($case:ident $name:literal,)+ } Other) => {
        names! { $type $example { $($case $name,)+ } Other "" }

        impl $type {
            /// The name, without making a text of it.
            #[doc = concat!("\n```\nuse refloat_policy::", stringify!($type), ";\n\n")]
            #[doc = concat!("assert_eq!(", stringify!($type), "::Other(\"new\".to_owned()).name(), \"new\");\n```")]
            pub fn name(&self) -> &str {
                match self {
                    $(Self::$case => $name,)+
                    Self::Other(name) => name,
                }
            }
        }
    };
    ($type:ident $example:literal { $($case:ident $name:literal,)+ } $other:ident $prefix:literal) => {
        #[doc = concat!("```\nuse refloat_policy::", stringify!($type), ";\n\n", $example, "\n```")]
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$case => f.write_str($name),)+
                    Self::$other(name) => write!(f, "{}{name}", $prefix),
                }
            }
        }
    };
}

names! {
    Trigger "assert_eq!(Trigger::PromotionErrored.to_string(), \"promotion-errored\");" {
        PromotionFailed "promotion-failed",
        PromotionErrored "promotion-errored",
        PromotionAborted "promotion-aborted",
        PromotionStalled "promotion-stalled",
        PromotionPendingStuck "promotion-pending-stuck",
        PromotionDenied "promotion-denied",
        StepFailedTolerated "step-failed-tolerated",
        PromotionNotRecorded "promotion-not-recorded",
        VerificationFailed "verification-failed",
        VerificationError "verification-error",
        VerificationInconclusive "verification-inconclusive",
        VerificationAborted "verification-aborted",
        VerificationStuck "verification-stuck",
        VerificationMissing "verification-missing",
        StageUnhealthy "stage-unhealthy",
        StageHealthUnknown "stage-health-unknown",
        RollbackFailed "rollback-failed",
        AutoPromotionBlocked "auto-promotion-blocked",
        ExternalAlert "external-alert",
        Timer "timer",
        ActionResult "action-result",
        ApprovalResolved "approval-resolved",
        ApprovalExpired "approval-expired",
        Manual "manual",
    } Other
}

names! {
    Class "assert_eq!(Class::MergeConflict.to_string(), \"merge-conflict\");" {
        Transient "transient",
        Conflict "conflict",
        MergeConflict "merge-conflict",
        Quota "quota",
        Timeout "timeout",
        Auth "auth",
        Config "config",
        NotFound "not-found",
        Artifact "artifact",
        DeployFailed "deploy-failed",
        Unhealthy "unhealthy",
        VerificationFailed "verification-failed",
        VerificationInconclusive "verification-inconclusive",
        VerificationError "verification-error",
        UnhealthyAfterSuccess "unhealthy-after-success",
        PolicyDenied "policy-denied",
        HumanRejected "human-rejected",
        HumanTimeout "human-timeout",
        UserAbort "user-abort",
        Stalled "stalled",
        Capability "capability",
        Internal "internal",
        RollbackFailed "rollback-failed",
        Unknown "unknown",
    } Other
}

names! {
    Retryability "assert_eq!(Retryability::AfterDelay.to_string(), \"after-delay\");" {
        Now "now",
        AfterDelay "after-delay",
        WholeOnly "whole-only",
        NeedsChange "needs-change",
        Never "never",
        Unknown "unknown",
    } Other
}

names! {
    ActionKind "assert_eq!(ActionKind::EmitEvent.to_string(), \"emit-event\");" {
        Retry "retry",
        Rollback "rollback",
        Wait "wait",
        Notify "notify",
        EmitEvent "emit-event",
        Accept "accept",
        Escalate "escalate",
        HandOff "hand-off",
        Record "record",
        RequestApproval "request-approval",
        AbortPromotion "abort-promotion",
        Hold "hold",
        RunRecovery "run-recovery",
    } Custom "custom:"
}

names! {
    Severity "assert_eq!(Severity::Warning.to_string(), \"warning\");" {
        Info "info",
        Warning "warning",
        Critical "critical",
    } Other
}

impl Operation {
    /// The kind of this operation, as manifests and capabilities name it.
    ///
    /// ```
    /// use refloat_policy::{ActionKind, Operation, Retry};
    ///
    /// assert_eq!(Operation::Retry(Retry { delay_seconds: 30 }).kind(), ActionKind::Retry);
    /// ```
    pub fn kind(&self) -> ActionKind {
        match self {
            Self::Retry(_) => ActionKind::Retry,
            Self::Rollback(_) => ActionKind::Rollback,
            Self::Wait(_) => ActionKind::Wait,
            Self::Notify(_) => ActionKind::Notify,
            Self::EmitEvent(_) => ActionKind::EmitEvent,
            Self::Accept(_) => ActionKind::Accept,
            Self::Escalate(_) => ActionKind::Escalate,
            Self::HandOff(_) => ActionKind::HandOff,
            Self::Record(_) => ActionKind::Record,
            Self::RequestApproval(_) => ActionKind::RequestApproval,
            Self::AbortPromotion(_) => ActionKind::AbortPromotion,
            Self::Hold(_) => ActionKind::Hold,
            Self::RunRecovery(_) => ActionKind::RunRecovery,
            Self::Custom(custom) => ActionKind::Custom(custom.kind.clone()),
        }
    }
}
