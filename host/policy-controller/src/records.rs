//! DecisionRecords of the cluster: written before anything refers to them, read back when a delivery is due.
//!
//! In: a decision with everything around it. Out: the object's name and number.
//! A record whose Incident never came to refer to it is harmless; its number is simply skipped.

use kube::api::{Api, PostParams};
use policy_api::crd::DecisionRecord;
use policy_api::crd::decision_record::{EntryRecord, Said as SaidWord};
use policy_api::names::BYTES;
use policy_api::record::{self, Record};
use policy_core::chain::{End, Word};
use policy_core::context::{Context, Mode};
use policy_core::plan::Planned;

use crate::case::Case;
use crate::decide::Asked;
use crate::host::Host;
use crate::policies::{ChainPolicy, Ruling};
use crate::queue::StageKey;

/// Numbers that are tried before giving up: a crash leaves at most one record behind.
const MAX_SKIPPED: u32 = 16;

/// A decision that is to be recorded.
pub struct Decided<'a> {
    /// Who was asked.
    pub ruling: &'a Ruling,
    /// What they were told.
    pub context: &'a Context,
    /// What they said.
    pub asked: &'a Asked,
    /// What came of it.
    pub planned: &'a Planned,
    /// How far the host goes.
    pub mode: Mode,
}

/// A record could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The API server refused or did not answer.
    #[error("failed to {operation} DecisionRecord {project}/{name}")]
    Request {
        /// What was tried.
        operation: &'static str,
        /// The Project.
        project: String,
        /// The record.
        name: String,
        /// Why.
        source: kube::Error,
    },
    /// What it says cannot be used.
    #[error("failed to understand DecisionRecord {project}/{name}")]
    Read {
        /// The Project.
        project: String,
        /// The record.
        name: String,
        /// Why.
        source: record::RecordError,
    },
    /// It has no context: it was too large to be kept.
    #[error("DecisionRecord {project}/{name} holds no context")]
    NoContext {
        /// The Project.
        project: String,
        /// The record.
        name: String,
    },
    /// Every number that was tried is taken.
    #[error("no free number for a DecisionRecord of Incident {project}/{incident}")]
    NoNumber {
        /// The Project.
        project: String,
        /// The Incident.
        incident: String,
    },
}

impl RecordError {
    /// Whether no further decision of this incident can be kept.
    pub fn is_for_ever(&self) -> bool {
        matches!(self, Self::NoNumber { .. })
    }

    /// Whether trying again cannot help: the record is gone, or holds what no version of ours has written.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Request { source: kube::Error::Api(status), .. } => status.code == 404,
            Self::Request { .. } | Self::NoNumber { .. } => false,
            Self::Read { .. } | Self::NoContext { .. } => true,
        }
    }
}

/// Writes the record of a decision and gives its name and number.
///
/// # Errors
/// When the API server does not take it.
pub async fn write(
    host: &Host,
    key: &StageKey,
    case: &Case,
    decided: &Decided<'_>,
) -> Result<(String, u32), RecordError> {
    let first = case.state.n_decisions.saturating_add(1);
    let mut record = record_of(host, case, decided, first);
    for number in first..first.saturating_add(MAX_SKIPPED) {
        record.number = number;
        let mut object = record.to_object();
        let bytes = serde_json::to_vec(&object).map_or(0, |bytes| bytes.len());
        object.metadata.annotations.get_or_insert_default().insert(BYTES.to_owned(), bytes.to_string());
        object.metadata.owner_references = case.owner().map(|owner| vec![owner]);
        let name = object.metadata.name.clone().unwrap_or_default();
        host.metrics.request("create", "decisionrecords");
        match api(host, key).create(&PostParams::default(), &object).await {
            Ok(_) => {
                host.fullness.written();
                return Ok((name, number));
            }
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(source) => {
                let project = key.project.to_string();
                return Err(RecordError::Request { operation: "create", project, name, source });
            }
        }
    }
    Err(RecordError::NoNumber { project: key.project.to_string(), incident: case.name().to_string() })
}

/// The context of a record, as the policies saw it.
///
/// # Errors
/// When it cannot be read or holds none.
pub async fn context(host: &Host, key: &StageKey, name: &str) -> Result<Context, RecordError> {
    let project = key.project.to_string();
    host.metrics.request("get", "decisionrecords");
    let object = api(host, key).get(name).await.map_err(|source| RecordError::Request {
        operation: "read",
        project: project.clone(),
        name: name.to_owned(),
        source,
    })?;
    let read = Record::from_object(&object);
    let record =
        read.map_err(|source| RecordError::Read { project: project.clone(), name: name.to_owned(), source })?;
    record.context.ok_or_else(|| RecordError::NoContext { project, name: name.to_owned() })
}

fn record_of(host: &Host, case: &Case, decided: &Decided<'_>, number: u32) -> Record {
    let chain = &decided.ruling.chain;
    let said = &decided.asked.run.said;
    let entries = chain.iter().zip(said).enumerate().map(|(position, (entry, said))| {
        let state = case.state.states.get(position).cloned().flatten();
        let call = decided.asked.calls.get(position).and_then(Option::as_ref);
        entry_record(entry, &said.word, state, call.map(|call| call.fuel_used))
    });
    let (decision, fault) = match &decided.asked.run.end {
        End::Decided(decision) => (Some(decision.clone()), None),
        End::NoOpinion => (None, None),
        End::Fault { entry, fault } => {
            let name = chain.get(*entry).map(|entry| entry.name.clone()).unwrap_or_default();
            (None, Some((name, fault.clone())))
        }
    };
    Record {
        incident: case.name().clone(),
        number,
        mode: decided.mode,
        engine_id: host.policies.modules.engine_id(),
        context: Some(decided.context.clone()),
        entries: entries.collect(),
        decision,
        fault,
        verdicts: decided.planned.verdicts.clone(),
        writes: decided.planned.writes.clone(),
        truncated: Vec::new(),
    }
}

fn entry_record(entry: &ChainPolicy, word: &Word, state: Option<String>, fuel: Option<u64>) -> EntryRecord {
    let json = |answer| serde_json::to_string(answer).ok();
    let (said, answer) = match word {
        Word::Decided(decision) => {
            (SaidWord::Decision, json(&policy_core::decision::Answer::Decide(decision.clone())))
        }
        Word::Pass => (SaidWord::Pass, json(&policy_core::decision::Answer::Pass)),
        Word::Fault(_) => (SaidWord::Fault, None),
        Word::Skipped(_) => (SaidWord::Skipped, None),
    };
    EntryRecord {
        name: entry.name.clone(),
        module: entry.module.clone(),
        policy: entry.title.clone(),
        digest: entry.digest.to_string(),
        settings: serde_json::to_string(&entry.settings).unwrap_or_default(),
        state,
        said,
        answer,
        fuel: fuel.map(|fuel| fuel.to_string()).unwrap_or_default(),
    }
}

fn api(host: &Host, key: &StageKey) -> Api<DecisionRecord> {
    Api::namespaced(host.requests.client().clone(), key.project.as_str())
}
