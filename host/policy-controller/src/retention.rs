//! Makes room: DecisionRecords beyond their bounds, Incidents that are long over, StageRecords of Stages that are gone.
//!
//! In: metadata of DecisionRecords, read page by page and never watched; Incidents and StageRecords from the stores.
//! Out: deletions of our own kinds, and how full each Project is. Which may go is `policy-core`'s word. A deletion that
//! fails is logged and tried at the next sweep. Nothing of Kargo is ever deleted.

use std::collections::{BTreeMap, BTreeSet};
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
/// Objects per page of a list.
const PAGE: u32 = 500;
/// What a record is taken to weigh that does not say so: what it may weigh at most.
const UNKNOWN_BYTES: u64 = 64 * 1024;

/// How full the DecisionRecords are, in percent of their bounds.
#[derive(Default)]
pub struct Fullness {
    percent: Mutex<BTreeMap<ProjectName, u64>>,
}

impl Fullness {
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
    loop {
        tokio::time::sleep(EVERY).await;
        if let Err(error) = sweep(host).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "no room made");
        }
    }
}

/// Sweeps once.
///
/// # Errors
/// When the records cannot be listed. What was deleted before stays deleted.
pub async fn sweep(host: &Host) -> Result<(), kube::Error> {
    let records = records(host).await?;
    let bytes = host.fullness.set(&records);
    host.metrics.record_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    let open = open_incidents(host);
    for (project, name) in retention::records_to_drop(&records, &open) {
        delete::<DecisionRecord>(host, "decisionrecords", &project, &name).await;
    }
    for (project, name) in old_incidents(host) {
        delete::<Incident>(host, "incidents", &project, name.as_str()).await;
    }
    for (project, name) in records_of_nothing(host) {
        delete::<StageRecord>(host, "stagerecords", &project, &name).await;
    }
    Ok(())
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

fn open_incidents(host: &Host) -> BTreeSet<(ProjectName, IncidentName)> {
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
