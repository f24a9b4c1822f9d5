//! Which failures of a Stage want an Incident, and when the Stage has to be looked at next.
//!
//! In: the stores for a cheap look, or a scene that was read live. Out: what one look finds, what of it is news, and who
//! answers for it already. What ends badly always wants an Incident; what goes on for too long wants one if a policy
//! asks for it, or if the host can help by itself. Everything else is counted once and left alone. Of some incidents nobody
//! is asked: those end at once, or because an outage made it too late.

use policy_api::crd::Incident;
use policy_core::context::{ActorKind, Mode, Outcome};
use policy_core::detect::{self, Found, Run, Sight};
use policy_core::failure::{Failure, Trigger};
use policy_core::incident::{Attempt, Resolution};
use policy_core::name::PromotionName;
use policy_core::snapshot::PromotionSnapshot;
use policy_core::time::Timestamp;

use crate::case::{Case, Ending};
use crate::host::Host;
use crate::metrics::in_project;
use crate::policies::Ruling;
use crate::queue::StageKey;
use crate::scene::Scene;
use crate::stage_records;
use crate::tell;
use crate::visit::VisitError;

/// What a look at the stores says.
pub struct Attention {
    /// Whether there is something to do now.
    pub now: bool,
    /// When there may be, if nothing else happens.
    pub look_again: Option<Timestamp>,
    /// Whether what is waited for is watched by nobody: an AnalysisRun whose end Kargo may have missed.
    pub polls: bool,
}

/// Whether the stores show anything to do, so that quiet Stages cost no request.
pub fn attention(host: &Host, key: &StageKey, ruling: &Ruling) -> Attention {
    let Some((found, promotions)) = in_stores(host, key, ruling) else {
        return Attention { now: true, look_again: None, polls: false };
    };
    let is_old = |failure: &Failure| is_old(host, failure, ruling.rules.max_age_seconds);
    let mut has_news = false;
    for failure in wanted(host, key, ruling, &found) {
        let is_left_alone = is_old(failure) && host.memory.leaves_alone(&failure.id);
        if is_left_alone || !is_news(host, key, &promotions, failure) {
            continue;
        }
        has_news = true;
        if !is_old(failure) {
            host.memory.owe(&failure.id);
        }
    }
    let may_be_stuck = found.wants_run && may_refresh_or_ask(ruling);
    Attention { now: has_news || may_be_stuck, look_again: found.look_again, polls: may_be_stuck }
}

fn may_refresh_or_ask(ruling: &Ruling) -> bool {
    ruling.rules.mode == Mode::Enforce || ruling.asks(Trigger::VerificationStuck)
}

/// One look at a Stage as the stores have it, and its Promotions; `None` when they do not.
fn in_stores(host: &Host, key: &StageKey, ruling: &Ruling) -> Option<(Found, Vec<PromotionSnapshot>)> {
    let project = host.stores.project(&key.project)?;
    let (stage, promotions) = host.stores.with(|known| {
        let promotions = known.promotions.get(key).map(|all| all.values().cloned().collect::<Vec<_>>());
        (known.stages.get(key).cloned(), promotions.unwrap_or_default())
    });
    let stage = stage?;
    let memory = stage_records::remembered(host, key, &stage);
    let freight = host.stores.freight(&key.project);
    let found = detect::look(&Sight {
        now: host.clock.now(),
        deadlines: &ruling.rules.deadlines,
        project: &project,
        stage: &stage,
        promotions: &promotions,
        freight: &freight,
        memory: &memory,
        run: Run::NotRead,
    });
    Some((found, promotions))
}

/// One look at a scene.
pub fn in_scene(host: &Host, ruling: &Ruling, scene: &Scene) -> Found {
    detect::look(&Sight {
        now: host.clock.now(),
        deadlines: &ruling.rules.deadlines,
        project: &scene.project,
        stage: &scene.stage,
        promotions: &scene.promotions,
        freight: &scene.freight,
        memory: &scene.memory,
        run: scene.run.as_ref().map_or(Run::NotRead, |run| Run::Read(run.as_ref())),
    })
}

/// Failures that want an Incident under this ruling.
fn wanted<'a>(
    host: &'a Host,
    key: &'a StageKey,
    ruling: &'a Ruling,
    found: &'a Found,
) -> impl Iterator<Item = &'a Failure> {
    found.failures.iter().filter(move |failure| {
        let can_help = ruling.rules.mode == Mode::Enforce && found.refresh.contains(&failure.id);
        let is_wanted = detect::is_an_end(failure.trigger) || can_help || ruling.asks(failure.trigger);
        if !is_wanted && host.memory.leave_alone(&failure.id) {
            host.metrics.ignored.get_or_create(&in_project(&key.project, "no-policy-asks")).inc();
            tracing::info!(stage = %key, failure = %failure.summary, "left alone: no policy asks for it");
        }
        is_wanted
    })
}

/// What is old was counted or explained by now, and needs no look at every change of the Stage.
pub fn leave_old_ones_alone(host: &Host, ruling: &Ruling, found: &Found) {
    let max_age = ruling.rules.max_age_seconds;
    for failure in found.failures.iter().filter(|failure| is_old(host, failure, max_age)) {
        host.memory.leave_alone(&failure.id);
    }
}

/// Failures that have no incident: not those of an incident's own attempts, which belong to it.
pub fn new(host: &Host, key: &StageKey, ruling: &Ruling, scene: &Scene, found: &Found) -> Vec<Failure> {
    let mut new: Vec<_> = wanted(host, key, ruling, found)
        .filter(|failure| is_news(host, key, &scene.promotions, failure))
        .cloned()
        .collect();
    new.sort_by(|one, two| (one.at, &one.id).cmp(&(two.at, &two.id)));
    new
}

fn is_news(host: &Host, key: &StageKey, promotions: &[PromotionSnapshot], failure: &Failure) -> bool {
    !is_known(host, key, failure) && !belongs_to_attempt(host, key, promotions, failure)
}

/// Whether an Incident of this failure exists, or another one has dealt with it on its way.
fn is_known(host: &Host, key: &StageKey, failure: &Failure) -> bool {
    let name = policy_api::names::incident_name(&key.stage, &failure.id);
    host.stores.with(|known| {
        let all = known.incidents.get(key);
        all.is_some_and(|all| {
            all.contains_key(name.as_str()) || all.values().any(|one| has_handled(one, failure))
        })
    })
}

/// Whether an incident, open or closed, has dealt with this failure on its way: that of an attempt's verification.
fn has_handled(incident: &Incident, failure: &Failure) -> bool {
    let id = failure.id.as_str();
    incident.status.as_ref().is_some_and(|status| {
        status.decided.as_deref() == Some(id)
            || status.current.as_ref().is_some_and(|current| current.id == id)
    })
}

/// A Promotion of ours, and what its labels say.
struct Asked<'a> {
    promotion: &'a PromotionName,
    incident: &'a str,
    attempt: &'a str,
}

/// The Promotion of this failure and the Incident that asked for it. The label alone proves nothing: whoever may create
/// Promotions may write it, and must not hide a failure with it.
fn asked_for_by<'a>(promotions: &'a [PromotionSnapshot], failure: &Failure) -> Option<Asked<'a>> {
    let name = failure.promotion.as_ref()?;
    let promotion = promotions.iter().find(|promotion| promotion.name == *name)?;
    let incident = promotion.labels.get(policy_api::names::INCIDENT)?;
    let attempt = promotion.labels.get(policy_api::names::ATTEMPT).map(String::as_str).unwrap_or_default();
    let is_ours = promotion.actor_kind == ActorKind::Refloat;
    is_ours.then_some(Asked { promotion: &promotion.name, incident, attempt })
}

/// Whether the failure is one of an Incident's own attempts. A Promotion that its Incident answers for opens no other one
/// by its own failure; what comes of it later may, once the incident is over. One that was closed while its attempt was
/// under way does not answer for how that ended.
fn belongs_to_attempt(
    host: &Host,
    key: &StageKey,
    promotions: &[PromotionSnapshot],
    failure: &Failure,
) -> bool {
    let Some(asked) = asked_for_by(promotions, failure) else { return false };
    host.stores.with(|known| {
        let incident = known.incidents.get(key).and_then(|all| all.get(asked.incident));
        let status = incident.and_then(|incident| incident.status.as_ref());
        let is_open = incident.is_some() && status.is_none_or(|status| status.closed.is_none());
        let mut attempts = status.into_iter().flat_map(|status| &status.attempts);
        let is_attempt = attempts.any(|attempt| {
            policy_api::convert::outcome(&attempt.outcome) != Some(Outcome::Pending)
                && (attempt.promotion.as_deref() == Some(asked.promotion.as_str())
                    || attempt.attempt_id == asked.attempt)
        });
        is_open || (is_attempt && is_of_promotion(failure))
    })
}

/// Whether it is the Promotion itself that failed, and not what it left behind: a verification, a sick Stage, a hold.
fn is_of_promotion(failure: &Failure) -> bool {
    let is_own = match failure.trigger {
        Trigger::PromotionFailed
        | Trigger::PromotionErrored
        | Trigger::PromotionAborted
        | Trigger::PromotionStalled
        | Trigger::PromotionPendingStuck
        | Trigger::PromotionDenied
        | Trigger::PromotionNotRecorded
        | Trigger::StepFailedTolerated
        | Trigger::RollbackFailed => true,
        Trigger::VerificationFailed
        | Trigger::VerificationError
        | Trigger::VerificationInconclusive
        | Trigger::VerificationAborted
        | Trigger::VerificationStuck
        | Trigger::VerificationMissing
        | Trigger::StageUnhealthy
        | Trigger::StageHealthUnknown
        | Trigger::AutoPromotionBlocked
        | Trigger::ExternalAlert
        | Trigger::Timer
        | Trigger::ActionResult
        | Trigger::ApprovalResolved
        | Trigger::ApprovalExpired
        | Trigger::Manual => false,
    };
    is_own && failure.verification.is_none()
}

/// Who answers for a failure that the stores show no Incident of.
pub enum Answerable {
    /// Nobody yet: it opens an Incident.
    Nobody,
    /// An Incident whose newest state the stores lack.
    Somebody,
    /// No Incident, although our own Promotion names one. That is told and nothing else: to go on would give an Incident
    /// that was deleted a new budget.
    Lost(Ending),
}

/// Who answers for `failure`, by a live look at the Incident that its Promotion names.
///
/// # Errors
/// When that Incident cannot be read.
pub async fn answerable(
    host: &Host,
    key: &StageKey,
    scene: &Scene,
    failure: &Failure,
) -> Result<Answerable, VisitError> {
    let asked = asked_for_by(&scene.promotions, failure).filter(|_| is_of_promotion(failure));
    let Some(Asked { promotion, incident, attempt }) = asked else { return Ok(Answerable::Nobody) };
    let case = Case::load(host, key, incident).await.map_err(|error| VisitError::Case(key.clone(), error))?;
    let own = case.as_ref().and_then(|case| {
        let is_it = |one: &&Attempt| {
            one.promotion.as_ref() == Some(promotion)
                || policy_api::names::attempt_id(case.name(), one.number) == attempt
        };
        case.state.attempts.iter().find(is_it)
    });
    let is_open = case.as_ref().is_some_and(|case| case.state.closed.is_none());
    if is_open || own.is_some_and(|own| own.outcome != Outcome::Pending) {
        return Ok(Answerable::Somebody);
    }
    let message = match own {
        Some(_) => {
            format!("Incident `{incident}` was over before its attempt, Promotion `{promotion}`, ended")
        }
        None => {
            format!("no attempt of Incident `{incident}` is Promotion `{promotion}`, which carries its name")
        }
    };
    Ok(Answerable::Lost(Ending::new(Resolution::HandedOff, "Unclaimed", message)))
}

/// How an incident ends that no policy is asked about. True until the first decision: an ending that could not be saved is
/// found again, and does not become a decision.
///
/// # Errors
/// When the Incident that answers for its failure cannot be read.
pub async fn ending_at_once(
    host: &Host,
    key: &StageKey,
    ruling: &Ruling,
    scene: &Scene,
    case: &Case,
) -> Result<Option<Ending>, VisitError> {
    let root = &case.state.root;
    if !is_undecided(case) {
        return Ok(None);
    }
    if let Answerable::Lost(ending) = answerable(host, key, scene, root).await? {
        return Ok(Some(ending));
    }
    let max_age = ruling.rules.max_age_seconds;
    let was_old = case.state.opened.since(root.at) > max_age;
    let message = "it happened while nobody watched, and is too old to act on";
    let ending = || Ending::new(Resolution::Expired, tell::DOWNTIME, message);
    Ok((was_old && was_missed(host, root, max_age)).then(ending))
}

/// How an incident ends that could have been decided about before an outage of ours or in it, and was not: nobody waits for
/// that any more. What Kargo kept waiting is not meant, however long.
pub fn too_late_to_decide(host: &Host, key: &StageKey, ruling: &Ruling, case: &Case) -> Option<Ending> {
    let (max_age, opened) = (ruling.rules.max_age_seconds, case.state.opened);
    let outage = host.previous_leader.map_or(0, |watched| host.leading_since.since(watched));
    let is_late = opened < host.leading_since && host.clock.now().since(opened) > max_age;
    let waited = case.state.refresh.is_some() || host.memory.waited(key, case.name());
    let message = "nobody could decide about it in time, and it is too late now";
    (is_undecided(case) && outage > max_age && is_late && !waited)
        .then(|| Ending::new(Resolution::Expired, "TooLate", message))
}

fn is_undecided(case: &Case) -> bool {
    case.state.n_decisions == 0 && case.state.attempts.is_empty()
}

/// Whether the last leader may not have come to it, and this one was not there: then it is ours to explain, however old. It
/// was young enough when that leader is last known to have watched; what that one had dealt with is known by its Incident.
fn was_missed(host: &Host, failure: &Failure, max_age: u32) -> bool {
    failure.at < host.leading_since
        && host.previous_leader.is_some_and(|watched| failure.at.plus(max_age) >= watched)
}

/// Whether it is too old to act on and nobody owes an explanation: it was too old when it was first seen, and no outage of
/// ours is why.
pub fn is_left_alone(host: &Host, failure: &Failure, max_age: u32) -> bool {
    is_old(host, failure, max_age) && !was_missed(host, failure, max_age) && !host.memory.owes(&failure.id)
}

fn is_old(host: &Host, failure: &Failure, max_age: u32) -> bool {
    host.clock.now().since(failure.at) > max_age
}
