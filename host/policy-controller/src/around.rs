//! What stands around a Stage: the Stages next to it, and what fails elsewhere.
//!
//! In: the stores. Out: values for the context. Nothing is read live: none of it decides whether anything is written.
//! Costs one pass over the Project's Stages and one over all Incidents, and copies only what is meant.

use policy_core::assemble;
use policy_core::fleet::{FleetSignals, LONG_WINDOW_SECONDS, Sighting};
use policy_core::snapshot::StageSnapshot;
use policy_core::time::Timestamp;

use crate::host::Host;
use crate::queue::StageKey;

/// Stages that the Stage gets Freight from or gives it to.
pub(crate) fn neighbours(host: &Host, stage: &StageSnapshot) -> Vec<StageSnapshot> {
    host.stores.with(|known| {
        let all = known.stages.values();
        all.filter(|other| assemble::is_neighbour(stage, other)).cloned().collect()
    })
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
