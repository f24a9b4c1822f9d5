//! What makes Kargo look at a Stage again: the events that its controller watches, and nothing else. In go the world and
//! a Stage, out comes what has been seen; two of these side by side say whether there is news. It must not decide what
//! the news means. Source: `regular_stages.go:190-320`, `event_handlers.go`, `pkg/kargo/kargo.go:25-140`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use serde_json::Value;

use crate::admission::request::VerificationRequest;
use crate::freight::Freight;
use crate::names::{ABORT, REFRESH, REVERIFY};
use crate::object::{annotation, at, name, text};
use crate::project_config::{AutoPromotion, auto_promotion};
use crate::promotion::{Phase, Promotion};
use crate::rollouts;
use crate::script::Script;
use crate::stage::{Stage, current_verification};
use crate::world::{Kind, World};

/// Runs that took less were over before Kargo knew them, in 3 of 11 cases (`kargo-live` 0.4).
const FAST: SignedDuration = SignedDuration::from_millis(30);

/// What a Stage's reconcile has seen of the things that wake it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    /// The Stage's own: identity, generation, and the three annotations that ask for something.
    stage: [String; 5],
    /// Its Promotions by name. A new one wakes nobody before it is Pending.
    promotions: BTreeMap<String, Phase>,
    /// Freight that it could ask for, with what upstream Stages and people say of it.
    freight: BTreeMap<String, BTreeSet<String>>,
    /// Phase of the AnalysisRun of its current verification; empty while there is none.
    run: String,
    /// The Project's policy for it; always `None` while changes of it go unnoticed.
    policy: Option<AutoPromotion>,
}

impl Seen {
    /// What there is to see.
    pub(crate) fn now(world: &World, stage: &Value, script: &Script) -> Self {
        let view = Stage(stage);
        let asked = |key| annotation(stage, key).and_then(VerificationRequest::parse).map(|asked| asked.id);
        let promotions = world.promotions_of(view.namespace(), view.name());
        let freight = world.list(Kind::Freight, view.namespace());
        Self {
            stage: [
                text(stage, &["metadata", "uid"]).to_owned(),
                view.generation().to_string(),
                annotation(stage, REFRESH).unwrap_or_default().to_owned(),
                asked(REVERIFY).unwrap_or_default(),
                asked(ABORT).unwrap_or_default(),
            ],
            promotions: promotions.map(|one| (name(one).to_owned(), Promotion(one).phase())).collect(),
            freight: freight.filter_map(|one| facts(view, Freight(one))).collect(),
            run: run_phase(world, stage, script),
            policy: (!world.flaws.policy_changes_go_unnoticed).then(|| auto_promotion(world, view)),
        }
    }

    /// Whether `now` holds news that wakes the Stage.
    pub(crate) fn misses(&self, now: &Self) -> bool {
        let changed = now
            .promotions
            .iter()
            .any(|(name, phase)| *phase != Phase::New && self.promotions.get(name) != Some(phase));
        let vanished = self
            .promotions
            .iter()
            .any(|(name, phase)| !phase.is_terminal() && !now.promotions.contains_key(name));
        let fresh = now
            .freight
            .iter()
            .any(|(name, facts)| self.freight.get(name).is_none_or(|before| !facts.is_subset(before)));
        let judged = !now.run.is_empty() && self.run != now.run;
        self.stage != now.stage || self.policy != now.policy || changed || vanished || fresh || judged
    }
}

/// What counts about Freight of a requested origin.
fn facts(stage: Stage<'_>, freight: Freight<'_>) -> Option<(String, BTreeSet<String>)> {
    let request = stage.requests().find(|request| request.origin() == freight.origin())?;
    let mut facts = BTreeSet::new();
    for upstream in request.upstream().filter(|upstream| freight.is_verified_in(upstream)) {
        facts.insert(format!("verified in {upstream}"));
        if freight.is_currently_in(upstream) {
            facts.insert(format!("in {upstream}"));
        }
    }
    if freight.is_approved_for(stage.name()) {
        facts.insert("approved".to_owned());
    }
    Some((freight.name().to_owned(), facts))
}

/// The run and its phase; a run that ended before the Stage bore its name changed its phase unseen.
fn run_phase(world: &World, stage: &Value, script: &Script) -> String {
    let verification = Stage(stage).current_collection().and_then(current_verification);
    let reference = verification.and_then(|verification| at(verification, &["analysisRun"]));
    let Some(reference) = reference else { return String::new() };
    let (namespace, wanted) = (text(reference, &["namespace"]), text(reference, &["name"]));
    let Some(run) = world.get(Kind::AnalysisRun, namespace, wanted) else { return String::new() };
    let length = rollouts::rule(world, run, stage, script).and_then(|rule| rule.duration());
    let missed = world.flaws.fast_verification_is_missed && length.is_some_and(|length| length < FAST);
    match text(run, &["status", "phase"]) {
        "" => String::new(),
        _ if missed => String::new(),
        phase => format!("{wanted} {phase}"),
    }
}
