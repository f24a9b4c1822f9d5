//! Write a Refloat failure policy in Rust.
//!
//! A policy is a pure function: the context of a failure in, an ordered list of actions out. Implement [`Policy`],
//! export it with [`export!`], build it for `wasm32-wasip2`, and it is a component that Refloat runs:
//!
//! ```
//! use refloat_policy::{ActionKind, Answer, Class, Context, Decision, Error, Manifest, Policy};
//!
//! struct RetryQuota;
//!
//! impl Policy for RetryQuota {
//!     fn manifest() -> Manifest {
//!         Manifest::new("retry-quota", "1.0.0", "Repeats a Promotion that met a rate limit.")
//!             .actions([ActionKind::Retry])
//!     }
//!
//!     fn decide(context: &Context, _proposed: Option<&Decision>) -> Result<Answer, Error> {
//!         if context.classification.class != Class::Quota || context.budgets.retries_left == 0 {
//!             return Ok(Answer::Pass);
//!         }
//!         Ok(Decision::new().retry(60).because("a rate limit is usually over after a minute").into())
//!     }
//! }
//!
//! refloat_policy::export!(RetryQuota);
//! ```
//!
//! Types and their fields are those of the contract, `wit/v0.1/policy.wit`, under plain Rust names. What is added:
//! builders ([`Decision::new`], [`Manifest::new`]), readers ([`Settings::text`] and its kin), [`Backoff`],
//! [`Random`], [`log`], and [`testing`] for unit tests on the machine you write on.
//!
//! A guest has no clock, no environment, no files and no network: [`Context::now_unix_seconds`] is the time and
//! [`Context::seed`] the only randomness, which is why a decision can be replayed.

#![deny(missing_docs)]

#[cfg(target_arch = "wasm32")]
mod arena;
#[cfg(all(test, not(target_arch = "wasm32")))]
mod arena;
mod backoff;
#[doc(hidden)]
pub mod bindings;
mod context;
mod decision;
mod duration;
pub mod log;
mod manifest;
mod names;
mod policy;
mod random;
mod settings;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

pub use backoff::{Backoff, Jitter};
pub use bindings::exports::refloat::failure_policy::policy::{
    AbortPromotion, Action, ActionKind, ActorKind, Answer, ApprovalOption, Artifact, Attempt, Budgets, Class,
    Classification, Context, Custom, Decision, Effect, EmitEvent, Escalate, Failure, FaultDomain, Freight,
    FreightFacts, FreightRef, HandOff, Health, Hold, HoldFact, Incident, Manifest, Measurement, Metric,
    MetricCounts, Mode, Note, Notify, OnError, Operation, Outcome, PastCollection, PastDecision,
    PolicyError as Error, Problem, Project, Promotion, QueuedPromotion, RequestApproval, Retry, Retryability,
    Role, Rollback, RollbackSelector, RollbackTarget, RunRecovery, Scalar, Settings, Severity, Stage, Step,
    StepHint, Trigger, Verification, Wait,
};
pub use decision::Draft;
pub use duration::duration;
#[doc(hidden)]
pub use policy::Exported;
pub use policy::Policy;
pub use random::Random;

/// Makes a component of a type that implements [`Policy`].
///
/// Use it once per crate, at its root. It adds nothing outside of WebAssembly, so that several policies can be
/// linked into one native test.
///
/// ```
/// use refloat_policy::{Answer, Context, Decision, Error, Manifest, Policy};
///
/// struct Quiet;
///
/// impl Policy for Quiet {
///     fn manifest() -> Manifest {
///         Manifest::new("quiet", "1.0.0", "Never has an opinion.")
///     }
///
///     fn decide(_: &Context, _: Option<&Decision>) -> Result<Answer, Error> {
///         Ok(Answer::Pass)
///     }
/// }
///
/// refloat_policy::export!(Quiet);
/// ```
#[macro_export]
macro_rules! export {
    ($policy:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type ExportedPolicy = $crate::Exported<$policy>;
    $crate::bindings::export_component!(ExportedPolicy with_types_in $crate::bindings);
        };

        // On other targets nothing is exported; this keeps the policy from being called unused there.
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn() -> $crate::Manifest = <$policy as $crate::Policy>::manifest;
    };
}

/// The README's examples, so that they compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[derive(Debug)]
pub struct Readme;
