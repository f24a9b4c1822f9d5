//! What a verification that did not end Successful says.
//!
//! In: the catalogue, the verification and, if at hand, its AnalysisRun. Out: a [`Classification`], rules V1 to V8.

use crate::detect::VERIFICATION_ABORTED;
use crate::failure::{Class, Classification, Effect, FaultDomain, Retryability};
use crate::redact;
use crate::snapshot::{AnalysisRunSnapshot, VerificationPhase, VerificationSnapshot};

use super::catalogue::{Catalogue, Verdict};

/// Classifies a verification. Its Freight is deployed already, so the effect is always complete.
///
/// A `Failed` without a message is the reused result of an older AnalysisRun: the verdict is old, the run may be
/// at hand nevertheless.
pub fn verification(
    catalogue: &Catalogue,
    attempt: &VerificationSnapshot,
    run: Option<&AnalysisRunSnapshot>,
) -> Classification {
    let (rule, verdict) = decide(catalogue, attempt, run);
    let text = match (attempt.message.as_str(), run) {
        ("", Some(run)) => run.message.as_str(),
        (message, _) => message,
    };
    Classification {
        text: redact::shown(text, super::MAX_TEXT_BYTES),
        ..super::found(rule, verdict, "", Effect::Complete)
    }
}

fn decide(
    catalogue: &Catalogue,
    attempt: &VerificationSnapshot,
    run: Option<&AnalysisRunSnapshot>,
) -> (&'static str, Verdict) {
    let verdict = |class, retry, fault, confidence| Verdict { class, retry, fault, confidence };
    let unknown = verdict(Class::Unknown, Retryability::Unknown, FaultDomain::Unknown, 0);
    match attempt.phase {
        Some(VerificationPhase::Aborted) => {
            ("V1", verdict(Class::UserAbort, Retryability::Never, FaultDomain::Human, 100))
        }
        Some(VerificationPhase::Failed) if attempt.message == VERIFICATION_ABORTED => {
            ("V1", verdict(Class::UserAbort, Retryability::Never, FaultDomain::Human, 100))
        }
        Some(VerificationPhase::Failed) => {
            ("V5", verdict(Class::VerificationFailed, Retryability::Never, FaultDomain::Freight, 90))
        }
        Some(VerificationPhase::Error) => {
            of_error(catalogue, &attempt.message, attempt.analysis_run.is_some() || run.is_some())
        }
        Some(VerificationPhase::Inconclusive) => (
            "V7",
            verdict(Class::VerificationInconclusive, Retryability::AfterDelay, FaultDomain::Unknown, 90),
        ),
        Some(VerificationPhase::Pending | VerificationPhase::Running | VerificationPhase::Successful)
        | None => ("unknown", unknown),
    }
}

/// `Error`: either Kargo could not start a run, or the run could not measure.
fn of_error(catalogue: &Catalogue, message: &str, has_run: bool) -> (&'static str, Verdict) {
    let verdict = |class, retry, fault, confidence| Verdict { class, retry, fault, confidence };
    if message.starts_with("Rollouts integration is disabled") {
        return ("V2", verdict(Class::Capability, Retryability::NeedsChange, FaultDomain::Platform, 95));
    }
    if message.starts_with("error building AnalysisRun") {
        return ("V3", verdict(Class::Config, Retryability::NeedsChange, FaultDomain::Configuration, 90));
    }
    let is_of_kargo =
        ["error creating AnalysisRun", "error getting AnalysisRun", "error terminating AnalysisRun"];
    if is_of_kargo.iter().any(|prefix| message.starts_with(prefix)) {
        let nested = catalogue.quoted(message);
        let otherwise =
            verdict(Class::VerificationError, Retryability::AfterDelay, FaultDomain::Platform, 60);
        return ("V4", nested.unwrap_or(otherwise));
    }
    if has_run {
        return (
            "V6",
            verdict(Class::VerificationError, Retryability::AfterDelay, FaultDomain::Environment, 85),
        );
    }
    ("V8", verdict(Class::VerificationError, Retryability::Unknown, FaultDomain::Unknown, 50))
}
