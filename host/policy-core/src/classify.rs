//! What kind of failure it is, whether repeating may help, who is to blame, and what has been changed already.
//!
//! In: a terminal Promotion with its hints, or a verification with its AnalysisRun. Out: a [`Classification`] that
//! names the row that decided. Rows are data ([`catalogue`]); Kargo's own Failed and Errored are not used, because
//! neither says whether a failure is permanent. What no row knows is `unknown`, never a guess.

pub mod catalogue;
mod effect;
mod ongoing;
pub mod unwrap;
mod verification;

use crate::detect::first_failed_step;
use crate::failure::{Class, Classification, Effect, FaultDomain, Retryability, StepHint};
use crate::snapshot::{PromotionPhase, PromotionSnapshot, StepSnapshot};
use crate::{hints, redact};

use catalogue::{Catalogue, Found, Verdict, fault_of, retryability_of};

pub use ongoing::ongoing;
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
/// one may come from a clean-up. Without such a step the Promotion's message decides. Of a Promotion that Succeeded, the
/// tolerated step is read. Hints make the answer stricter, never milder.
pub fn promotion(promotion: &PromotionSnapshot, hints: &[StepHint]) -> Classification {
    promotion_by(Catalogue::built_in(), promotion, hints)
}

/// [`promotion`] by another catalogue than the built-in one.
pub fn promotion_by(
    catalogue: &Catalogue,
    promotion: &PromotionSnapshot,
    hints: &[StepHint],
) -> Classification {
    if promotion.phase == Some(PromotionPhase::Aborted) {
        return found("E12", user_abort(), &promotion.message, effect::of(promotion, None));
    }
    let failed = first_failed_step(promotion);
    if !promotion.is_terminal() {
        return Classification { step: failed.map(|step| step.alias.clone()), ..stalled(promotion) };
    }
    if promotion.phase == Some(PromotionPhase::Succeeded)
        && let Some(tolerated) = ongoing::tolerated(catalogue, promotion)
    {
        return tolerated;
    }
    let mut classification = match failed {
        Some(step) => of_step(catalogue, promotion, step),
        None => Classification {
            effect: effect::of(promotion, None),
            ..text_by(catalogue, None, &promotion.message)
        },
    };
    let kind = failed.map(|step| step.kind.as_str());
    // The most trusted one that names a class is believed; all of them make repeating less likely.
    let believed = hints.iter().position(|hint| hint.class.is_some());
    for (at, hint) in hints.iter().enumerate() {
        narrow(&mut classification, hint, kind, believed == Some(at));
    }
    classification
}

fn of_step(catalogue: &Catalogue, promotion: &PromotionSnapshot, step: &StepSnapshot) -> Classification {
    let mut classification = text_by(catalogue, Some(&step.kind), &step.message);
    let by_rule = classification.effect;
    let by_steps = effect::of(promotion, Some((step, classification.class)));
    classification.effect = if by_rule == Effect::Unknown { by_steps } else { by_rule };
    classification.step = Some(step.alias.clone());
    classification
}

/// Classifies one message, as a step or a Promotion carries it, by text alone. `effect` is `unknown` unless the text
/// itself tells.
pub fn text(step_kind: Option<&str>, message: &str) -> Classification {
    text_by(Catalogue::built_in(), step_kind, message)
}

/// [`text`] by another catalogue than the built-in one.
pub fn text_by(catalogue: &Catalogue, step_kind: Option<&str>, message: &str) -> Classification {
    let whole = redact::text(message);
    let cut = ends(&whole);
    let unwrapped = unwrap::step_message(&cut);
    let Some(Found { rule, verdict, effect }) = catalogue.find(step_kind, &unwrapped) else {
        return Classification { text: kept(unwrapped.text), ..Classification::unknown() };
    };
    let (rule, verdict) = own_word(&rule, message).unwrap_or((rule, verdict));
    found(&rule, verdict, unwrapped.text, effect)
}

/// The step kind under which the catalogue has what Kargo says about a Stage's health.
const HEALTH: &str = "stage-health";

/// Classifies what Kargo says about the health of a Stage whose last Promotion succeeded. The Freight is deployed by
/// then, so the effect is complete.
fn health(catalogue: &Catalogue, issue: &str) -> Classification {
    Classification { effect: Effect::Complete, ..text_by(catalogue, Some(HEALTH), issue) }
}

/// A `fail` step says no more than its message, so an envelope in it is what the row says, not a hint about it: the author
/// of the template failed it on purpose, and says what for. It never says "at once".
fn own_word(rule: &str, message: &str) -> Option<(String, Verdict)> {
    if rule != "X1" {
        return None;
    }
    let hint = hints::in_message("fail", message)?;
    let class = hint.class?;
    let verdict = Verdict {
        class,
        retry: hint.retry.unwrap_or_else(|| retryability_of(class)).max(Retryability::AfterDelay),
        fault: fault_of(class),
        confidence: 75,
    };
    Some(("X1h".to_owned(), verdict))
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
/// do not know the step, and only when it is the one that is believed.
fn narrow(classification: &mut Classification, hint: &StepHint, kind: Option<&str>, is_believed: bool) {
    if let Some(retry) = hint.retry {
        classification.retryability = classification.retryability.max(retry);
    }
    for (key, value) in &hint.extra {
        match key.as_str() {
            "fault" => clear_freight(classification, value),
            "effect" => classification.effect = more_of(classification.effect, value),
            "idempotent" if value == "false" => {
                classification.retryability = classification.retryability.max(Retryability::NeedsChange);
            }
            _ => {}
        }
    }
    let is_unknown_kind = kind.is_some_and(|kind| !unwrap::is_built_in(kind));
    if let Some(class) = hint.class
        && (classification.confidence_percent < SURE || is_unknown_kind)
        && class != classification.class
        && !widens(classification.class, class)
    {
        // The step's word for the class never makes repeating more likely than the rules do.
        let implied = retryability_of(class);
        if implied >= Retryability::NeedsChange {
            classification.retryability = classification.retryability.max(implied);
        }
        if is_believed {
            classification.class = class;
            classification.rule = format!("{}+hint", classification.rule);
        }
    }
}

/// Whether a class would let policies repeat that they would not have repeated: they go by classes, so that would be more
/// than a hint may do. It reaches them as a hint all the same.
fn widens(known: Class, said: Class) -> bool {
    retryability_of(said) < Retryability::Unknown && retryability_of(known) >= Retryability::Unknown
}

/// A step may take the blame off the Freight, which forbids a rollback. It cannot put it there: that would be a reason
/// for one.
fn clear_freight(classification: &mut Classification, said: &str) {
    let is_open = matches!(classification.fault_domain, FaultDomain::Freight | FaultDomain::Unknown);
    let said = hints::fault(said).filter(|fault| *fault != FaultDomain::Freight);
    if let Some(fault) = said.filter(|_| is_open) {
        classification.fault_domain = fault;
    }
}

/// A step knows what it had changed; that nothing was, is for the steps before it to say.
fn more_of(known: Effect, said: &str) -> Effect {
    match (known, hints::effect(said)) {
        (Effect::None | Effect::Unknown, Some(said @ (Effect::Partial | Effect::Complete))) => said,
        (known, _) => known,
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

        /// Whatever networks and limits are named, what tells of tests, people or half a change is never repeated.
        #[test]
        fn results_are_never_passing_faults(
            kind in prop_oneof![Just("http"), Just("argocd-update"), Just("acme-x")],
            result in prop_oneof![
                Just("3 tests failed"), Just("smoke tests failed"), Just("the approval timed out after 24h"),
                Just("migration 42 partially applied"), Just("7 of 12 targets failed"),
                Just("Rollout \"web\" is Degraded"), Just("not caused by a fault"), Just("no rate limit exceeded"),
            ],
            between in prop_oneof![Just(": "), Just(", "), Just("; "), Just("\n")],
            fault in prop_oneof![
                Just("connection reset by peer"), Just("timed out"), Just("connection refused"), Just("rate limit exceeded"),
                Just("context deadline exceeded"), Just("service unavailable"), Just("i/o timeout"),
            ],
        ) {
            let read = text(Some(kind), &format!("{result}{between}{fault}"));
            let is_repeated = matches!(read.class, Class::Transient | Class::Timeout | Class::Quota | Class::Conflict);
            prop_assert!(!is_repeated, "{:?} by {}", read.class, read.rule);
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
