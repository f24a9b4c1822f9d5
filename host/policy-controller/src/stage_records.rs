//! StageRecords of the cluster: what a Stage's memory is kept in.
//!
//! In: the stores, and what a decision's calls came to. Out: StageRecords, written only when they would differ, and
//! which policies of a chain are disabled (G23). What a memory holds is `policy-core`'s word; here it is read and kept.
//! A lost race is no error: whoever was quicker has woken the Stage again.

use kube::ResourceExt;
use kube::api::{Api, PostParams};
use policy_api::crd::StageRecord;
use policy_api::{names, stage_record};
use policy_core::guardrails::g23_guest_fault::{self, CallEnd, Called, FaultTally};
use policy_core::guest_fault::GuestFault;
use policy_core::name::ProjectName;
use policy_core::snapshot::StageSnapshot;
use policy_core::stage_memory::StageMemory;
use policy_core::time::Timestamp;

use crate::host::Host;
use crate::policies::ChainPolicy;
use crate::queue::StageKey;
use crate::scene;

/// How often a write that lost its race is tried with what the winner wrote.
const TRIES: usize = 4;

/// A StageRecord could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("failed to {operation} StageRecord {project}/{name}")]
pub struct StageRecordError {
    operation: &'static str,
    project: ProjectName,
    name: String,
    source: kube::Error,
}

/// What is remembered of a Stage, as far as the watch knows.
pub fn remembered(host: &Host, key: &StageKey, stage: &StageSnapshot) -> StageMemory {
    known(host, key, stage).map(|record| stage_record::memory(&record)).unwrap_or_default()
}

/// Looks at a Stage as the stores have it, and keeps what is new about it. Costs no request when nothing is.
///
/// # Errors
/// When the API server does not take it.
pub async fn keep(host: &Host, key: &StageKey) -> Result<(), StageRecordError> {
    let (stage, promotions) = host.stores.with(|known| {
        let promotions = known.promotions.get(key).map(|all| all.values().cloned().collect::<Vec<_>>());
        (known.stages.get(key).cloned(), promotions.unwrap_or_default())
    });
    let Some(stage) = stage.filter(|stage| stage.has_steps && !stage.deleting) else { return Ok(()) };
    let now = host.clock.now();
    let seen: Vec<_> = promotions.iter().filter_map(scene::delivery_of).collect();
    change(host, key, &stage, |memory| memory.after_look(&stage, &promotions, &seen, now)).await
}

/// Why each entry of a chain is disabled in this Project; `None` for those that may be asked.
pub fn disabled(host: &Host, project: &ProjectName, chain: &[ChainPolicy]) -> Vec<Option<GuestFault>> {
    let all = tallies(host, project, None);
    chain.iter().map(|entry| g23_guest_fault::disabled(all.iter(), &called(entry))).collect()
}

/// How one call of a guest ended.
pub struct Ended<'a> {
    /// What was called.
    pub entry: &'a ChainPolicy,
    /// How it ended.
    pub end: CallEnd,
    /// The fault, for people.
    pub message: String,
}

/// Remembers how the calls of one decision ended.
///
/// # Errors
/// When the API server does not take it.
pub async fn count(
    host: &Host,
    key: &StageKey,
    stage: &StageSnapshot,
    calls: &[Ended<'_>],
) -> Result<(), StageRecordError> {
    let now = host.clock.now();
    let own = names::stage_record_name(&stage.name, &stage.uid);
    let others = tallies(host, &key.project, Some(&own));
    change(host, key, stage, |memory| {
        let faults =
            calls.iter().fold(memory.faults.clone(), |faults, call| after(&faults, &others, call, now));
        StageMemory { faults, ..memory.clone() }
    })
    .await
}

fn after(own: &[FaultTally], others: &[FaultTally], call: &Ended<'_>, now: Timestamp) -> Vec<FaultTally> {
    let message = policy_core::explain::line(&call.message);
    g23_guest_fault::after(own, others, &called(call.entry), call.end, now, &message)
}

fn called(entry: &ChainPolicy) -> Called {
    let settings = serde_json::to_vec(&entry.settings).unwrap_or_default();
    Called { digest: entry.digest.to_string(), settings: policy_source::digest(&settings).to_string() }
}

/// Tallies of every Stage of a Project, but for the record named `except`.
fn tallies(host: &Host, project: &ProjectName, except: Option<&str>) -> Vec<FaultTally> {
    host.stores.with(|known| {
        let records = known.stage_records.get(project).into_iter().flatten();
        let records = records.filter(|(name, _)| Some(name.as_str()) != except);
        records.flat_map(|(_, record)| stage_record::memory(record).faults).collect()
    })
}

fn known(host: &Host, key: &StageKey, stage: &StageSnapshot) -> Option<StageRecord> {
    let name = names::stage_record_name(&stage.name, &stage.uid);
    host.stores.with(|known| {
        known.stage_records.get(&key.project)?.get(&name).map(|record| StageRecord::clone(record))
    })
}

/// Changes a Stage's memory by a guarded update. The stores may lag: who loses the race reads live and tries again.
async fn change(
    host: &Host,
    key: &StageKey,
    stage: &StageSnapshot,
    change: impl Fn(&StageMemory) -> StageMemory,
) -> Result<(), StageRecordError> {
    let api: Api<StageRecord> = Api::namespaced(host.requests.client().clone(), key.project.as_str());
    let mut record = known(host, key, stage);
    for _ in 0..TRIES {
        let memory = record.as_ref().map(stage_record::memory).unwrap_or_default();
        let changed = change(&memory);
        if changed == memory {
            return Ok(());
        }
        let mut object = match record.take() {
            Some(record) => record,
            None => created(host, key, &api, stage).await?,
        };
        // Somebody else may have created it with a memory of its own: what was computed from nothing does not count.
        if object.status.as_ref().is_some_and(|status| *status != stage_record::status(&memory)) {
            record = Some(object);
            continue;
        }
        object.status = Some(stage_record::status(&changed));
        let name = object.name_any();
        host.metrics.request("update", "stagerecords");
        match api.replace_status(&name, &PostParams::default(), &object).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 || status.code == 404 => {
                host.metrics.request("get", "stagerecords");
                let live = api.get_opt(&name).await;
                record = live.map_err(|source| error("read", key, &name, source))?;
            }
            Err(source) => return Err(error("update", key, &name, source)),
        }
    }
    tracing::debug!(stage = %key, "the StageRecord is written by somebody else again and again");
    Ok(())
}

/// Creates the record, or reads the one that is there already.
async fn created(
    host: &Host,
    key: &StageKey,
    api: &Api<StageRecord>,
    stage: &StageSnapshot,
) -> Result<StageRecord, StageRecordError> {
    let object = stage_record::object(stage);
    let name = object.name_any();
    host.metrics.request("create", "stagerecords");
    match api.create(&PostParams::default(), &object).await {
        Ok(object) => Ok(object),
        Err(kube::Error::Api(status)) if status.code == 409 => {
            host.metrics.request("get", "stagerecords");
            api.get(&name).await.map_err(|source| error("read", key, &name, source))
        }
        Err(source) => Err(error("create", key, &name, source)),
    }
}

fn error(operation: &'static str, key: &StageKey, name: &str, source: kube::Error) -> StageRecordError {
    StageRecordError { operation, project: key.project.clone(), name: name.to_owned(), source }
}
