//! Failures of a Stage that want attention: those without an Incident that answers for them.
//!
//! In: what the stores hold, or a scene. Out: failures that open an Incident now, and who answers for the others.
//! Detection itself is `policy-core`'s; here is only what needs to know which Incidents there are. Nothing here writes.

use policy_core::context::ActorKind;
use policy_core::detect;
use policy_core::failure::Failure;
use policy_core::incident::{Attempt, Resolution};
use policy_core::name::PromotionName;
use policy_core::snapshot::{PromotionSnapshot, StageSnapshot};

use crate::case::{Case, Ending};
use crate::host::Host;
use crate::policies::Ruling;
use crate::queue::StageKey;
use crate::scene::Scene;
use crate::visit::VisitError;

/// Whether the stores show anything to do, so that quiet Stages cost no request.
pub(crate) fn want_attention(host: &Host, key: &StageKey, ruling: &Ruling) -> bool {
    let oldest = host.clock.now().minus(ruling.rules.max_age_seconds);
    host.stores.with(|known| {
        let promotions = known.promotions.get(key).into_iter().flatten().map(|(_, promotion)| promotion);
        let stage = known.stages.get(key);
        let promotions: Vec<_> = promotions.cloned().collect();
        all(stage, &promotions).any(|failure| {
            let name = policy_api::names::incident_name(&key.stage, &failure.id);
            let is_known = known.incidents.get(key).is_some_and(|all| all.contains_key(name.as_str()));
            !is_known && (failure.at >= oldest || !host.memory.leaves_alone(&failure.id))
        })
    })
}

/// What is old was counted or explained by now, and needs no look at every change of the Stage.
pub(crate) fn leave_old_ones_alone(host: &Host, ruling: &Ruling, scene: &Scene) {
    let oldest = host.clock.now().minus(ruling.rules.max_age_seconds);
    for failure in all(Some(&scene.stage), &scene.promotions).filter(|failure| failure.at < oldest) {
        host.memory.leave_alone(&failure.id);
    }
}

fn all<'a>(
    stage: Option<&'a StageSnapshot>,
    promotions: &'a [PromotionSnapshot],
) -> impl Iterator<Item = Failure> + use<'a> {
    let verification = stage.and_then(|stage| detect::verification(stage, promotions));
    promotions.iter().filter_map(detect::promotion).chain(verification)
}

/// Failures that have no incident: not those of an incident's own attempts, which belong to it.
pub(crate) fn new(host: &Host, key: &StageKey, scene: &Scene) -> Vec<Failure> {
    let is_known = |failure: &Failure| {
        let name = policy_api::names::incident_name(&key.stage, &failure.id);
        host.stores.with(|known| {
            let all = known.incidents.get(key);
            all.is_some_and(|all| {
                all.contains_key(name.as_str()) || all.values().any(|one| has_handled(one, failure))
            })
        })
    };
    let mut new: Vec<_> = all(Some(&scene.stage), &scene.promotions)
        .filter(|failure| !is_known(failure) && !belongs_to_attempt(host, key, scene, failure))
        .collect();
    new.sort_by(|one, two| (one.at, &one.id).cmp(&(two.at, &two.id)));
    new
}

/// Whether an incident, open or closed, has dealt with this failure on its way: that of an attempt's verification.
fn has_handled(incident: &policy_api::crd::Incident, failure: &Failure) -> bool {
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
fn asked_for_by<'a>(scene: &'a Scene, failure: &Failure) -> Option<Asked<'a>> {
    let name = failure.promotion.as_ref()?;
    let promotion = scene.promotions.iter().find(|promotion| promotion.name == *name)?;
    let incident = promotion.labels.get(policy_api::names::INCIDENT)?;
    let attempt = promotion.labels.get(policy_api::names::ATTEMPT).map(String::as_str).unwrap_or_default();
    let is_ours = promotion.actor_kind == ActorKind::Refloat;
    is_ours.then_some(Asked { promotion: &promotion.name, incident, attempt })
}

/// Whether the failure is one of an Incident's own attempts. A Promotion that its Incident answers for opens no other one
/// by its own failure; its verification may, once the incident is over.
fn belongs_to_attempt(host: &Host, key: &StageKey, scene: &Scene, failure: &Failure) -> bool {
    let Some(asked) = asked_for_by(scene, failure) else { return false };
    host.stores.with(|known| {
        let incident = known.incidents.get(key).and_then(|all| all.get(asked.incident));
        let status = incident.and_then(|incident| incident.status.as_ref());
        let is_open = incident.is_some() && status.is_none_or(|status| status.closed.is_none());
        let mut attempts = status.into_iter().flat_map(|status| &status.attempts);
        let is_attempt = attempts.any(|attempt| {
            attempt.promotion.as_deref() == Some(asked.promotion.as_str())
                || attempt.attempt_id == asked.attempt
        });
        is_open || (is_attempt && failure.verification.is_none())
    })
}

/// Who answers for a failure that the stores show no Incident of.
pub(crate) enum Answerable {
    /// Nobody yet: it opens an Incident.
    Nobody,
    /// An Incident whose newest state the stores lack.
    Somebody,
    /// No Incident, although our own Promotion names one. That is told and nothing else: to go on would give an Incident
    /// that was deleted a new budget.
    Lost(Ending),
}

pub(crate) async fn answerable(
    host: &Host,
    key: &StageKey,
    scene: &Scene,
    failure: &Failure,
) -> Result<Answerable, VisitError> {
    let asked = asked_for_by(scene, failure).filter(|_| failure.verification.is_none());
    let Some(Asked { promotion, incident, attempt }) = asked else { return Ok(Answerable::Nobody) };
    let case = Case::load(host, key, incident).await.map_err(|error| VisitError::Case(key.clone(), error))?;
    let answers = |case: &Case| {
        let mut attempts = case.state.attempts.iter();
        let is_it = |one: &Attempt| {
            one.promotion.as_ref() == Some(promotion)
                || policy_api::names::attempt_id(case.name(), one.number) == attempt
        };
        case.state.closed.is_none() || attempts.any(is_it)
    };
    if case.is_some_and(|case| answers(&case)) {
        return Ok(Answerable::Somebody);
    }
    let message =
        format!("no attempt of Incident `{incident}` is Promotion `{promotion}`, which carries its name");
    Ok(Answerable::Lost(Ending::new(Resolution::HandedOff, "Unclaimed", message)))
}
