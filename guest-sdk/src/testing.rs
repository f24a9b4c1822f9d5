//! Contexts for unit tests on the machine you write on; not part of a component.
//!
//! In: what a test changes. Out: the context of a usual failure: in Stage `prod` of Project `shop`, the Promotion of
//! Freight `f9` errored in its `push` step with a 502, and `f8` was good before.
//!
//! ```
//! use refloat_policy::{Class, Trigger, testing};
//!
//! let mut context = testing::context();
//! context.failure.trigger = Trigger::VerificationFailed;
//! context.classification.class = Class::VerificationFailed;
//! context.settings = testing::settings([("/max", 3)]);
//! ```

use crate::{
    ActionKind, ActorKind, Budgets, Class, Classification, Context, Effect, Failure, FaultDomain, Freight,
    FreightFacts, Health, Incident, Metric, MetricCounts, Mode, Project, Promotion, Retryability,
    RollbackTarget, Scalar, Settings, Stage, Step, StepHint, Trigger, Verification,
};

/// When [`context`] is asked: 2026-01-01T12:00:00Z.
pub const NOW_UNIX_SECONDS: u32 = 1_767_268_800;

/// A Promotion that errored for a transient reason, first time, full budgets, every action possible.
///
/// ```
/// let context = refloat_policy::testing::context();
/// assert_eq!(context.incident.retries, 0);
/// ```
#[allow(clippy::too_many_lines, reason = "one field per line: a list, not logic")]
pub fn context() -> Context {
    Context {
        now_unix_seconds: NOW_UNIX_SECONDS,
        seed: (1, 2, 3, 4),
        failure: Failure {
            id: "failure-1".to_owned(),
            trigger: Trigger::PromotionErrored,
            at_unix_seconds: NOW_UNIX_SECONDS - 5,
            summary: "step `push` errored: RPC failed; HTTP 502".to_owned(),
        },
        classification: Classification {
            class: Class::Transient,
            retryability: Retryability::AfterDelay,
            fault_domain: FaultDomain::Environment,
            effect: Effect::Partial,
            confidence_percent: 90,
            rule: "G2".to_owned(),
            step: Some("push".to_owned()),
            text: "RPC failed; HTTP 502".to_owned(),
        },
        hints: Vec::new(),
        incident: Incident {
            id: "prod-0123456789".to_owned(),
            opened_unix_seconds: NOW_UNIX_SECONDS - 5,
            retries: 0,
            rollbacks: 0,
            attempts: Vec::new(),
            decisions: Vec::new(),
        },
        budgets: Budgets {
            retries_left: 3,
            rollbacks_left: 1,
            deliveries_left: 6,
            not_before_unix_seconds: None,
            expires_unix_seconds: None,
        },
        project: Project { name: "shop".to_owned(), labels: Vec::new(), extra: Vec::new() },
        stage: stage(),
        promotion: Some(promotion()),
        verification: None,
        freight: FreightFacts {
            failing: Some(freight("f9", 2_000)),
            current: vec![freight("f8", 1_000)],
            history: Vec::new(),
            targets: vec![target("f8")],
            candidates: Vec::new(),
        },
        queue: Vec::new(),
        capabilities: vec![
            ActionKind::Retry,
            ActionKind::Rollback,
            ActionKind::Wait,
            ActionKind::Notify,
            ActionKind::EmitEvent,
            ActionKind::Accept,
            ActionKind::Escalate,
            ActionKind::HandOff,
            ActionKind::Record,
        ],
        mode: Mode::Enforce,
        settings: settings::<i32>([]),
        state: None,
        truncated: Vec::new(),
        extra: Vec::new(),
    }
}

/// Settings with these leaves. Their JSON text is left empty.
///
/// ```
/// use refloat_policy::{Scalar, testing};
///
/// let settings = testing::settings([("/max", Scalar::from(3)), ("/give-up", Scalar::from("notify"))]);
/// assert_eq!(settings.integer("/max"), Ok(3));
/// ```
pub fn settings<S: Into<Scalar>>(leaves: impl IntoIterator<Item = (&'static str, S)>) -> Settings {
    let values = leaves.into_iter().map(|(path, value)| (path.to_owned(), value.into())).collect();
    Settings { values, json: String::new() }
}

/// The Stage of [`context`].
///
/// ```
/// assert_eq!(refloat_policy::testing::stage().name, "prod");
/// ```
pub fn stage() -> Stage {
    Stage {
        name: "prod".to_owned(),
        labels: Vec::new(),
        shard: None,
        origins: vec!["Warehouse/app".to_owned()],
        health: Health::Unknown,
        auto_promotion: Some(true),
        holds: Vec::new(),
        upstream: vec!["test".to_owned()],
        verifies: true,
        extra: Vec::new(),
    }
}

/// The Promotion of [`context`].
///
/// ```
/// assert_eq!(refloat_policy::testing::promotion().phase, "Errored");
/// ```
pub fn promotion() -> Promotion {
    Promotion {
        name: "prod.01j.f9".to_owned(),
        freight: "f9".to_owned(),
        phase: "Errored".to_owned(),
        message: "step `push` errored: RPC failed; HTTP 502".to_owned(),
        actor_kind: ActorKind::Kargo,
        actor: None,
        is_rollback: false,
        created_unix_seconds: Some(NOW_UNIX_SECONDS - 60),
        started_unix_seconds: Some(NOW_UNIX_SECONDS - 50),
        finished_unix_seconds: Some(NOW_UNIX_SECONDS - 5),
        steps: vec![step(0, "clone", "git-clone", "Succeeded"), step(1, "push", "git-push", "Errored")],
        template_changed: Some(false),
        extra: Vec::new(),
    }
}

/// A step that ended.
///
/// ```
/// let step = refloat_policy::testing::step(0, "clone", "git-clone", "Succeeded");
/// assert_eq!(step.alias, "clone");
/// ```
pub fn step(index: u32, alias: &str, kind: &str, status: &str) -> Step {
    Step {
        index,
        alias: alias.to_owned(),
        kind: kind.to_owned(),
        status: Some(status.to_owned()),
        message: String::new(),
        error_count: u32::from(status == "Errored"),
        continue_on_error: false,
        mutates: None,
        started_unix_seconds: None,
        finished_unix_seconds: None,
        output: None,
        extra: Vec::new(),
    }
}

/// A hint of a step that says nothing yet.
///
/// ```
/// assert_eq!(refloat_policy::testing::hint("push").retry, None);
/// ```
pub fn hint(step: &str) -> StepHint {
    StepHint {
        step: step.to_owned(),
        channel: "envelope".to_owned(),
        class: None,
        retry: None,
        retry_after_seconds: None,
        max_attempts: None,
        reason: None,
        scope_key: None,
        extra: Vec::new(),
    }
}

/// A piece of Freight of `Warehouse/app`; it is its own alias.
///
/// ```
/// assert_eq!(refloat_policy::testing::freight("f9", 2_000).alias.as_deref(), Some("f9"));
/// ```
pub fn freight(name: &str, discovered_unix_seconds: u32) -> Freight {
    Freight {
        name: name.to_owned(),
        alias: Some(name.to_owned()),
        origin: "Warehouse/app".to_owned(),
        discovered_unix_seconds: Some(discovered_unix_seconds),
        artifacts: Vec::new(),
        extra: Vec::new(),
    }
}

/// A rollback target that exists and is available.
///
/// ```
/// assert_eq!(refloat_policy::testing::target("f8").available, Some(true));
/// ```
pub fn target(freight: &str) -> RollbackTarget {
    RollbackTarget {
        origin: "Warehouse/app".to_owned(),
        freight: Some(freight.to_owned()),
        because: "its newest verification was Successful".to_owned(),
        exists: Some(true),
        available: Some(true),
    }
}

/// A verification that ended in `phase`, with its metrics as name and phase.
///
/// ```
/// let verification = refloat_policy::testing::verification("Failed", &[("error-rate", "Failed")]);
/// assert_eq!(verification.metrics.len(), 1);
/// ```
pub fn verification(phase: &str, metrics: &[(&str, &str)]) -> Verification {
    let metric = |(name, phase): &(&str, &str)| Metric {
        name: (*name).to_owned(),
        phase: (*phase).to_owned(),
        message: String::new(),
        counts: MetricCounts { total: 1, successful: 0, failed: 1, inconclusive: 0, error: 0 },
        dry_run: false,
        measurements: Vec::new(),
        extra: Vec::new(),
    };
    Verification {
        id: "verification-1".to_owned(),
        phase: phase.to_owned(),
        message: String::new(),
        actor: None,
        analysis_run: Some("prod.01j.f9".to_owned()),
        reused: false,
        started_unix_seconds: Some(NOW_UNIX_SECONDS - 50),
        finished_unix_seconds: Some(NOW_UNIX_SECONDS - 5),
        metrics: metrics.iter().map(metric).collect(),
        extra: Vec::new(),
    }
}

/// The lines that this thread wrote to the log since the last call, each after its level.
///
/// ```
/// refloat_policy::log::info("one");
/// assert_eq!(refloat_policy::testing::log_lines(), ["info: one"]);
/// assert!(refloat_policy::testing::log_lines().is_empty());
/// ```
pub fn log_lines() -> Vec<String> {
    crate::log::sink::take()
}
