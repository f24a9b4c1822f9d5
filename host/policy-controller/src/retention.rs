//! Makes room: DecisionRecords beyond their bounds, Incidents that are long over, StageRecords of Stages that are gone.
//!
//! In: metadata of DecisionRecords, read page by page and never watched; Incidents and StageRecords from the stores.
//! Out: deletions of our own kinds, and how full each Project is. Which may go is `policy-core`'s word. A deletion that
//! fails is logged and tried at the next sweep. Nothing of Kargo is ever deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kube::api::{Api, DeleteParams, ListParams, PartialObjectMeta};
use kube::{Resource, ResourceExt};
use policy_api::crd::{DecisionRecord, Incident, StageRecord};
use policy_api::{convert, names};
use policy_core::name::{IncidentName, ProjectName};
use policy_core::retention::{
    self, KeptIncident, KeptRecord, MAX_CLUSTER_BYTES, MAX_PROJECT_BYTES, WARN_PERCENT,
};
use policy_core::time::Timestamp;
use serde::de::DeserializeOwned;

use crate::host::Host;

/// How often there is a sweep. Ten failures of one Stage within it leave ten records too many for that long.
pub const EVERY: Duration = Duration::from_secs(120);
/// Records are listed again after so many sweeps in which nothing was written and no incident ended: for what others have
/// written. Thousands of them are not listed every two minutes for nothing.
const QUIET_SWEEPS: u32 = 30;
/// Objects per page of a list.
const PAGE: u32 = 500;
/// What a record is taken to weigh that does not say so: what it may weigh at most.
const UNKNOWN_BYTES: u64 = 64 * 1024;

/// How full the DecisionRecords are, in percent of their bounds.
#[derive(Default)]
pub struct Fullness {
    percent: Mutex<BTreeMap<ProjectName, u64>>,
    n_written: AtomicU64,
}

impl Fullness {
    /// A record was written.
    pub fn written(&self) {
        self.n_written.fetch_add(1, Ordering::Relaxed);
    }

    /// Percent of the Project's bound or of the cluster's, whichever is fuller, when people should know.
    pub fn warning(&self, project: &ProjectName) -> Option<u64> {
        let percent = self.percent.lock().unwrap_or_else(PoisonError::into_inner);
        percent.get(project).copied().filter(|percent| *percent >= WARN_PERCENT)
    }

    /// All that people should know.
    pub fn warnings(&self) -> BTreeMap<ProjectName, u64> {
        let percent = self.percent.lock().unwrap_or_else(PoisonError::into_inner);
        let warned = percent.iter().filter(|(_, percent)| **percent >= WARN_PERCENT);
        warned.map(|(project, percent)| (project.clone(), *percent)).collect()
    }

    fn set(&self, records: &[KeptRecord]) -> u64 {
        let total = records.iter().fold(0_u64, |sum, record| sum.saturating_add(record.bytes));
        let of_cluster = retention::percent(total, MAX_CLUSTER_BYTES);
        let mut bytes: BTreeMap<ProjectName, u64> = BTreeMap::new();
        for record in records {
            let sum = bytes.entry(record.project.clone()).or_default();
            *sum = sum.saturating_add(record.bytes);
        }
        let percent = bytes
            .into_iter()
            .map(|(project, bytes)| (project, retention::percent(bytes, MAX_PROJECT_BYTES).max(of_cluster)));
        *self.percent.lock().unwrap_or_else(PoisonError::into_inner) = percent.collect();
        total
    }
}

/// Sweeps now and then, for ever.
pub async fn sweep_for_ever(host: &Host) {
    let mut quiet = Quiet::default();
    loop {
        tokio::time::sleep(EVERY).await;
        if let Err(error) = sweep(host, &mut quiet).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "no room made");
        }
    }
}

/// The last sweep that had no record to drop, and how many there were since that did not look.
#[derive(Default)]
struct Quiet {
    basis: Option<(u64, OpenIncidents)>,
    n_sweeps: u32,
}

impl Quiet {
    /// Whether records have to be looked at.
    fn ends(&mut self, now: &(u64, OpenIncidents)) -> bool {
        self.n_sweeps = self.n_sweeps.saturating_add(1);
        self.n_sweeps > QUIET_SWEEPS || self.basis.as_ref() != Some(now)
    }
}

/// Sweeps once.
///
/// # Errors
/// When the records cannot be listed. What was deleted before stays deleted.
async fn sweep(host: &Host, quiet: &mut Quiet) -> Result<(), kube::Error> {
    let now = (host.fullness.n_written.load(Ordering::Relaxed), open_incidents(host));
    if quiet.ends(&now) {
        let has_dropped = sweep_records(host, &now.1).await?;
        *quiet = Quiet { basis: (!has_dropped).then_some(now), n_sweeps: 0 };
    }
    for (project, name) in old_incidents(host) {
        delete::<Incident>(host, "incidents", &project, name.as_str()).await;
    }
    for (project, name) in records_of_nothing(host) {
        delete::<StageRecord>(host, "stagerecords", &project, &name).await;
    }
    Ok(())
}

/// Says whether there was one to drop: what could not be deleted is tried at the next sweep.
async fn sweep_records(host: &Host, open: &OpenIncidents) -> Result<bool, kube::Error> {
    let records = records(host).await?;
    let bytes = host.fullness.set(&records);
    host.metrics.record_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    let dropped = retention::records_to_drop(&records, open);
    for (project, name) in &dropped {
        delete::<DecisionRecord>(host, "decisionrecords", project, name).await;
    }
    Ok(!dropped.is_empty())
}

async fn records(host: &Host) -> Result<Vec<KeptRecord>, kube::Error> {
    let api: Api<DecisionRecord> = Api::all(host.requests.client().clone());
    let mut found = Vec::new();
    let mut page = ListParams::default().limit(PAGE);
    loop {
        host.metrics.request("list", "decisionrecords");
        let list = api.list_metadata(&page).await?;
        found.extend(list.items.iter().map(kept));
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(found),
        }
    }
}

fn kept(object: &PartialObjectMeta<DecisionRecord>) -> KeptRecord {
    let label = |key: &str| object.labels().get(key).cloned().unwrap_or_default();
    let bytes = object.annotations().get(names::BYTES).and_then(|bytes| bytes.parse().ok());
    KeptRecord {
        project: ProjectName::new(object.namespace().unwrap_or_default()),
        name: object.name_any(),
        stage: label(names::STAGE),
        incident: IncidentName::new(label(names::INCIDENT)),
        at: object.creation_timestamp().as_ref().map(convert::timestamp).unwrap_or_default(),
        bytes: bytes.unwrap_or(UNKNOWN_BYTES),
    }
}

type OpenIncidents = BTreeSet<(ProjectName, IncidentName)>;

fn open_incidents(host: &Host) -> OpenIncidents {
    host.stores.with(|known| {
        let all = known.incidents.iter().flat_map(|(key, all)| all.iter().map(move |one| (key, one)));
        let open = all.filter(|(_, (_, incident))| closed_at(incident).is_none());
        open.map(|(key, (name, _))| (key.project.clone(), IncidentName::new(name.as_str()))).collect()
    })
}

fn closed_at(incident: &Incident) -> Option<Timestamp> {
    Some(convert::timestamp(&incident.status.as_ref()?.closed.as_ref()?.at))
}

fn old_incidents(host: &Host) -> Vec<(ProjectName, IncidentName)> {
    let now = host.clock.now();
    host.stores.with(|known| {
        let of_stage = known.incidents.iter().flat_map(|(key, all)| {
            let all: Vec<_> = all
                .iter()
                .map(|(name, incident)| KeptIncident {
                    name: IncidentName::new(name.as_str()),
                    closed: closed_at(incident),
                })
                .collect();
            let old = retention::incidents_to_drop(&all, now);
            old.into_iter().map(|name| (key.project.clone(), name)).collect::<Vec<_>>()
        });
        of_stage.collect()
    })
}

/// StageRecords whose Stage does not exist any more. The stores hold every Stage there is, or the process would not
/// have begun to handle anything.
fn records_of_nothing(host: &Host) -> Vec<(ProjectName, String)> {
    host.stores.with(|known| {
        let stages: BTreeSet<(&ProjectName, &str)> =
            known.stages.iter().map(|(key, stage)| (&key.project, stage.uid.as_str())).collect();
        let records = known.stage_records.iter().flat_map(|(project, all)| {
            all.iter().map(move |(name, record)| (project, name, record.spec.stage_uid.as_str()))
        });
        records
            .filter(|(project, _, uid)| !stages.contains(&(*project, *uid)))
            .map(|(project, name, _)| (project.clone(), name.clone()))
            .collect()
    })
}

async fn delete<K>(host: &Host, plural: &'static str, project: &ProjectName, name: &str)
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(host.requests.client().clone(), project.as_str());
    host.metrics.request("delete", plural);
    match api.delete(name, &DeleteParams::default()).await {
        Ok(_) => tracing::info!(%project, name, plural, "deleted to make room"),
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        Err(error) => {
            tracing::warn!(%project, name, plural, error = &error as &dyn std::error::Error, "not deleted");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of these sweeps look at records; none has one to drop.
    fn looks(sweeps: impl IntoIterator<Item = (u64, OpenIncidents)>) -> usize {
        let mut quiet = Quiet::default();
        let look = |now: &(u64, OpenIncidents)| {
            let ends = quiet.ends(now);
            if ends {
                quiet = Quiet { basis: Some(now.clone()), n_sweeps: 0 };
            }
            ends
        };
        sweeps.into_iter().filter(look).count()
    }

    #[test]
    fn records_are_looked_at_when_something_has_changed_and_once_an_hour() {
        let open = OpenIncidents::from([(ProjectName::new("shop"), IncidentName::new("prod-1"))]);
        let none = OpenIncidents::new();
        assert_eq!(looks([(0, none.clone()), (0, none.clone()), (0, none.clone())]), 1);
        assert_eq!(
            looks([(0, open.clone()), (1, open.clone()), (1, open.clone())]),
            2,
            "a record was written"
        );
        assert_eq!(looks([(1, open), (1, none.clone()), (1, none.clone())]), 2, "an incident has ended");
        assert_eq!(
            looks(std::iter::repeat_n((0, none), 62)),
            2,
            "the second after {QUIET_SWEEPS} quiet ones"
        );
    }
}
