//! What kind of failure it is, whether repeating may help, who is to blame, and what has been changed already.
//!
//! In: a terminal Promotion with its hints, or a verification with its AnalysisRun. Out: a [`Classification`] that
//! names the rule that decided. Rules are data ([`rules`], [`generic`]); Kargo's own Failed and Errored are not
//! used, because neither says whether a failure is permanent. What no rule knows is `unknown`, never a guess.

mod effect;
pub mod generic;
pub mod rules;
pub mod unwrap;
mod verification;

use crate::detect::first_failed_step;
use crate::failure::{Class, Classification, Effect, FaultDomain, Retryability, StepHint};
use crate::redact;
use crate::snapshot::{PromotionPhase, PromotionSnapshot, StepSnapshot};

use generic::Generic;
use rules::{Reading, Rule, Verdict};
use unwrap::Unwrapped;

pub use verification::verification;

/// Longest text that is kept.
const MAX_TEXT_BYTES: usize = 2 * 1024;

/// Longest text that is matched: messages are not cut by Kargo (403 kB were seen, kargo-live.md 2). The beginning
/// has Kargo's own words, the end has the tool's.
const MAX_MATCHED_BYTES: usize = 16 * 1024;

/// Below this confidence a hint's class counts (failure-strategies.md 4.1).
const SURE: u8 = 80;

/// Classifies a Promotion that ended badly (or that stalls).
///
/// The step that failed first without `continueOnError` decides, whatever the Promotion's own message says: that
/// one may come from a clean-up. Without such a step the Promotion's message decides. Hints make the answer
/// stricter, never milder.
pub fn promotion(promotion: &PromotionSnapshot, hints: &[StepHint]) -> Classification {
    if promotion.phase == Some(PromotionPhase::Aborted) {
        return found("E12", user_abort(), &promotion.message, effect::of(promotion, None));
    }
    let failed = first_failed_step(promotion);
    if !promotion.is_terminal() {
        return Classification { step: failed.map(|step| step.alias.clone()), ..stalled(promotion) };
    }
    let mut classification = match failed {
        Some(step) => of_step(promotion, step),
        None => Classification { effect: effect::of(promotion, None), ..text(None, &promotion.message) },
    };
    let kind = failed.map(|step| step.kind.as_str());
    for hint in hints {
        narrow(&mut classification, hint, kind);
    }
    classification
}

fn of_step(promotion: &PromotionSnapshot, step: &StepSnapshot) -> Classification {
    let mut classification = text(Some(&step.kind), &step.message);
    let by_rule = classification.effect;
    let by_steps = effect::of(promotion, Some((step, classification.class)));
    classification.effect = if by_rule == Effect::Unknown { by_steps } else { by_rule };
    classification.step = Some(step.alias.clone());
    classification
}

/// Classifies one message, as a step or a Promotion carries it, by text alone. `effect` is `unknown` unless the text
/// itself tells.
pub fn text(step_kind: Option<&str>, message: &str) -> Classification {
    let whole = redact::text(message);
    let cut = ends(&whole);
    let unwrapped = unwrap::step_message(&cut);
    let Some(rule) = rules::find(step_kind, &unwrapped) else {
        return match generic::find(step_kind, unwrapped.text) {
            Some(Generic { id, verdict }) => found(id, **verdict, unwrapped.text, Effect::Unknown),
            None => Classification { text: kept(unwrapped.text), ..Classification::unknown() },
        };
    };
    let (id, verdict) = decide(rule, step_kind, &unwrapped);
    let (id, verdict) = own_word(rule, message).unwrap_or((id, verdict));
    found(&id, verdict, unwrapped.text, rule.effect)
}

/// A `fail` step says no more than its message, so an envelope in it is what the row says, not a hint about it.
fn own_word(rule: &Rule, message: &str) -> Option<(String, Verdict)> {
    if rule.id != "X1" {
        return None;
    }
    let hint = crate::hints::in_message("fail", message)?;
    let class = hint.class?;
    let verdict = Verdict {
        class,
        retry: hint.retry.unwrap_or_else(|| by_class(class)),
        fault: fault_of(class),
        confidence: 75,
    };
    Some(("X1h".to_owned(), verdict))
}

/// Who is to blame for a class when nothing else is said.
fn fault_of(class: Class) -> FaultDomain {
    match class {
        Class::Transient | Class::Conflict | Class::MergeConflict | Class::Quota | Class::Timeout => {
            FaultDomain::Environment
        }
        Class::Auth | Class::Config | Class::NotFound | Class::PolicyDenied => FaultDomain::Configuration,
        Class::HumanRejected | Class::HumanTimeout | Class::UserAbort => FaultDomain::Human,
        Class::Capability | Class::Internal => FaultDomain::Platform,
        // A step may raise suspicion against the Freight; it proves nothing.
        Class::Artifact
        | Class::DeployFailed
        | Class::Unhealthy
        | Class::VerificationFailed
        | Class::VerificationInconclusive
        | Class::VerificationError
        | Class::UnhealthyAfterSuccess
        | Class::Stalled
        | Class::RollbackFailed
        | Class::Unknown => FaultDomain::Unknown,
    }
}

fn decide(rule: &Rule, step_kind: Option<&str>, unwrapped: &Unwrapped<'_>) -> (String, Verdict) {
    match &rule.reading {
        Reading::Is(verdict) => (rule.id.to_owned(), *verdict),
        Reading::Nested(otherwise) => match generic::find(step_kind, unwrapped.text) {
            Some(Generic { id, verdict }) => (format!("{}/{id}", rule.id), **verdict),
            None => (rule.id.to_owned(), *otherwise),
        },
    }
}

fn found(rule: &str, verdict: Verdict, text: &str, effect: Effect) -> Classification {
    Classification {
        class: verdict.class,
        retryability: verdict.retry,
        fault_domain: verdict.fault,
        effect,
        confidence_percent: verdict.confidence,
        rule: rule.to_owned(),
        step: None,
        text: kept(text),
    }
}

/// A hint narrows: the stricter view on repeating wins, and its class counts only where the rules are not sure or
/// do not know the step.
fn narrow(classification: &mut Classification, hint: &StepHint, kind: Option<&str>) {
    if let Some(retry) = hint.retry {
        classification.retryability = classification.retryability.max(retry);
    }
    let is_unknown_kind = kind.is_some_and(|kind| !unwrap::is_built_in(kind));
    if let Some(class) = hint.class
        && (classification.confidence_percent < SURE || is_unknown_kind)
        && class != classification.class
    {
        // The step's word for the class never makes repeating more likely than the rules do.
        classification.class = class;
        let implied = by_class(class);
        if implied >= Retryability::NeedsChange {
            classification.retryability = classification.retryability.max(implied);
        }
        classification.rule = format!("{}+hint", classification.rule);
    }
}

/// What a class means for repeating when nothing else is said.
fn by_class(class: Class) -> Retryability {
    match class {
        Class::Transient | Class::Quota | Class::Timeout => Retryability::AfterDelay,
        Class::Conflict | Class::MergeConflict | Class::Stalled => Retryability::WholeOnly,
        Class::Auth
        | Class::Config
        | Class::NotFound
        | Class::Artifact
        | Class::PolicyDenied
        | Class::Capability => Retryability::NeedsChange,
        Class::DeployFailed
        | Class::Unhealthy
        | Class::VerificationFailed
        | Class::UnhealthyAfterSuccess
        | Class::HumanRejected
        | Class::HumanTimeout
        | Class::UserAbort
        | Class::RollbackFailed => Retryability::Never,
        Class::VerificationInconclusive | Class::VerificationError | Class::Internal | Class::Unknown => {
            Retryability::Unknown
        }
    }
}

fn user_abort() -> Verdict {
    Verdict {
        class: Class::UserAbort,
        retry: Retryability::Never,
        fault: FaultDomain::Human,
        confidence: 100,
    }
}

/// A step that failed without an error keeps its Promotion running for ever (failure-strategies.md 0.5).
fn stalled(promotion: &PromotionSnapshot) -> Classification {
    let verdict = Verdict {
        class: Class::Stalled,
        retry: Retryability::WholeOnly,
        fault: FaultDomain::Environment,
        confidence: 60,
    };
    let failed = first_failed_step(promotion).map(|step| (step, Class::Stalled));
    found("E8", verdict, &promotion.message, effect::of(promotion, failed))
}

/// The beginning and the end of a text that is too long to be matched.
fn ends(text: &str) -> String {
    if text.len() <= MAX_MATCHED_BYTES {
        return text.to_owned();
    }
    let half = MAX_MATCHED_BYTES / 2;
    let head = text.get(..text.floor_char_boundary(half)).unwrap_or_default();
    let tail = text.get(text.ceil_char_boundary(text.len() - half)..).unwrap_or_default();
    format!("{head}\n{tail}")
}

fn kept(text: &str) -> String {
    redact::shown(text.trim_end(), MAX_TEXT_BYTES)
}

/// Whether a step of this kind changes something outside when it succeeds. `None` for kinds that may.
pub fn mutates(kind: &str) -> Option<bool> {
    effect::mutates(kind)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn failed(kind: &str, message: &str) -> PromotionSnapshot {
        let step = serde_json::json!({ "alias": "a", "kind": kind, "status": "Failed", "message": message });
        let promotion = serde_json::json!({
            "project": "shop", "name": "prod.1", "uid": "u", "stage": "prod", "freight": "f",
            "phase": "Failed", "steps": [step],
        });
        serde_json::from_value(promotion).expect("a Promotion")
    }

    proptest! {
        /// Whatever a step says about itself, repeating never gets more likely than the rules made it.
        #[test]
        fn hints_never_make_repeating_more_likely(
            kind in prop_oneof![Just("http"), Just("git-push"), Just("acme"), Just("fail")],
            message in prop_oneof![
                Just("step \"a\": HTTP (503) response met failure criteria".to_owned()),
                Just("step \"a\": failed: no".to_owned()),
                Just("step \"a\": merge conflict".to_owned()),
                "\\PC{0,40}",
            ],
            class in prop_oneof![
                Just(None), Just(Some(Class::Transient)), Just(Some(Class::Quota)), Just(Some(Class::Auth)),
                Just(Some(Class::UserAbort)), Just(Some(Class::Unknown)),
            ],
            retry in prop_oneof![
                Just(None), Just(Some(Retryability::Now)), Just(Some(Retryability::AfterDelay)),
                Just(Some(Retryability::Never)),
            ],
        ) {
            let promotion_failed = failed(kind, &message);
            let without = promotion(&promotion_failed, &[]);
            let with = promotion(&promotion_failed, &[StepHint { class, retry, ..StepHint::default() }]);
            prop_assert!(with.retryability >= without.retryability);
            prop_assert_eq!(with.effect, without.effect);
            prop_assert_eq!(with.fault_domain, without.fault_domain);
        }

        /// No text makes the rules fail, whatever it is.
        #[test]
        fn any_text_is_classified(message in "\\PC{0,200}", kind in "[a-z-]{0,12}") {
            let classification = text(Some(&kind), &message);
            prop_assert!(classification.text.len() <= MAX_TEXT_BYTES);
            prop_assert!(classification.confidence_percent <= 100);
        }
    }
}
