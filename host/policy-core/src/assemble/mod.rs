//! Builds the context of a failure out of snapshots, the incident and the rules.
//!
//! In: a [`World`]. Out: the [`Context`] that a guest gets, at most 64 KiB as JSON. Every text in it is redacted and
//! capped here, and only here; what is not known stays `None`. `docs/context.md` lists the keys of `extra`.

pub mod cut;
mod freight;
mod promotion;
mod stage;

use crate::context::{AttemptFacts, Budgets, Context, FailureFacts, IncidentFacts};
use crate::decision::ActionKind;
use crate::failure::{Classification, Failure, StepHint, Trigger};
use crate::guardrails::budget;
use crate::incident::{Attempt, Delivery, IncidentState};
use crate::name::FreightName;
use crate::rules::Rules;
use crate::settings::Settings;
use crate::snapshot::{
    AnalysisRunSnapshot, CollectionSnapshot, FreightSnapshot, ProjectSnapshot, PromotionSnapshot,
    StageSnapshot, VerificationSnapshot,
};
use crate::stage_memory::GoodCombination;
use crate::time::Timestamp;
use crate::{classify, hints, redact};

/// Longest message of a step, a Promotion or a verification, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 8 * 1024;
/// Longest captured output of a step, in bytes.
pub const MAX_OUTPUT_BYTES: usize = 16 * 1024;
/// Longest short text: names, labels, actors, values of `extra`, in bytes.
pub const MAX_SHORT_BYTES: usize = 512;

/// Every key of `extra` that this host writes, with the record that carries it. `docs/context.md` explains them.
pub const EXTRA_KEYS: &[(&str, &str)] = &[
    ("context", "root-trigger"),
    ("context", "root-failure"),
    ("context", "user-abort"),
    ("project", "enterprise-auto-rollback"),
    ("stage", "current-promotion"),
    ("stage", "last-promotion"),
    ("stage", "last-promotion-phase"),
    ("stage", "reverify-pending"),
    ("promotion", "abort-actor"),
    ("promotion", "hold-origin"),
    ("promotion", "resume-origin"),
    ("verification", "freight-collection"),
    ("freight", "soak-seconds"),
    ("freight", "approved"),
    ("freight", "current-since-unix-seconds"),
];

/// What is known when a policy is asked. `promotions` may hold those of other Stages; they are left out.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    /// The time of the decision.
    pub now: Timestamp,
    /// The only randomness that the policy and the backoff get.
    pub seed: [u32; 4],
    /// What is being handled; its trigger is `Timer` and the like for follow-ups.
    pub failure: &'a Failure,
    /// The Project.
    pub project: &'a ProjectSnapshot,
    /// The Stage.
    pub stage: &'a StageSnapshot,
    /// Promotions of the Stage, in any order.
    pub promotions: &'a [PromotionSnapshot],
    /// Freight of the Project.
    pub freight: &'a [FreightSnapshot],
    /// The AnalysisRun of the newest verification, when it could be read.
    pub analysis_run: Option<&'a AnalysisRunSnapshot>,
    /// What was good before the Stage's history begins.
    pub remembered: Option<&'a GoodCombination>,
    /// The incident so far.
    pub incident: &'a IncidentState,
    /// The rules in force.
    pub rules: &'a Rules,
    /// Settings of the chain entry that is asked.
    pub settings: &'a Settings,
    /// What that entry returned as state.
    pub state: Option<&'a str>,
    /// Deliveries to the Stage in the last 24 hours.
    pub deliveries: &'a [Delivery],
}

impl<'a> World<'a> {
    /// The Promotion that failed, or that delivered what failed.
    pub fn promotion(&self) -> Option<&'a PromotionSnapshot> {
        let name = self.failure.promotion.as_ref()?;
        self.promotions.iter().find(|promotion| promotion.name == *name && promotion.stage == self.stage.name)
    }

    /// The verification that failed; the newest one of what the Stage holds when no verification failed.
    pub fn verification(&self) -> Option<&'a VerificationSnapshot> {
        match &self.failure.verification {
            Some(id) => {
                let mut all = self.stage.history.iter().flat_map(|collection| &collection.verifications);
                all.find(|verification| verification.id == *id)
            }
            None => self.stage.history.first()?.verifications.first(),
        }
    }

    /// The Freight that failed: that of the Promotion, which the Stage remembers when it is gone; for a verification
    /// whose Promotion is not known, the only Freight that it judged. Never the current Freight of a Stage whose
    /// Promotion failed: that one is good.
    pub fn failing(&self) -> Option<FreightName> {
        if let Some(promotion) = self.promotion() {
            return Some(promotion.freight.clone());
        }
        let last = self.stage.last_promotion.as_ref();
        if let Some(last) = last.filter(|last| Some(&last.name) == self.failure.promotion.as_ref()) {
            return last.freight.clone();
        }
        let id = self.failure.verification.as_ref()?;
        let judged =
            |collection: &&CollectionSnapshot| collection.verifications.iter().any(|one| one.id == *id);
        let mut items = self.stage.history.iter().find(judged)?.items.values();
        match (items.next(), items.next()) {
            (Some(only), None) => Some(only.clone()),
            (Some(_), Some(_)) | (None, _) => None,
        }
    }
}

/// Builds the context. The same world gives the same context, byte for byte.
pub fn context(world: &World<'_>) -> Context {
    let heard = |promotion| hints::read_trusting(promotion, &world.rules.trust_envelopes);
    let hints = world.promotion().map(heard).unwrap_or_default();
    let mut context = Context {
        now_unix_seconds: world.now,
        seed: world.seed,
        failure: failure(world.failure),
        classification: classification(world, &hints),
        hints,
        incident: incident(world.incident),
        budgets: Budgets {
            retries_left: 0,
            rollbacks_left: 0,
            deliveries_left: 0,
            not_before_unix_seconds: None,
            expires_unix_seconds: None,
        },
        project: stage::project(world),
        stage: stage::stage(world),
        promotion: world.promotion().map(|snapshot| promotion::promotion(snapshot, world)),
        verification: world.verification().map(|snapshot| promotion::verification(snapshot, world)),
        freight: freight::facts(world),
        queue: promotion::queue(world),
        capabilities: capabilities(world.rules),
        mode: world.rules.mode,
        settings: world.settings.clone(),
        state: world.state.map(str::to_owned),
        truncated: Vec::new(),
        extra: extra(world),
    };
    context.budgets = budget::left(&context, world.rules, world.incident, world.deliveries);
    cut::to_limits(&mut context);
    cut::to_size(&mut context, cut::MAX_CONTEXT_BYTES);
    context
}

fn failure(failure: &Failure) -> FailureFacts {
    FailureFacts {
        id: failure.id.to_string(),
        trigger: failure.trigger,
        at_unix_seconds: failure.at,
        summary: redact::shown(&failure.summary, MAX_MESSAGE_BYTES),
    }
}

/// A failure of a verification is read from the AnalysisRun, every other one from the Promotion's steps.
fn classification(world: &World<'_>, hints: &[StepHint]) -> Classification {
    let handled = [world.failure.trigger, world.incident.current.trigger];
    let is_of_verification = world.failure.verification.is_some();
    let by_trigger =
        |trigger: Trigger| classify::ongoing(trigger, is_of_verification, world.stage, world.promotion());
    if let Some(read) = handled.into_iter().find_map(by_trigger) {
        return read;
    }
    match (is_of_verification, world.verification(), world.promotion()) {
        (true, Some(verification), _) => classify::verification(verification, world.analysis_run),
        (false, _, Some(promotion)) => classify::promotion(promotion, hints),
        (true, None, _) | (false, _, None) => Classification::unknown(),
    }
}

fn incident(incident: &IncidentState) -> IncidentFacts {
    IncidentFacts {
        id: incident.name.to_string(),
        opened_unix_seconds: incident.opened,
        retries: incident.n_attempts(&ActionKind::Retry),
        rollbacks: incident.n_attempts(&ActionKind::Rollback),
        attempts: incident.attempts.iter().rev().map(attempt).collect(),
        decisions: incident.decisions.iter().rev().cloned().collect(),
    }
}

fn attempt(attempt: &Attempt) -> AttemptFacts {
    AttemptFacts {
        number: attempt.number,
        kind: attempt.kind.clone(),
        promotion: attempt.promotion.as_ref().map(ToString::to_string),
        freight: attempt.freight.as_ref().map(ToString::to_string),
        at_unix_seconds: attempt.claimed,
        outcome: attempt.outcome.clone(),
    }
}

/// What this host can do and the rules allow, in the order of the rules.
fn capabilities(rules: &Rules) -> Vec<ActionKind> {
    rules.actions.iter().filter(|kind| kind.is_supported()).cloned().collect()
}

fn extra(world: &World<'_>) -> Vec<(String, String)> {
    let root = &world.incident.root;
    let mut extra = Vec::new();
    if root.id != world.failure.id || root.trigger != world.failure.trigger {
        extra.push(fact("root-trigger", &crate::explain::word(&root.trigger)));
        extra.push(fact("root-failure", root.id.as_str()));
    }
    if let Some(abort) = &world.failure.user_abort {
        extra.push(fact("user-abort", abort.actor.as_deref().unwrap_or_default()));
    }
    extra
}

/// A fact for `extra`, redacted and capped.
fn fact(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), redact::shown(value, MAX_SHORT_BYTES))
}

/// A short text, redacted and capped.
fn short(text: &str) -> String {
    redact::shown(text, MAX_SHORT_BYTES)
}
