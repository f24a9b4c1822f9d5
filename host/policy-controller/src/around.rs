//! What stands around a Stage: the Stages next to it, what Argo CD says of it, and what fails elsewhere.
//!
//! In: the stores, and Argo CD's Applications. Out: values for the context. None of it decides whether anything is
//! written. Costs one pass over the Project's Stages and one over all Incidents, and copies only what is meant.

use std::sync::Arc;

use policy_api::kargo;
use policy_core::assemble;
use policy_core::failure::Failure;
use policy_core::fleet::{FleetSignals, LONG_WINDOW_SECONDS, Sighting};
use policy_core::snapshot::{ApplicationSnapshot, PromotionSnapshot, StageSnapshot};
use policy_core::time::Timestamp;

use crate::host::Host;
use crate::queue::StageKey;
use crate::scene::Scene;

/// Stages that the Stage gets Freight from or gives it to.
pub(crate) fn neighbours(host: &Host, stage: &StageSnapshot) -> Vec<Arc<StageSnapshot>> {
    let mut all = host.stores.stages_of(&stage.project);
    all.retain(|other| assemble::is_neighbour(stage, other));
    all
}

/// Argo CD Applications that the Stage may change. What cannot be read is named and no more: no decision waits for it.
pub(crate) async fn applications(host: &Host, scene: &Scene, failure: &Failure) -> Vec<ApplicationSnapshot> {
    let Some(argocd) = &host.argocd else { return Vec::new() };
    let is_it = |promotion: &&PromotionSnapshot| failure.promotion.as_ref() == Some(&promotion.name);
    let promotion = scene.promotions.iter().find(is_it);
    let mut applications = Vec::new();
    for is in assemble::application_refs(&scene.stage, promotion, argocd) {
        let read: Result<Option<kargo::Application>, _> = host.requests.application(&is).await;
        let read = read.inspect_err(|error| {
            tracing::warn!(error = error as &dyn std::error::Error, "Application left out");
        });
        let says = read.ok().flatten().and_then(|application| application.says_to(&scene.stage));
        applications.push(ApplicationSnapshot { is, says });
    }
    applications
}

/// Failures of the last hour that a decision has read, with the rule that read them.
pub(crate) fn fleet(host: &Host, now: Timestamp) -> FleetSignals {
    let since = now.minus(LONG_WINDOW_SECONDS);
    let sighting = |key: &StageKey, incident: &policy_api::crd::Incident| {
        let status = incident.status.as_ref()?;
        let failure = status.current.as_ref().unwrap_or(&incident.spec.failure);
        let at = failure.at.as_ref().map(policy_api::convert::timestamp).filter(|at| *at >= since)?;
        let rule = status.rule.clone()?;
        Some(Sighting { project: key.project.clone(), stage: key.stage.clone(), rule, at })
    };
    host.stores.with(|known| {
        let all = known.incidents.iter().flat_map(|(key, all)| all.values().map(move |one| (key, one)));
        FleetSignals { sightings: all.filter_map(|(key, incident)| sighting(key, incident)).collect() }
    })
}
