//! Builds the context of a failure out of snapshots, the incident and the rules.
//!
//! In: a [`World`]. Out: the [`Context`] that a guest gets, at most as large as the rules say. Every text in it is
//! redacted and capped here, and only here; what is not known stays `None`. `docs/context.md` lists the keys of `extra`.

pub mod cut;
mod difference;
mod drift;
mod freight;
mod keys;
mod neighbours;
mod promotion;
mod stage;

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::classify::catalogue::Catalogue;
use crate::context::{AttemptFacts, Budgets, Context, FailureFacts, IncidentFacts};
use crate::decision::ActionKind;
use crate::failure::{Classification, Failure, StepHint, Trigger};
use crate::fleet::{self, FleetSignals};
use crate::guardrails::budget;
use crate::hints::Places;
use crate::incident::{Attempt, Delivery, IncidentState};
use crate::name::FreightName;
use crate::rules::Rules;
use crate::settings::Settings;
use crate::snapshot::{
    AnalysisRunSnapshot, ApplicationRef, ApplicationSnapshot, CollectionSnapshot, ProjectFreight,
    ProjectSnapshot, PromotionSnapshot, StageSnapshot, VerificationSnapshot,
};
use crate::stage_memory::GoodCombination;
use crate::time::Timestamp;
use crate::{classify, hints, redact};

pub use keys::EXTRA_KEYS;
pub use neighbours::is_neighbour;

/// Longest message of a step, a Promotion or a verification, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 8 * 1024;
/// Longest captured output of a step, in bytes.
pub const MAX_OUTPUT_BYTES: usize = 16 * 1024;
/// Longest name or id, in bytes: Kubernetes allows 253, Kargo's key of an origin puts its kind before that.
pub const MAX_NAME_BYTES: usize = 320;
/// Longest short text: names, labels, actors, values of `extra`, in bytes.
pub const MAX_SHORT_BYTES: usize = 512;

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
    pub freight: &'a ProjectFreight,
    /// Stages that the Stage gets Freight from or gives it to, see [`is_neighbour`]; others are left out.
    pub neighbours: &'a [Arc<StageSnapshot>],
    /// What fails elsewhere, when somebody looks.
    pub fleet: Option<&'a FleetSignals>,
    /// The AnalysisRun of the newest verification, when it could be read.
    pub analysis_run: Option<&'a AnalysisRunSnapshot>,
    /// Argo CD Applications that the Stage may change, when somebody looks.
    pub applications: &'a [ApplicationSnapshot],
    /// What was good before the Stage's history begins.
    pub remembered: Option<&'a GoodCombination>,
    /// The incident so far.
    pub incident: &'a IncidentState,
    /// What failures mean.
    pub catalogue: &'a Catalogue,
    /// The rules in force.
    pub rules: &'a Rules,
    /// Settings of the chain entry that is asked.
    pub settings: &'a Settings,
    /// What that entry returned as state.
    pub state: Option<&'a str>,
    /// Deliveries to the Stage in the last 24 hours.
    pub deliveries: &'a [Delivery],
}

/// Argo CD Applications in a context at most; each is a read of the API server.
pub const MAX_APPLICATIONS: usize = 8;

/// The Argo CD Applications that the failed Promotion names and those that the last good one changed, at most
/// [`MAX_APPLICATIONS`]; `argocd` is the namespace of those that name none.
pub fn application_refs(
    stage: &StageSnapshot,
    promotion: Option<&PromotionSnapshot>,
    argocd: &str,
) -> Vec<ApplicationRef> {
    let named =
        promotion.into_iter().flat_map(|promotion| &promotion.steps).flat_map(|step| &step.applications);
    let mut refs: Vec<ApplicationRef> = Vec::new();
    for one in named.chain(&stage.applications) {
        let namespace = if one.namespace.is_empty() { argocd } else { &one.namespace };
        let one = ApplicationRef { namespace: namespace.to_owned(), name: one.name.clone() };
        if refs.len() < MAX_APPLICATIONS && !refs.contains(&one) {
            refs.push(one);
        }
    }
    refs
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

/// Four numbers from the incident and the number of its decisions: the same in every process, different every time.
pub fn seed(incident: &IncidentState) -> [u32; 4] {
    let digest = Sha256::digest(format!("{}/{}", incident.root.id, incident.n_decisions));
    let mut words = digest
        .chunks_exact(4)
        .map(|chunk| chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)));
    std::array::from_fn(|_| words.next().unwrap_or_default())
}

/// Builds the context. The same world gives the same context, byte for byte.
pub fn context(world: &World<'_>) -> Context {
    let stages = std::slice::from_ref(world.stage);
    let heard = |promotion| {
        let places = Places::among(promotion, stages, world.freight, &world.rules.trust_envelopes);
        hints::examine(&places).accepted
    };
    let hints: Vec<StepHint> = world.promotion().map(heard).unwrap_or_default();
    let classification = classification(world, &hints);
    let targets = freight::targets(world);
    let extra = extra(world, &classification);
    let mut context = Context {
        now_unix_seconds: world.now,
        seed: world.seed,
        failure: failure(world.failure),
        classification,
        hints: hints.into_iter().map(hint).collect(),
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
        promotion: world.promotion().map(|snapshot| promotion::promotion(snapshot, world, &targets)),
        verification: world.verification().map(|snapshot| promotion::verification(snapshot, world)),
        freight: freight::facts(world, targets),
        queue: promotion::queue(world),
        capabilities: capabilities(world.rules),
        mode: world.rules.mode,
        settings: world.settings.clone(),
        state: world.state.map(str::to_owned),
        truncated: Vec::new(),
        extra,
    };
    context.budgets = budget::left(&context, world.rules, world.incident, world.deliveries);
    cut::to_limits(&mut context);
    let max_bytes = world.rules.context_bytes.clamp(Rules::MIN_CONTEXT_BYTES, Rules::MAX_CONTEXT_BYTES);
    cut::to_size(&mut context, usize::try_from(max_bytes).unwrap_or(usize::MAX));
    context
}

fn failure(failure: &Failure) -> FailureFacts {
    FailureFacts {
        id: name(failure.id.as_str()),
        trigger: failure.trigger,
        at_unix_seconds: failure.at,
        summary: redact::shown(&failure.summary, MAX_MESSAGE_BYTES),
    }
}

/// A failure of a verification is read from the AnalysisRun, every other one from the Promotion's steps.
fn classification(world: &World<'_>, hints: &[StepHint]) -> Classification {
    let handled = [world.failure.trigger, world.incident.current.trigger];
    let is_of_verification = world.failure.verification.is_some();
    let catalogue = world.catalogue;
    let by_trigger = |trigger: Trigger| {
        classify::ongoing(catalogue, trigger, is_of_verification, world.stage, world.promotion())
    };
    if let Some(read) = handled.into_iter().find_map(by_trigger) {
        return read;
    }
    let read = match (is_of_verification, world.verification(), world.promotion()) {
        (true, Some(verification), _) => classify::verification(catalogue, verification, world.analysis_run),
        (false, _, Some(promotion)) => classify::promotion_by(catalogue, promotion, hints),
        (true, None, _) | (false, _, None) => Classification::unknown(),
    };
    Classification { step: read.step.as_deref().map(short), ..read }
}

/// A hint as it was heard; only the name of its step was not capped yet.
fn hint(hint: StepHint) -> StepHint {
    StepHint { step: short(&hint.step), ..hint }
}

fn incident(incident: &IncidentState) -> IncidentFacts {
    IncidentFacts {
        id: name(incident.name.as_str()),
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
        promotion: attempt.promotion.as_ref().map(|one| name(one.as_str())),
        freight: attempt.freight.as_ref().map(|one| name(one.as_str())),
        at_unix_seconds: attempt.claimed,
        outcome: attempt.outcome.clone(),
    }
}

/// What this host can do and the rules allow, in the order of the rules.
fn capabilities(rules: &Rules) -> Vec<ActionKind> {
    rules.actions.iter().filter(|kind| kind.is_supported()).cloned().collect()
}

fn extra(world: &World<'_>, classification: &Classification) -> Vec<(String, String)> {
    let root = &world.incident.root;
    let mut extra = vec![fact("rules", &world.catalogue.version())];
    if root.id != world.failure.id || root.trigger != world.failure.trigger {
        extra.push(fact("root-trigger", &crate::explain::word(&root.trigger)));
        extra.push(fact("root-failure", root.id.as_str()));
    }
    if let Some(abort) = &world.failure.user_abort {
        extra.push(fact("user-abort", abort.actor.as_deref().unwrap_or_default()));
    }
    let own = (&world.project.name, &world.stage.name);
    for (seconds, in_project, in_cluster) in [
        (fleet::SHORT_WINDOW_SECONDS, "same-rule-in-project-10m", "same-rule-in-cluster-10m"),
        (fleet::LONG_WINDOW_SECONDS, "same-rule-in-project-1h", "same-rule-in-cluster-1h"),
    ] {
        let signals = world.fleet;
        let seen = signals.and_then(|all| all.same_rule(&classification.rule, own, world.now, seconds));
        if let Some(seen) = seen {
            extra.push(fact(in_project, &seen.in_project.to_string()));
            extra.push(fact(in_cluster, &seen.in_cluster.to_string()));
        }
    }
    extra
}

/// A fact for `extra`, redacted and capped.
fn fact(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), redact::shown(value, MAX_SHORT_BYTES))
}

/// A list for `extra`: one entry per line, each redacted and capped; `None` when it is empty. How many lines there may
/// be is [`cut`]'s word.
fn list(key: &str, entries: impl IntoIterator<Item = String>) -> Option<(String, String)> {
    let line = |entry: String| short(&entry).split_whitespace().collect::<Vec<_>>().join(" ");
    let lines: Vec<String> = entries.into_iter().map(line).filter(|line| !line.is_empty()).collect();
    (!lines.is_empty()).then(|| (key.to_owned(), lines.join("\n")))
}

/// A short text, redacted and capped.
fn short(text: &str) -> String {
    redact::shown(text, MAX_SHORT_BYTES)
}

/// A name or an id, capped, as it is: no API server takes one that this would change. Where Kargo only repeats a name,
/// in a status, it may be any text.
fn name(text: &str) -> String {
    let is_name = text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_name { redact::capped(text, MAX_NAME_BYTES) } else { redact::shown(text, MAX_NAME_BYTES) }
}
