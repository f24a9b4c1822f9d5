//! Rules on Kargo's own words: one row per text, with the place in Kargo's source that writes it.
//!
//! In: the kind of step and its unwrapped message. Out: the first row that matches. Ids are those of
//! failure-strategies.md 4.4, corrected by kargo-step-failures.md; letters after an id tell variants apart.
//! Patterns are anchored where Kargo's own words come first, so that what a server says cannot pass for them.
//! Texts are those of Kargo v1.11.2.

mod git;
mod steps;

use std::sync::LazyLock;

use regex::Regex;

use super::unwrap::Unwrapped;
use crate::failure::{Class, Effect, FaultDomain, Retryability};

/// One text and what it means.
#[derive(Debug)]
pub struct Rule {
    /// Its name in records.
    pub id: &'static str,
    /// Where Kargo writes the text; `-` for texts of libraries that Kargo passes on without words of its own.
    pub source: &'static str,
    /// Step kinds that it applies to; empty means all.
    pub kinds: &'static [&'static str],
    /// How often Kargo must have tried the step.
    pub repeated: Repeated,
    /// What the unwrapped message looks like.
    pub pattern: &'static str,
    /// What it means.
    pub reading: Reading,
    /// What the text itself says about changes outside; `Unknown` when it says nothing.
    pub effect: Effect,
}

/// How often Kargo tried the step, for texts that mean something else the second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeated {
    /// Does not matter.
    Any,
    /// More than once: the first cause is hidden by what it left behind.
    Several,
}

/// What a row says.
#[derive(Clone, Copy, Debug)]
pub enum Reading {
    /// This.
    Is(Verdict),
    /// What the generic rules say about the rest of the text; this if they say nothing.
    Nested(Verdict),
}

/// Class, retryability, fault domain, and how sure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What kind of failure.
    pub class: Class,
    /// Whether repeating may help.
    pub retry: Retryability,
    /// Who or what is to blame.
    pub fault: FaultDomain,
    /// 0 to 100.
    pub confidence: u8,
}

const fn verdict(class: Class, retry: Retryability, fault: FaultDomain, confidence: u8) -> Verdict {
    Verdict { class, retry, fault, confidence }
}

const CONFIG: Verdict = verdict(Class::Config, Retryability::NeedsChange, FaultDomain::Configuration, 90);
const AUTH: Verdict = verdict(Class::Auth, Retryability::NeedsChange, FaultDomain::Configuration, 90);
const CAPABILITY: Verdict = verdict(Class::Capability, Retryability::NeedsChange, FaultDomain::Platform, 95);
const ARTIFACT: Verdict = verdict(Class::Artifact, Retryability::Never, FaultDomain::Freight, 80);
const NO_ARTIFACT: Verdict = verdict(Class::NotFound, Retryability::NeedsChange, FaultDomain::Freight, 85);
const NOT_FOUND: Verdict =
    verdict(Class::NotFound, Retryability::NeedsChange, FaultDomain::Configuration, 85);
const TRANSIENT: Verdict = verdict(Class::Transient, Retryability::AfterDelay, FaultDomain::Environment, 80);
const PLATFORM: Verdict = verdict(Class::Transient, Retryability::AfterDelay, FaultDomain::Platform, 80);
const QUOTA: Verdict = verdict(Class::Quota, Retryability::AfterDelay, FaultDomain::Environment, 80);
const DENIED: Verdict =
    verdict(Class::PolicyDenied, Retryability::NeedsChange, FaultDomain::Configuration, 85);
const REJECTED: Verdict = verdict(Class::HumanRejected, Retryability::Never, FaultDomain::Human, 95);
const CONFLICT: Verdict = verdict(Class::Conflict, Retryability::WholeOnly, FaultDomain::Environment, 80);
const MERGE: Verdict = verdict(Class::MergeConflict, Retryability::WholeOnly, FaultDomain::Environment, 85);
const DUPLICATE: Verdict =
    verdict(Class::Conflict, Retryability::NeedsChange, FaultDomain::Configuration, 85);
/// The text says where it happened and no more.
const UNKNOWN: Verdict = verdict(Class::Unknown, Retryability::Unknown, FaultDomain::Unknown, 20);

const fn is(id: &'static str, source: &'static str, pattern: &'static str, verdict: Verdict) -> Rule {
    Rule {
        id,
        source,
        kinds: &[],
        repeated: Repeated::Any,
        pattern,
        reading: Reading::Is(verdict),
        effect: Effect::Unknown,
    }
}

const fn nested(id: &'static str, source: &'static str, pattern: &'static str, otherwise: Verdict) -> Rule {
    Rule { reading: Reading::Nested(otherwise), ..is(id, source, pattern, otherwise) }
}

impl Rule {
    const fn of(self, kinds: &'static [&'static str]) -> Self {
        Self { kinds, ..self }
    }

    const fn when_repeated(self) -> Self {
        Self { repeated: Repeated::Several, ..self }
    }

    const fn with_effect(self, effect: Effect) -> Self {
        Self { effect, ..self }
    }
}

/// Texts of the engine itself and of `fail`, before any other row.
static ENGINE: &[Rule] = &[
    is(
        "X1",
        "pkg/promotion/runner/builtin/failer.go:56",
        r"\Afailed(: |\z)",
        verdict(Class::PolicyDenied, Retryability::Never, FaultDomain::Configuration, 70),
    )
    .of(&["fail"]),
    is(
        "C1",
        "pkg/promotion/runner/builtin/validation.go:30",
        r"\A(invalid \S+ config: |could not validate \S+ config|could not convert config into )",
        CONFIG,
    ),
    is("C2", "pkg/promotion/runner/builtin/git_cloner.go:93", r"\Aduplicate checkout alias ", CONFIG),
    is("E1", "pkg/promotion/local_orchestrator.go:133", r#"\Astep kind ".*?" is not registered"#, CAPABILITY),
    is(
        "E3a",
        "pkg/promotion/evaluator.go:183",
        r"(?s)\A(failed to build step context: |error checking if step ).*(connection refused|i/o timeout|etcdserver|Internal error occurred|context deadline exceeded)",
        PLATFORM,
    ),
    is(
        "E2",
        "pkg/promotion/local_orchestrator.go:112",
        r#"\Aerror checking if step ".*?" should be skipped: "#,
        CONFIG,
    ),
    is(
        "E3",
        "pkg/promotion/local_orchestrator.go:153",
        r"\A(failed to build step context: |error pre-processing promotion variable )",
        CONFIG,
    ),
    is(
        "E4h",
        "pkg/promotion/local_orchestrator.go:327",
        r#"\Astep ".*?" timed out after "#,
        verdict(Class::HumanTimeout, Retryability::WholeOnly, FaultDomain::Human, 75),
    )
    .of(&["git-wait-for-pr", "git-merge-pr"]),
    is(
        "A8",
        "pkg/promotion/local_orchestrator.go:327",
        r#"\Astep ".*?" timed out after "#,
        verdict(Class::Timeout, Retryability::AfterDelay, FaultDomain::Unknown, 60),
    )
    .of(&["argocd-update", "argocd-wait"]),
    is(
        "E4",
        "pkg/promotion/local_orchestrator.go:327",
        r#"\Astep ".*?" timed out after "#,
        verdict(Class::Timeout, Retryability::AfterDelay, FaultDomain::Unknown, 80),
    ),
    is(
        "E5",
        "pkg/promotion/local_orchestrator.go:82",
        r#"\A(execution canceled: |step ".*?" was canceled due to context cancellation)"#,
        verdict(Class::Transient, Retryability::Now, FaultDomain::Platform, 85),
    ),
    is(
        "E6a",
        "pkg/promotion/local_executor.go:80",
        r"\Astep panicked: runtime error: index out of range",
        CONFIG,
    )
    .of(&["yaml-update", "json-update", "toml-update"]),
    is(
        "E6",
        "pkg/promotion/local_executor.go:80",
        r"\Astep panicked: ",
        verdict(Class::Internal, Retryability::Never, FaultDomain::Platform, 85),
    ),
    is(
        "E7",
        "pkg/promotion/local_orchestrator.go:170",
        r"returned an invalid status|errored: no details provided",
        verdict(Class::Internal, Retryability::AfterDelay, FaultDomain::Unknown, 50),
    ),
    is(
        "E9",
        "pkg/controller/promotions/promotions.go:562",
        r#"\AFreight ".*?" not found in namespace "#,
        verdict(Class::NotFound, Retryability::Never, FaultDomain::Human, 95),
    ),
    is(
        "E10",
        "pkg/controller/promotions/promotions.go:570",
        r#"\AFreight ".*?" is not available to (this )?Stage"#,
        verdict(Class::PolicyDenied, Retryability::NeedsChange, FaultDomain::Configuration, 95),
    ),
    is(
        "E11",
        "pkg/controller/promotions/promotions.go:617",
        r"\Aerror creating working directory: ",
        PLATFORM,
    ),
    is(
        "E13",
        "pkg/controller/promotions/promotions.go:459",
        r"\Aerror updating status: ",
        verdict(Class::Internal, Retryability::NeedsChange, FaultDomain::Platform, 80),
    ),
    is(
        "E14",
        "pkg/controller/promotions/promotions.go:358",
        r"\A(error finding Stage|could not find Stage )",
        NOT_FOUND,
    ),
    is(
        "E15",
        "pkg/webhook/kubernetes/promotion/webhook.go:782",
        r"is not permitted to (create|update|delete) Promotions? for Stage",
        verdict(Class::Auth, Retryability::Never, FaultDomain::Configuration, 95),
    ),
];

/// Every row in the order in which they are tried.
pub fn all() -> impl Iterator<Item = &'static Rule> {
    ENGINE.iter().chain(git::RULES).chain(steps::RULES)
}

static PATTERNS: LazyLock<Vec<(Option<Regex>, &'static Rule)>> =
    LazyLock::new(|| all().map(|rule| (Regex::new(rule.pattern).ok(), rule)).collect());

/// The first row that matches.
pub(super) fn find(step_kind: Option<&str>, message: &Unwrapped<'_>) -> Option<&'static Rule> {
    let mut rows = PATTERNS.iter();
    let matches = |rule: &Rule, pattern: &Option<Regex>| {
        let of_kind = rule.kinds.is_empty() || step_kind.is_some_and(|kind| rule.kinds.contains(&kind));
        let often_enough = match rule.repeated {
            Repeated::Any => true,
            Repeated::Several => message.attempts.is_some_and(|attempts| attempts > 1),
        };
        of_kind && often_enough && pattern.as_ref().is_some_and(|pattern| pattern.is_match(message.text))
    };
    rows.find(|(pattern, rule)| matches(rule, pattern)).map(|(_, rule)| *rule)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_pattern_compiles_and_every_id_is_used_once() {
        let mut ids = BTreeSet::new();
        for (pattern, rule) in PATTERNS.iter() {
            assert!(pattern.is_some(), "{}", rule.id);
            assert!(ids.insert(rule.id), "{} twice", rule.id);
            assert!(!rule.source.is_empty(), "{}", rule.id);
        }
    }
}
