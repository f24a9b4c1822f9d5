//! What a policy author implements, and the bridge from the component's exports to it.
//!
//! In: calls of the host. Out: calls of a [`Policy`], with a panic hook in place before the author's code runs.
//! Nothing here decides anything.

use std::marker::PhantomData;
use std::mem::ManuallyDrop;

use crate::bindings::exports::refloat::failure_policy::policy::Guest;
use crate::{Answer, Context, Decision, Error, Manifest, Problem, Settings, log};

/// A failure policy.
///
/// The host makes a fresh instance for each call, so nothing survives in statics; what a policy wants to remember
/// within an incident goes into [`Decision::state`] and comes back as [`Context::state`].
///
/// ```
/// use refloat_policy::{ActionKind, Answer, Context, Decision, Error, Manifest, Policy};
///
/// struct Page;
///
/// impl Policy for Page {
///     fn manifest() -> Manifest {
///         Manifest::new("page", "1.0.0", "Pages somebody for every failure.").actions([ActionKind::Escalate])
///     }
///
///     fn decide(context: &Context, _proposed: Option<&Decision>) -> Result<Answer, Error> {
///         let title = format!("Stage {} failed", context.stage.name);
///         Ok(Decision::new().escalate(title, &context.failure.summary).because("every failure is paged").into())
///     }
/// }
/// ```
pub trait Policy {
    /// Says what this policy is. Must not depend on anything.
    fn manifest() -> Manifest;

    /// Checks what the settings schema cannot express, such as one value being below another.
    ///
    /// # Errors
    /// Every problem found, each with the JSON Pointer of the offending setting.
    fn validate(settings: &Settings) -> Result<(), Vec<Problem>> {
        let _ = settings;
        Ok(())
    }

    /// Decides from the context alone. `proposed` is what earlier entries of the chain propose.
    ///
    /// # Errors
    /// When it was asked and cannot answer. The host then does nothing and says so; a failure that is none of this
    /// policy's business is [`Answer::Pass`], not an error.
    fn decide(context: &Context, proposed: Option<&Decision>) -> Result<Answer, Error>;
}

/// Connects a [`Policy`] with the component's exports. Used by [`crate::export!`].
#[derive(Debug)]
pub struct Exported<P>(PhantomData<P>);

impl<P: Policy> Guest for Exported<P> {
    fn describe() -> Manifest {
        log::report_panics();
        P::manifest()
    }

    fn validate(settings: Settings) -> Result<(), Vec<Problem>> {
        log::report_panics();
        P::validate(&settings)
    }

    fn decide(context: Context, proposed: Option<Decision>) -> Result<Answer, Error> {
        log::report_panics();
        // The instance ends with this call and its memory with it: taking a context apart field by field would be a
        // tenth of a decision.
        let (context, proposed) = (ManuallyDrop::new(context), ManuallyDrop::new(proposed));
        P::decide(&context, proposed.as_ref())
    }
}
