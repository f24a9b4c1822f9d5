//! Cases without payload, core to track 0.1: one line each, so that a new case must be placed by hand.
//!
//! In: a core enum. Out: the generated one. A case that track 0.1 does not know goes to `other` with its name.

use policy_core::context as core;
use policy_core::failure;

use super::bindings::exports::refloat::failure_policy::policy as wit;

pub(super) fn trigger<'a>(it: failure::Trigger) -> wit::TriggerParam<'a> {
    match it {
        failure::Trigger::PromotionFailed => wit::TriggerParam::PromotionFailed,
        failure::Trigger::PromotionErrored => wit::TriggerParam::PromotionErrored,
        failure::Trigger::PromotionAborted => wit::TriggerParam::PromotionAborted,
        failure::Trigger::PromotionStalled => wit::TriggerParam::PromotionStalled,
        failure::Trigger::PromotionPendingStuck => wit::TriggerParam::PromotionPendingStuck,
        failure::Trigger::PromotionDenied => wit::TriggerParam::PromotionDenied,
        failure::Trigger::StepFailedTolerated => wit::TriggerParam::StepFailedTolerated,
        failure::Trigger::PromotionNotRecorded => wit::TriggerParam::PromotionNotRecorded,
        failure::Trigger::VerificationFailed => wit::TriggerParam::VerificationFailed,
        failure::Trigger::VerificationError => wit::TriggerParam::VerificationError,
        failure::Trigger::VerificationInconclusive => wit::TriggerParam::VerificationInconclusive,
        failure::Trigger::VerificationAborted => wit::TriggerParam::VerificationAborted,
        failure::Trigger::VerificationStuck => wit::TriggerParam::VerificationStuck,
        failure::Trigger::VerificationMissing => wit::TriggerParam::VerificationMissing,
        failure::Trigger::StageUnhealthy => wit::TriggerParam::StageUnhealthy,
        failure::Trigger::StageHealthUnknown => wit::TriggerParam::StageHealthUnknown,
        failure::Trigger::RollbackFailed => wit::TriggerParam::RollbackFailed,
        failure::Trigger::AutoPromotionBlocked => wit::TriggerParam::AutoPromotionBlocked,
        failure::Trigger::ExternalAlert => wit::TriggerParam::ExternalAlert,
        failure::Trigger::Timer => wit::TriggerParam::Timer,
        failure::Trigger::ActionResult => wit::TriggerParam::ActionResult,
        failure::Trigger::ApprovalResolved => wit::TriggerParam::ApprovalResolved,
        failure::Trigger::ApprovalExpired => wit::TriggerParam::ApprovalExpired,
        failure::Trigger::Manual => wit::TriggerParam::Manual,
    }
}

pub(super) fn class<'a>(it: failure::Class) -> wit::ClassParam<'a> {
    match it {
        failure::Class::Transient => wit::ClassParam::Transient,
        failure::Class::Conflict => wit::ClassParam::Conflict,
        failure::Class::MergeConflict => wit::ClassParam::MergeConflict,
        failure::Class::Quota => wit::ClassParam::Quota,
        failure::Class::Timeout => wit::ClassParam::Timeout,
        failure::Class::Auth => wit::ClassParam::Auth,
        failure::Class::Config => wit::ClassParam::Config,
        failure::Class::NotFound => wit::ClassParam::NotFound,
        failure::Class::Artifact => wit::ClassParam::Artifact,
        failure::Class::DeployFailed => wit::ClassParam::DeployFailed,
        failure::Class::Unhealthy => wit::ClassParam::Unhealthy,
        failure::Class::VerificationFailed => wit::ClassParam::VerificationFailed,
        failure::Class::VerificationInconclusive => wit::ClassParam::VerificationInconclusive,
        failure::Class::VerificationError => wit::ClassParam::VerificationError,
        failure::Class::UnhealthyAfterSuccess => wit::ClassParam::UnhealthyAfterSuccess,
        failure::Class::PolicyDenied => wit::ClassParam::PolicyDenied,
        failure::Class::HumanRejected => wit::ClassParam::HumanRejected,
        failure::Class::HumanTimeout => wit::ClassParam::HumanTimeout,
        failure::Class::UserAbort => wit::ClassParam::UserAbort,
        failure::Class::Stalled => wit::ClassParam::Stalled,
        failure::Class::Capability => wit::ClassParam::Capability,
        failure::Class::Internal => wit::ClassParam::Internal,
        failure::Class::RollbackFailed => wit::ClassParam::RollbackFailed,
        failure::Class::Unknown => wit::ClassParam::Unknown,
    }
}

pub(super) fn retryability<'a>(it: failure::Retryability) -> wit::Retryability<'a> {
    match it {
        failure::Retryability::Now => wit::Retryability::Now,
        failure::Retryability::AfterDelay => wit::Retryability::AfterDelay,
        failure::Retryability::WholeOnly => wit::Retryability::WholeOnly,
        failure::Retryability::Unknown => wit::Retryability::Unknown,
        failure::Retryability::NeedsChange => wit::Retryability::NeedsChange,
        failure::Retryability::Never => wit::Retryability::Never,
    }
}

pub(super) fn fault_domain<'a>(it: failure::FaultDomain) -> wit::FaultDomain<'a> {
    match it {
        failure::FaultDomain::Freight => wit::FaultDomain::Freight,
        failure::FaultDomain::Environment => wit::FaultDomain::Environment,
        failure::FaultDomain::Platform => wit::FaultDomain::Platform,
        failure::FaultDomain::Configuration => wit::FaultDomain::Configuration,
        failure::FaultDomain::Human => wit::FaultDomain::Human,
        failure::FaultDomain::Unknown => wit::FaultDomain::Unknown,
    }
}

pub(super) fn effect<'a>(it: failure::Effect) -> wit::Effect<'a> {
    match it {
        failure::Effect::None => wit::Effect::None,
        failure::Effect::Partial => wit::Effect::Partial,
        failure::Effect::Complete => wit::Effect::Complete,
        failure::Effect::Unknown => wit::Effect::Unknown,
    }
}

pub(super) fn health<'a>(it: core::Health) -> wit::Health<'a> {
    match it {
        core::Health::Healthy => wit::Health::Healthy,
        core::Health::Unhealthy => wit::Health::Unhealthy,
        core::Health::Progressing => wit::Health::Progressing,
        core::Health::Unknown => wit::Health::Unknown,
        core::Health::NotApplicable => wit::Health::NotApplicable,
    }
}

pub(super) fn actor_kind<'a>(it: core::ActorKind) -> wit::ActorKind<'a> {
    match it {
        core::ActorKind::Kargo => wit::ActorKind::Kargo,
        core::ActorKind::Refloat => wit::ActorKind::Refloat,
        core::ActorKind::Person => wit::ActorKind::Person,
        core::ActorKind::Unknown => wit::ActorKind::Unknown,
    }
}

pub(super) fn mode<'a>(it: core::Mode) -> wit::Mode<'a> {
    match it {
        core::Mode::Observe => wit::Mode::Observe,
        core::Mode::Suggest => wit::Mode::Suggest,
        core::Mode::Enforce => wit::Mode::Enforce,
    }
}

/// `None` for a case newer than this host.
pub(super) fn known_trigger(it: &wit::TriggerResult) -> Option<failure::Trigger> {
    Some(match it {
        wit::TriggerResult::PromotionFailed => failure::Trigger::PromotionFailed,
        wit::TriggerResult::PromotionErrored => failure::Trigger::PromotionErrored,
        wit::TriggerResult::PromotionAborted => failure::Trigger::PromotionAborted,
        wit::TriggerResult::PromotionStalled => failure::Trigger::PromotionStalled,
        wit::TriggerResult::PromotionPendingStuck => failure::Trigger::PromotionPendingStuck,
        wit::TriggerResult::PromotionDenied => failure::Trigger::PromotionDenied,
        wit::TriggerResult::StepFailedTolerated => failure::Trigger::StepFailedTolerated,
        wit::TriggerResult::PromotionNotRecorded => failure::Trigger::PromotionNotRecorded,
        wit::TriggerResult::VerificationFailed => failure::Trigger::VerificationFailed,
        wit::TriggerResult::VerificationError => failure::Trigger::VerificationError,
        wit::TriggerResult::VerificationInconclusive => failure::Trigger::VerificationInconclusive,
        wit::TriggerResult::VerificationAborted => failure::Trigger::VerificationAborted,
        wit::TriggerResult::VerificationStuck => failure::Trigger::VerificationStuck,
        wit::TriggerResult::VerificationMissing => failure::Trigger::VerificationMissing,
        wit::TriggerResult::StageUnhealthy => failure::Trigger::StageUnhealthy,
        wit::TriggerResult::StageHealthUnknown => failure::Trigger::StageHealthUnknown,
        wit::TriggerResult::RollbackFailed => failure::Trigger::RollbackFailed,
        wit::TriggerResult::AutoPromotionBlocked => failure::Trigger::AutoPromotionBlocked,
        wit::TriggerResult::ExternalAlert => failure::Trigger::ExternalAlert,
        wit::TriggerResult::Timer => failure::Trigger::Timer,
        wit::TriggerResult::ActionResult => failure::Trigger::ActionResult,
        wit::TriggerResult::ApprovalResolved => failure::Trigger::ApprovalResolved,
        wit::TriggerResult::ApprovalExpired => failure::Trigger::ApprovalExpired,
        wit::TriggerResult::Manual => failure::Trigger::Manual,
        wit::TriggerResult::Other(_) => return None,
    })
}

/// `None` for a case newer than this host.
pub(super) fn known_class(it: &wit::ClassResult) -> Option<failure::Class> {
    Some(match it {
        wit::ClassResult::Transient => failure::Class::Transient,
        wit::ClassResult::Conflict => failure::Class::Conflict,
        wit::ClassResult::MergeConflict => failure::Class::MergeConflict,
        wit::ClassResult::Quota => failure::Class::Quota,
        wit::ClassResult::Timeout => failure::Class::Timeout,
        wit::ClassResult::Auth => failure::Class::Auth,
        wit::ClassResult::Config => failure::Class::Config,
        wit::ClassResult::NotFound => failure::Class::NotFound,
        wit::ClassResult::Artifact => failure::Class::Artifact,
        wit::ClassResult::DeployFailed => failure::Class::DeployFailed,
        wit::ClassResult::Unhealthy => failure::Class::Unhealthy,
        wit::ClassResult::VerificationFailed => failure::Class::VerificationFailed,
        wit::ClassResult::VerificationInconclusive => failure::Class::VerificationInconclusive,
        wit::ClassResult::VerificationError => failure::Class::VerificationError,
        wit::ClassResult::UnhealthyAfterSuccess => failure::Class::UnhealthyAfterSuccess,
        wit::ClassResult::PolicyDenied => failure::Class::PolicyDenied,
        wit::ClassResult::HumanRejected => failure::Class::HumanRejected,
        wit::ClassResult::HumanTimeout => failure::Class::HumanTimeout,
        wit::ClassResult::UserAbort => failure::Class::UserAbort,
        wit::ClassResult::Stalled => failure::Class::Stalled,
        wit::ClassResult::Capability => failure::Class::Capability,
        wit::ClassResult::Internal => failure::Class::Internal,
        wit::ClassResult::RollbackFailed => failure::Class::RollbackFailed,
        wit::ClassResult::Unknown => failure::Class::Unknown,
        wit::ClassResult::Other(_) => return None,
    })
}
