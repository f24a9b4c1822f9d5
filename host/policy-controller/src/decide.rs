//! One decision: context, chain, guardrails, plan, record, telling, and the plan's entry in the Incident.
//!
//! In: a settled case and its scene. Out: the case saved with what comes next: a delivery that waits for its time, a
//! timer, or an ending. The record is written before anything refers to it; left without a reference it is harmless.
//! Nothing here writes to Kargo.

use std::sync::Arc;

use policy_core::assemble::{self, World};
use policy_core::chain::{self, Run, Word};
use policy_core::context::{Context, Mode, Outcome, PastDecision};
use policy_core::decision::Answer;
use policy_core::guardrails::g23_guest_fault::CallEnd;
use policy_core::guardrails::{self, Input, Seen};
use policy_core::guest_fault::GuestFaultKind;
use policy_core::incident::{Pending, Timer};
use policy_core::plan::{self, Planned};
use policy_core::rules::Rules;
use policy_core::write::{Verdict, Write};
use policy_engine::Call;

use crate::access;
use crate::around;
use crate::case::{Case, CaseError, Ending};
use crate::host::Host;
use crate::metrics::in_project;
use crate::policies::Ruling;
use crate::queue::StageKey;
use crate::records::{self, RecordError};
use crate::scene::{self, Scene, SceneError};
use crate::stage_records::{self, Ended, StageRecordError};
use crate::steps::Step;
use crate::tell;

/// Decisions that an Incident remembers.
const MAX_DECISIONS: usize = 20;

/// A decision could not be made or kept.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    /// The AnalysisRun could not be read.
    #[error("failed to gather facts")]
    Gather(#[source] SceneError),
    /// The Project's rights could not be found out.
    #[error("failed to find out what the Project's account may do")]
    Rights(#[source] crate::requests::RequestError),
    /// The thread that ran the guests is gone.
    #[error("failed to run the policies")]
    Run(#[source] tokio::task::JoinError),
    /// The record could not be written.
    #[error("failed to keep the record of a decision")]
    Record(#[source] RecordError),
    /// How the policies' calls ended could not be kept.
    #[error("failed to remember how the policies answered")]
    Remember(#[source] StageRecordError),
    /// People could not be told.
    #[error("failed to tell about a decision")]
    Tell(#[source] crate::events::EventError),
    /// The Incident could not be saved.
    #[error("failed to keep a decision")]
    Case(#[source] CaseError),
}

/// What the guests did.
pub struct Asked {
    /// What each entry said, and how the chain ended.
    pub run: Run,
    /// What each call cost, by entry; `None` for entries that were not asked.
    pub calls: Vec<Option<Call<Answer>>>,
}

/// Decides on the case's current failure.
///
/// # Errors
/// When facts cannot be read, or the decision cannot be kept. Nothing was written to Kargo then.
pub async fn decide(
    host: &Host,
    key: &StageKey,
    ruling: &Ruling,
    case: &mut Case,
    scene: &Scene,
) -> Result<(), DecideError> {
    let rules = rules_in_force(host, key, ruling).await.map_err(DecideError::Rights)?;
    let context = gather(host, key, case, scene, &rules).await?;
    host.checkpoints.passed(Step::Gathered);
    let asked = match nobody(host, key, ruling, &context) {
        Some(asked) => asked,
        None => ask(host, ruling, &context, case).await.map_err(DecideError::Run)?,
    };
    count(host, key, &asked, rules.mode);
    let planned = bound(host, ruling, case, scene, &rules, &context, &asked);
    host.checkpoints.passed(Step::Decided);
    let record =
        records::Decided { ruling, context: &context, asked: &asked, planned: &planned, mode: rules.mode };
    let (name, number) = records::write(host, key, case, &record).await.map_err(DecideError::Record)?;
    host.checkpoints.passed(Step::Recorded);
    let told = match remember_calls(host, key, ruling, scene, &asked).await {
        Ok(()) => {
            tell::decision(host, key, case, &scene.stage, &planned.writes).await.map_err(DecideError::Tell)
        }
        Err(error) => Err(DecideError::Remember(error)),
    };
    // Whatever comes of it, the next record finds a free number at once.
    case.state.n_decisions = number;
    if let Err(error) = told {
        case.save(host, key).await.map_err(DecideError::Case)?;
        return Err(error);
    }
    remember(case, &context, &asked, &planned);
    enter(host, case, scene, &asked, &planned.writes, &name);
    if let Some(closed) = &case.state.closed {
        tell::closed(host, key, case, &scene.stage, closed).await.map_err(DecideError::Tell)?;
    }
    host.checkpoints.passed(Step::Told);
    case.save(host, key).await.map_err(DecideError::Case)?;
    host.checkpoints.passed(Step::Planned);
    Ok(())
}

/// The rules, in Observe when something stands in the way of Enforce.
async fn rules_in_force(
    host: &Host,
    key: &StageKey,
    ruling: &Ruling,
) -> Result<Rules, crate::requests::RequestError> {
    let mut rules = ruling.rules.clone();
    if rules.mode != Mode::Enforce {
        return Ok(rules);
    }
    if let Some(why) = access::ask(host, key).await?.obstacle() {
        tracing::info!(stage = %key, why, "observed only");
        rules.mode = Mode::Observe;
        rules.held_back = Some(why);
    }
    Ok(rules)
}

async fn gather(
    host: &Host,
    key: &StageKey,
    case: &Case,
    scene: &Scene,
    rules: &Rules,
) -> Result<Context, DecideError> {
    let failure = trigger_of(case);
    let verification = match &failure.verification {
        Some(id) => scene.verification_of(id),
        None => scene.verification(),
    };
    let run = scene::analysis_run(host, key, verification).await.map_err(DecideError::Gather)?;
    let now = host.clock.now();
    let deliveries = scene.deliveries(&case.state, now);
    let neighbours = around::neighbours(host, &scene.stage);
    let applications = around::applications(host, scene, &failure).await;
    let fleet = around::fleet(host, now);
    Ok(assemble::context(&World {
        now,
        seed: assemble::seed(&case.state),
        failure: &failure,
        project: &scene.project,
        stage: &scene.stage,
        promotions: &scene.promotions,
        freight: &scene.freight,
        neighbours: &neighbours,
        fleet: Some(&fleet),
        analysis_run: run.as_ref(),
        applications: &applications,
        remembered: scene.memory.good.as_ref(),
        incident: &case.state,
        catalogue: &host.catalogue,
        rules,
        settings: &policy_core::settings::Settings::default(),
        state: None,
        deliveries: &deliveries,
    }))
}

/// The failure as this decision is asked about it: a wait that a policy asked for asks under its own trigger.
fn trigger_of(case: &Case) -> policy_core::failure::Failure {
    let mut failure = case.state.current.clone();
    if case.state.timer.as_ref().is_some_and(|timer| timer.by_policy) {
        failure.trigger = policy_core::failure::Trigger::Timer;
    }
    failure
}

/// What comes of a chain with a disabled policy in it: nobody is asked.
fn nobody(host: &Host, key: &StageKey, ruling: &Ruling, context: &Context) -> Option<Asked> {
    let disabled = stage_records::disabled(host, &key.project, &ruling.chain);
    let entries: Vec<_> = ruling.chain.iter().map(|entry| entry.entry.clone()).collect();
    let run = chain::disabled(&entries, context.failure.trigger, &disabled)?;
    Some(Asked { run, calls: entries.iter().map(|_| None).collect() })
}

/// Remembers for G23 who answered and who did not.
async fn remember_calls(
    host: &Host,
    key: &StageKey,
    ruling: &Ruling,
    scene: &Scene,
    asked: &Asked,
) -> Result<(), StageRecordError> {
    let ended = ruling.chain.iter().zip(&asked.run.said).filter_map(|(entry, said)| match &said.word {
        Word::Decided(_) | Word::Pass => {
            Some(Ended { entry, end: CallEnd::Answered, message: String::new() })
        }
        // Not the policy's fault: it could not be asked.
        Word::Fault(fault) if fault.kind == GuestFaultKind::NotLoaded => None,
        Word::Fault(fault) => {
            let message = format!("{}: {}", fault.kind.text(), fault.message);
            Some(Ended { entry, end: CallEnd::Faulted, message })
        }
        Word::Skipped(_) => None,
    });
    stage_records::count(host, key, &scene.stage, &ended.collect::<Vec<_>>()).await
}

/// Asks the chain on a thread of its own, so that no guest can hold up a watch or the Lease.
async fn ask(
    host: &Host,
    ruling: &Ruling,
    context: &Context,
    case: &Case,
) -> Result<Asked, tokio::task::JoinError> {
    let chain = Arc::clone(&ruling.chain);
    let mut context = context.clone();
    let states = case.state.states.clone();
    let started = tokio::time::Instant::now();
    let work = move || {
        let entries: Vec<_> = chain.iter().map(|entry| entry.entry.clone()).collect();
        let mut calls: Vec<Option<Call<Answer>>> = chain.iter().map(|_| None).collect();
        let trigger = context.failure.trigger;
        let run = chain::run(&entries, trigger, |position, proposed| {
            let Some(entry) = chain.get(position) else { return Ok(Answer::Pass) };
            context.settings = entry.settings.clone();
            context.state = states.get(position).cloned().flatten();
            let policy = entry.policy.as_ref().map_err(Clone::clone)?;
            let call = policy.decide(&context, proposed);
            let result = call.result.clone();
            if let Some(place) = calls.get_mut(position) {
                *place = Some(call);
            }
            result
        });
        Asked { run, calls }
    };
    let asked = host.guests.run(work).await?;
    host.metrics.decision_seconds.observe(started.elapsed().as_secs_f64());
    for call in asked.calls.iter().flatten() {
        // Fuel fits into the 53 bits of a double by ten orders of magnitude.
        #[expect(clippy::cast_precision_loss, reason = "a histogram's buckets are wider than the loss")]
        host.metrics.decision_fuel.observe(call.fuel_used as f64);
    }
    Ok(asked)
}

fn count(host: &Host, key: &StageKey, asked: &Asked, mode: Mode) {
    let mode = policy_api::convert::text_of(&mode);
    host.metrics.decisions.get_or_create(&in_project(&key.project, mode)).inc();
    for said in &asked.run.said {
        if let Word::Fault(fault) = &said.word {
            host.metrics.faults.get_or_create(&in_project(&key.project, fault.kind.text())).inc();
        }
    }
}

fn bound(
    host: &Host,
    ruling: &Ruling,
    case: &Case,
    scene: &Scene,
    rules: &Rules,
    context: &Context,
    asked: &Asked,
) -> Planned {
    let names: Vec<_> = ruling.chain.iter().map(|entry| entry.name.as_str()).collect();
    let now = host.clock.now();
    let deliveries = scene.deliveries(&case.state, now);
    let seen = Seen::of(&scene.stage);
    let input = Input {
        now,
        context,
        incident: &case.state,
        rules,
        project: &scene.project,
        stage: &scene.stage,
        seen: &seen,
        promotions: &scene.promotions,
        freight: &scene.freight,
        deliveries: &deliveries,
        stopped: host.stopped,
        enterprise_rollback: guardrails::g26_two_engines::rolls_back_by_itself(&scene.project, &scene.stage),
    };
    plan::of_chain(&asked.run, &names, &input)
}

/// Adds the decision to the incident's memory.
fn remember(case: &mut Case, context: &Context, asked: &Asked, planned: &Planned) {
    case.state.rule = Some(context.classification.rule.clone());
    let actions = planned.verdicts.iter().map(|verdict| (verdict.kind.clone(), outcome(verdict))).collect();
    case.state.decisions.push(PastDecision {
        at_unix_seconds: context.now_unix_seconds,
        trigger: context.failure.trigger,
        class: context.classification.class,
        actions,
    });
    let excess = case.state.decisions.len().saturating_sub(MAX_DECISIONS);
    case.state.decisions.drain(..excess);
    let state_of = |word: &Word| match word {
        Word::Decided(decision) => Some(decision.state.clone()),
        Word::Pass | Word::Fault(_) | Word::Skipped(_) => None,
    };
    case.state.states.resize(asked.run.said.len(), None);
    for (place, said) in case.state.states.iter_mut().zip(&asked.run.said) {
        if let Some(state) = state_of(&said.word) {
            *place = state;
        }
    }
}

fn outcome(verdict: &policy_core::write::ActionVerdict) -> Outcome {
    let by = || verdict.by.first().map(|(id, _)| id.clone()).unwrap_or_default();
    match &verdict.verdict {
        Verdict::Allow => Outcome::Pending,
        Verdict::Postpone { .. } => Outcome::Postponed(by()),
        Verdict::Refuse { .. } if verdict.by.iter().any(|(id, _)| id == "G24") => Outcome::Observed,
        Verdict::Refuse { .. } => Outcome::Refused(by()),
    }
}

/// Enters what comes next into the incident.
fn enter(host: &Host, case: &mut Case, scene: &Scene, asked: &Asked, writes: &[Write], record: &str) {
    case.state.decided = Some(case.state.current.id.clone());
    case.state.pending = None;
    case.state.timer = None;
    for write in writes {
        match write {
            Write::CreatePromotion { not_before, kind, .. } => {
                let action = delivery(asked, kind);
                case.state.pending = action.map(|action| Pending {
                    at: *not_before,
                    action,
                    record: record.to_owned(),
                    seen: Seen::of(&scene.stage),
                });
            }
            Write::Timer { at, cause, by_policy } => {
                case.state.timer = Some(Timer { at: *at, cause: cause.clone(), by_policy: *by_policy });
            }
            Write::Close { resolution, reason, message } => {
                case.close(Ending::new(*resolution, reason.clone(), message.clone()), host.clock.now());
            }
            Write::ForceFreshVerification { .. }
            | Write::Refresh { .. }
            | Write::Send { .. }
            | Write::Event { .. }
            | Write::Keep { .. } => {}
        }
    }
}

/// The action that a planned Promotion comes from.
fn delivery(
    asked: &Asked,
    kind: &policy_core::decision::ActionKind,
) -> Option<policy_core::decision::Action> {
    let chain::End::Decided(decision) = &asked.run.end else { return None };
    decision.actions.iter().find(|action| action.operation.kind() == *kind).cloned()
}
