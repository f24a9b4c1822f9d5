//! One visit to a Stage: sees what has failed there, and moves each open incident on.
//!
//! In: a Stage's key. Out: when to come back. A visit is level-triggered: it looks at what is, not at what the watch
//! said, so a visit too many changes nothing and a restart loses nothing.
//! The order of things is that of the product definition, section 4; the steps of one incident are in [`advance`].

use policy_core::detect::Found;
use policy_core::failure::Failure;
use policy_core::follow::{self, Followed};
use policy_core::incident::{Attempt, Resolution};
use policy_core::settle::{self, Settled};
use policy_core::snapshot::StageSnapshot;
use policy_core::time::Timestamp;
use std::time::Duration;

use crate::case::{Case, CaseError, Ending};
use crate::decide;
use crate::deliver;
use crate::doubles;
use crate::failures::{self, Answerable};
use crate::host::{Host, Next};
use crate::metrics::in_project;
use crate::orphans;
use crate::policies::Ruling;
use crate::queue::StageKey;
use crate::scene::{self, Scene, SceneError};
use crate::stage_records::{self, StageRecordError};
use crate::steps::Step;
use crate::tell;
use crate::waits;

/// How often something is looked at that no watch tells about.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// How long an incident waits for a module that cannot be used, from its opening or from a change of leader on: sources
/// are asked every 30 s, so that one failed read does not hand it off.
const MODULES_WITHIN_SECONDS: u32 = 120;
/// Decisions that one incident may have. A policy may ask to wait as often as it likes, at least 10 s each time, and each
/// decision leaves a record of up to 64 KiB.
const MAX_DECISIONS: u32 = 100;

/// A visit could not be finished.
#[derive(Debug, thiserror::Error)]
pub enum VisitError {
    /// The scene could not be read.
    #[error("failed to look at {0}")]
    Scene(StageKey, #[source] SceneError),
    /// An Incident could not be read or written.
    #[error("failed to keep an incident of {0}")]
    Case(StageKey, #[source] CaseError),
    /// A decision could not be made or kept.
    #[error("failed to decide on an incident of {0}")]
    Decide(StageKey, #[source] decide::DecideError),
    /// What is to be remembered of the Stage could not be kept.
    #[error("failed to remember {0}")]
    Keep(StageKey, #[source] StageRecordError),
    /// People could not be told.
    #[error("failed to tell about an incident of {0}")]
    Tell(StageKey, #[source] crate::events::EventError),
}

impl VisitError {
    /// Whether another writer was simply quicker.
    pub fn is_lost_race(&self) -> bool {
        matches!(self, Self::Case(_, CaseError::Lost { .. }))
    }
}

/// Visits a Stage.
///
/// # Errors
/// When the API server does not give or take what is needed; the visit is repeated later.
pub async fn visit(host: &Host, key: &StageKey) -> Result<Next, VisitError> {
    let next = handle(host, key).await;
    // What one incident cannot do must not keep the Stage from being remembered, nor the other way round.
    let kept = stage_records::keep(host, key).await.map_err(|error| VisitError::Keep(key.clone(), error));
    match (next, kept) {
        (Ok(next), Ok(())) => Ok(next),
        (Ok(_), Err(error)) => Err(error),
        (Err(error), kept) => {
            log_others(key, kept.err().as_slice());
            Err(error)
        }
    }
}

/// The last of several errors, when the others are logged.
pub(crate) fn last_of(key: &StageKey, mut failed: Vec<VisitError>) -> Option<VisitError> {
    let last = failed.pop()?;
    log_others(key, &failed);
    Some(last)
}

/// Errors of a visit beside the one that it ends with.
fn log_others(key: &StageKey, errors: &[VisitError]) {
    for error in errors {
        tracing::warn!(stage = %key, error = error as &dyn std::error::Error, "one more that failed");
    }
}

async fn handle(host: &Host, key: &StageKey) -> Result<Next, VisitError> {
    let Some(ruling) = host.policies.ruling(key) else {
        return orphans::close_all(host, key).await;
    };
    host.memory.is_ruled(key);
    let attention = failures::attention(host, key, &ruling);
    if !attention.now && open_incidents(host, key).is_empty() {
        return Ok(look_again(host, attention.look_again));
    }
    let scene = scene::read(host, key, &ruling.rules.capture_outputs).await;
    let Some(scene) = scene.map_err(|error| VisitError::Scene(key.clone(), error))? else {
        return orphans::close_all(host, key).await;
    };
    let found = failures::in_scene(host, &ruling, &scene);
    let mut next = look_again(host, found.look_again);
    if attention.polls {
        next = next.or_sooner(Next::After(LOOK_AGAIN));
    }
    let mut is_fresh = true;
    // One that cannot be read or written must not keep its neighbours waiting.
    let mut failed = Vec::new();
    for failure in failures::new(host, key, &ruling, &scene, &found) {
        is_fresh = false;
        match open(host, key, &ruling, &scene, failure).await {
            Ok(after) => next = next.or_sooner(after),
            Err(error) => failed.push(error),
        }
    }
    if failed.is_empty() {
        failures::leave_old_ones_alone(host, &ruling, &found);
    }
    let mut first = is_fresh.then_some(scene);
    for name in open_incidents(host, key) {
        match go_on(host, key, &ruling, &name, first.take()).await {
            Ok(after) => next = next.or_sooner(after),
            Err(error) => failed.push(error),
        }
    }
    last_of(key, failed).map_or(Ok(next), Err)
}

/// Moves the open incident of that name on.
async fn go_on(
    host: &Host,
    key: &StageKey,
    ruling: &Ruling,
    name: &str,
    first: Option<Scene>,
) -> Result<Next, VisitError> {
    match open_case(host, key, name).await? {
        Some(mut case) => advance(host, key, ruling, &mut case, first).await,
        None => Ok(Next::Await),
    }
}

/// The incident of that name, if it is open.
pub(crate) async fn open_case(host: &Host, key: &StageKey, name: &str) -> Result<Option<Case>, VisitError> {
    let case = Case::load(host, key, name).await.map_err(|error| VisitError::Case(key.clone(), error))?;
    Ok(case.filter(|case| case.state.closed.is_none()))
}

/// One wake-up for the time at which something would become a failure.
fn look_again(host: &Host, time: Option<Timestamp>) -> Next {
    time.map_or(Next::Await, |time| at(host, time))
}

/// Names of the Stage's open incidents, oldest first.
pub(crate) fn open_incidents(host: &Host, key: &StageKey) -> Vec<String> {
    host.stores.with(|known| {
        let all = known.incidents.get(key).into_iter().flatten();
        let open =
            all.filter(|(_, incident)| incident.status.as_ref().is_none_or(|status| status.closed.is_none()));
        let mut names: Vec<_> =
            open.map(|(name, incident)| (incident.spec.failure.at.clone(), name.clone())).collect();
        names.sort();
        names.into_iter().map(|(_, name)| name).collect()
    })
}

async fn open(
    host: &Host,
    key: &StageKey,
    ruling: &Ruling,
    scene: &Scene,
    mut failure: Failure,
) -> Result<Next, VisitError> {
    // A Promotion does not say which Stage of its name it was for, and the next one may be another.
    failure.stage_uid.get_or_insert_with(|| scene.stage.uid.clone());
    if failures::is_left_alone(host, &failure, ruling.rules.max_age_seconds) {
        if host.memory.leave_alone(&failure.id) {
            host.metrics.ignored.get_or_create(&in_project(&key.project, "older-than-maximum-age")).inc();
            tracing::info!(stage = %key, failure = %failure.summary, "left alone: older than the maximum age");
        }
        return Ok(Next::Await);
    }
    if let Answerable::Somebody = failures::answerable(host, key, scene, &failure).await? {
        return Ok(Next::Await);
    }
    host.checkpoints.passed(Step::Detected);
    let accepted = host.policies.accepted(key);
    let mut case = Case::open(host, key, &failure, Some(ruling.policy.clone()), accepted)
        .await
        .map_err(|error| VisitError::Case(key.clone(), error))?;
    host.memory.owe_no_more(&failure.id);
    host.checkpoints.passed(Step::Opened);
    if case.state.closed.is_some() {
        return Ok(Next::Await);
    }
    host.metrics
        .failures
        .get_or_create(&in_project(&key.project, policy_api::convert::text_of(&failure.trigger)))
        .inc();
    advance(host, key, ruling, &mut case, None).await
}

/// What an incident needs next.
enum Phase {
    /// A claim whose outcome nobody knows.
    Claimed(u32),
    /// A delivery under way.
    Delivered(Attempt),
    /// A delivery that was decided on.
    Planned(policy_core::incident::Pending),
    /// The policies want to be asked at a time.
    Waiting(Timestamp),
    /// The policies were not asked about the current failure.
    Undecided,
}

impl Phase {
    /// Whether a delivery was claimed and is not over.
    fn is_attempt(&self) -> bool {
        match self {
            Self::Claimed(_) | Self::Delivered(_) => true,
            Self::Planned(_) | Self::Waiting(_) | Self::Undecided => false,
        }
    }
}

fn phase(case: &Case, now: Timestamp) -> Phase {
    if let Some(attempt) = case.open_attempt() {
        if attempt.is_unanswered() {
            return Phase::Claimed(attempt.number);
        }
        return Phase::Delivered(attempt.clone());
    }
    if let Some(pending) = &case.state.pending {
        return Phase::Planned(pending.clone());
    }
    match &case.state.timer {
        Some(timer) if timer.at > now => Phase::Waiting(timer.at),
        Some(_) | None => Phase::Undecided,
    }
}

/// Moves one incident on by as many steps as it can take now. `first` is the scene for the first step when it was read
/// in this visit and nothing was done since; every later step reads its own.
async fn advance(
    host: &Host,
    key: &StageKey,
    ruling: &Ruling,
    case: &mut Case,
    mut first: Option<Scene>,
) -> Result<Next, VisitError> {
    // Each round ends in a wait, a close, or a later phase; more rounds than this mean a bug, and a later visit.
    for _ in 0..8 {
        if case.state.closed.is_some() {
            return Ok(Next::Await);
        }
        let scene = match first.take() {
            Some(scene) => Some(scene),
            None => scene::read(host, key, &ruling.rules.capture_outputs)
                .await
                .map_err(|error| VisitError::Scene(key.clone(), error))?,
        };
        let Some(scene) = scene else {
            return orphans::stage_gone(host, key, case).await;
        };
        if let Some(double) = doubles::find(case, &scene) {
            return doubles::tell(host, key, case, &scene, &double).await;
        }
        let found = failures::in_scene(host, ruling, &scene);
        let phase = phase(case, host.clock.now());
        if let Some(ending) = waits::went_on(case, &found).filter(|_| !phase.is_attempt()) {
            match gone_on(host, key, case, &scene, ending).await? {
                Some(next) => return Ok(next),
                None => continue,
            }
        }
        let stepped = match phase {
            Phase::Claimed(number) => deliver::resume(host, key, ruling, case, &scene, number).await?,
            Phase::Delivered(attempt) => followed(host, key, ruling, case, &scene, &found, &attempt).await?,
            Phase::Planned(pending) => deliver::when_due(host, key, ruling, case, &scene, &pending).await?,
            Phase::Waiting(until) => Some(at(host, until)),
            Phase::Undecided => undecided(host, key, ruling, case, &scene, &found).await?,
        };
        if let Some(next) = stepped {
            return Ok(next);
        }
    }
    Ok(Next::After(Duration::from_secs(1)))
}

/// What the incident is about is over without anybody's help. An attempt that it was about is followed again.
async fn gone_on(
    host: &Host,
    key: &StageKey,
    case: &mut Case,
    scene: &Scene,
    ending: Ending,
) -> Result<Option<Next>, VisitError> {
    let Some(number) = waits::followed_again(case) else {
        return close(host, key, case, &scene.stage, ending).await.map(Some);
    };
    case.with_attempt(number, |attempt| attempt.outcome = policy_core::context::Outcome::Pending);
    case.state.pending = None;
    case.state.timer = None;
    case.save(host, key).await.map_err(|error| VisitError::Case(key.clone(), error))?;
    Ok(None)
}

async fn undecided(
    host: &Host,
    key: &StageKey,
    ruling: &Ruling,
    case: &mut Case,
    scene: &Scene,
    found: &Found,
) -> Result<Option<Next>, VisitError> {
    if let Some(ending) = failures::ending_at_once(host, key, ruling, scene, case).await? {
        return close(host, key, case, &scene.stage, ending).await.map(Some);
    }
    match settle::settle(&case.state.current, &scene.stage, &scene.promotions) {
        Settled::NotYet { because } => {
            host.memory.waits(key, case.name());
            return waits::unsettled(host, key, ruling, case, scene, &because).await;
        }
        Settled::Overtaken { by } => {
            let message = format!("the Stage has moved on: {by}");
            let ending = Ending::new(Resolution::Superseded, "", message);
            return close(host, key, case, &scene.stage, ending).await.map(Some);
        }
        Settled::Yes => host.checkpoints.passed(Step::Settled),
    }
    if let Some(ending) = failures::too_late_to_decide(host, key, ruling, case) {
        return close(host, key, case, &scene.stage, ending).await.map(Some);
    }
    let failure = case.state.current.clone();
    if let Some(next) = waits::refreshed(host, key, ruling, case, scene, found, &failure).await? {
        return Ok(Some(next));
    }
    let since = case.state.opened.max(host.leading_since);
    if !ruling.is_complete() && host.clock.now().since(since) < MODULES_WITHIN_SECONDS {
        tracing::info!(stage = %key, "a module of the chain cannot be used yet");
        return Ok(Some(Next::After(LOOK_AGAIN)));
    }
    if case.state.n_decisions >= MAX_DECISIONS {
        let message = format!("{} decisions did not end it", case.state.n_decisions);
        let ending = Ending::new(Resolution::Exhausted, "DecisionsSpent", message);
        return close(host, key, case, &scene.stage, ending).await.map(Some);
    }
    match decide::decide(host, key, ruling, case, scene).await {
        Ok(()) => {}
        Err(decide::DecideError::Record(error)) if error.is_for_ever() => {
            let ending = Ending::new(Resolution::Exhausted, "DecisionsSpent", error.to_string());
            return close(host, key, case, &scene.stage, ending).await.map(Some);
        }
        Err(error) => return Err(VisitError::Decide(key.clone(), error)),
    }
    if let Some(closed) = &case.state.closed {
        count_closed(host, key, closed.resolution);
    }
    Ok(None)
}

pub(crate) fn count_closed(host: &Host, key: &StageKey, resolution: Resolution) {
    host.metrics.closed.get_or_create(&in_project(&key.project, resolution.text())).inc();
}

async fn followed(
    host: &Host,
    key: &StageKey,
    ruling: &Ruling,
    case: &mut Case,
    scene: &Scene,
    found: &Found,
    attempt: &Attempt,
) -> Result<Option<Next>, VisitError> {
    use policy_core::context::Outcome;
    let standing = follow::attempt(attempt, &scene.stage, &scene.promotions);
    if let Followed::Waiting { because } = &standing {
        tracing::debug!(stage = %key, because, "attempt under way");
        return waits::unfollowed(host, key, ruling, case, scene, found, attempt).await;
    }
    host.checkpoints.passed(Step::Followed);
    let (outcome, ending) = match standing {
        Followed::Waiting { .. } => return Ok(Some(patience(host, case))),
        // The one that is being answered: the Stage does not show the attempt's own yet.
        Followed::Failed(failure) if failure.id == case.state.current.id => {
            return Ok(Some(patience(host, case)));
        }
        Followed::Failed(failure) => {
            case.with_attempt(attempt.number, |attempt| attempt.outcome = Outcome::Failed);
            case.state.current = failure;
            case.save(host, key).await.map_err(|error| VisitError::Case(key.clone(), error))?;
            return Ok(None);
        }
        Followed::Succeeded => (Outcome::Succeeded, tell::success(attempt)),
        Followed::Unproven => (Outcome::Succeeded, tell::unproven(attempt)),
        Followed::EndedByPerson { actor } => {
            (Outcome::Aborted, tell::ended_by_person(attempt, actor.as_deref()))
        }
        Followed::Gone => (Outcome::Superseded, tell::gone(attempt)),
        Followed::Overtaken { by } => (Outcome::Superseded, tell::overtaken(attempt, &by)),
    };
    case.with_attempt(attempt.number, |attempt| attempt.outcome = outcome);
    close(host, key, case, &scene.stage, ending).await.map(Some)
}

/// Closes an incident: people are told first, so that a crash in between tells them twice at most, never not at all.
pub(crate) async fn close(
    host: &Host,
    key: &StageKey,
    case: &mut Case,
    stage: &StageSnapshot,
    ending: Ending,
) -> Result<Next, VisitError> {
    case.close(ending, host.clock.now());
    if let Some(closed) = case.state.closed.clone() {
        tell::closed(host, key, case, stage, &closed)
            .await
            .map_err(|error| VisitError::Tell(key.clone(), error))?;
    }
    case.save(host, key).await.map_err(|error| VisitError::Case(key.clone(), error))?;
    if let Some(closed) = &case.state.closed {
        count_closed(host, key, closed.resolution);
    }
    host.checkpoints.passed(Step::Closed);
    Ok(Next::Await)
}

/// How long until an incident that waits is looked at although nothing changes.
pub(crate) fn patience(host: &Host, case: &Case) -> Next {
    Next::After(Duration::from_secs(u64::from(case.state.patience(host.clock.now()))))
}

/// How long until a time of day, by this replica's clock.
pub(crate) fn at(host: &Host, time: Timestamp) -> Next {
    Next::After(Duration::from_secs(u64::from(time.since(host.clock.now())).max(1)))
}
