//! DecisionRecords: built from a decision, read back from an object or a file, enough to make the decision again.
//!
//! In: a [`Record`]. Out: the object, and the same [`Record`] from the object. What is too large is left out and
//! marked, never a reason to fail: an incident must not end because somebody wrote a long message.
//! Same record, same bytes: nothing here looks at a clock.

use std::io::{Read, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use policy_core::context::{Context, Mode};
use policy_core::decision::Decision;
use policy_core::guest_fault::{GuestFault, GuestFaultKind};
use policy_core::name::IncidentName;
use policy_core::write::{ActionVerdict, Write};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::convert::{case_of, cut, text_of};
use crate::crd::decision_record::{DecisionRecord, DecisionRecordSpec, EntryRecord, FaultRecord};
use crate::crd::policy_body;

/// Longest compressed context in an object, as base64 (product.md 5).
pub const MAX_STORED_CONTEXT: usize = 64 * 1024;
/// Longest context in JSON that is read back: far above what a context may be, far below what hurts.
const MAX_CONTEXT: u64 = 16 * 1024 * 1024;
/// Longest answer of one entry in an object.
const MAX_ANSWER: usize = 128 * 1024;
/// Longest answers and settings of all entries together, the decision included. With the context, verdicts and planned
/// writes the object stays well below the 1.5 MiB that etcd takes.
const MAX_ANSWERS: usize = 512 * 1024;

/// One decision with everything that it takes to make it again.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The Incident.
    pub incident: IncidentName,
    /// 1 for the incident's first decision.
    pub number: u32,
    /// How far the host went.
    pub mode: Mode,
    /// What the engine was.
    pub engine_id: String,
    /// The context without what differs between entries: settings and state are those of [`Record::entries`].
    /// `None` when it was read back from a record that had no room for it.
    pub context: Option<Context>,
    /// What each entry of the chain was given and said.
    pub entries: Vec<EntryRecord>,
    /// What the chain came to.
    pub decision: Option<Decision>,
    /// How a guest failed, and which chain entry.
    pub fault: Option<(String, GuestFault)>,
    /// What the guardrails said.
    pub verdicts: Vec<ActionVerdict>,
    /// What was to be written.
    pub writes: Vec<Write>,
    /// Fields that did not fit.
    pub truncated: Vec<String>,
}

/// A record that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Not a DecisionRecord at all.
    #[error("failed to read the DecisionRecord at `{path}`")]
    Parse {
        /// Where in the text.
        path: String,
        /// Why.
        source: serde_json::Error,
    },
    /// Not YAML.
    #[error("failed to read the DecisionRecord as YAML")]
    Yaml {
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A field holds something that this version does not know.
    #[error("`{field}` of the DecisionRecord is not what this version can read")]
    Field {
        /// Which one.
        field: &'static str,
    },
    /// The stored context is not the one that the digest was taken of.
    #[error("the context in the DecisionRecord has digest `{found}`, and the record says `{expected}`")]
    Digest {
        /// What the record says.
        expected: String,
        /// What it has.
        found: String,
    },
}

impl Record {
    /// The object: named, in the context's Project, labelled with the Incident and the Stage.
    pub fn to_object(&self) -> DecisionRecord {
        let stage = self.context.as_ref().map(|context| context.stage.name.clone()).unwrap_or_default();
        let project = self.context.as_ref().map(|context| context.project.name.clone());
        let mut room = Room { left: MAX_ANSWERS, truncated: self.truncated.clone() };
        let (context_gz, context_digest) = match &self.context {
            Some(context) => stored(context, &mut room.truncated),
            None => (String::new(), String::new()),
        };
        let spec = DecisionRecordSpec {
            incident: self.incident.as_str().to_owned(),
            stage: stage.clone(),
            number: self.number,
            mode: policy_body::Mode::from_core(self.mode),
            engine_id: cut(&self.engine_id, 128),
            context_gz,
            context_digest,
            decision: self.decision.as_ref().and_then(|decision| room.take("decision", json(decision))),
            entries: self.entries.iter().take(8).map(|entry| entry_of(entry, &mut room)).collect(),
            explanation: self.decision.as_ref().map(|d| cut(&d.explanation, 2048)).unwrap_or_default(),
            fault: self.fault.as_ref().map(|(entry, fault)| fault_record(entry, fault)),
            verdicts: self.verdicts.iter().take(64).map(value).collect(),
            planned_writes: self.writes.iter().take(64).map(value).collect(),
            truncated: room.truncated,
        };
        let stage = policy_core::name::StageName::new(stage);
        let name = crate::names::record_name(&self.incident, &stage, self.number);
        let mut object = DecisionRecord::new(&name, spec);
        object.metadata.namespace = project;
        let labels = object.metadata.labels.get_or_insert_default();
        labels.insert(crate::names::INCIDENT.to_owned(), self.incident.as_str().to_owned());
        labels.insert(crate::names::STAGE.to_owned(), crate::names::label_value(stage.as_str()));
        object
    }

    /// What an object says.
    ///
    /// # Errors
    /// When a field cannot be read, or the context is not the one that the digest was taken of.
    pub fn from_object(object: &DecisionRecord) -> Result<Self, RecordError> {
        let spec = &object.spec;
        Ok(Self {
            incident: spec.incident.as_str().into(),
            number: spec.number,
            mode: spec.mode.to_core(),
            engine_id: spec.engine_id.clone(),
            context: read_context(spec)?,
            entries: spec.entries.clone(),
            decision: spec.decision.as_deref().map(|text| parse("decision", text)).transpose()?,
            fault: spec.fault.as_ref().map(read_fault).transpose()?,
            verdicts: list("verdicts", &spec.verdicts)?,
            writes: list("plannedWrites", &spec.planned_writes)?,
            truncated: spec.truncated.clone(),
        })
    }

    /// What a file says: the object as `kubectl get -o yaml` or `-o json` prints it.
    ///
    /// # Errors
    /// As [`Record::from_object`], and when the text is no such object.
    pub fn from_text(text: &str) -> Result<Self, RecordError> {
        let value: Value =
            serde_saphyr::from_str(text).map_err(|source| RecordError::Yaml { source: source.into() })?;
        let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default();
        if kind != "DecisionRecord" {
            return Err(RecordError::Field { field: "kind" });
        }
        let object: DecisionRecord = serde_json::from_value(value)
            .map_err(|source| RecordError::Parse { path: "spec".to_owned(), source })?;
        Self::from_object(&object)
    }

    /// The context as one entry of the chain saw it: with its own settings and state.
    pub fn context_of(&self, entry: &EntryRecord) -> Option<Context> {
        let mut context = self.context.clone()?;
        context.state.clone_from(&entry.state);
        if !entry.settings.is_empty() {
            context.settings = serde_json::from_str(&entry.settings).ok()?;
        }
        Some(context)
    }
}

/// SHA-256 over the context's JSON, as `sha256:` and 64 hexadecimal digits.
pub fn context_digest(context: &Context) -> String {
    digest(json(context).as_bytes())
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// Field order is that of the types, so equal values give equal text.
fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn value<T: serde::Serialize>(from: &T) -> Value {
    serde_json::to_value(from).unwrap_or_default()
}

fn stored(context: &Context, truncated: &mut Vec<String>) -> (String, String) {
    let json = json(context);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
    // Writing into memory does not fail; if it did, the record would say that it has no context.
    let packed = encoder.write_all(json.as_bytes()).and_then(|()| encoder.finish()).unwrap_or_default();
    let text = STANDARD.encode(packed);
    let digest = digest(json.as_bytes());
    if text.len() <= MAX_STORED_CONTEXT {
        return (text, digest);
    }
    truncated.push("context".to_owned());
    (String::new(), digest)
}

/// What is left of an object's room, and what did not fit into it.
struct Room {
    left: usize,
    truncated: Vec<String>,
}

impl Room {
    /// A text that fits; one that does not is left out and named.
    fn take(&mut self, field: &str, text: String) -> Option<String> {
        if text.len() <= MAX_ANSWER && text.len() <= self.left {
            self.left -= text.len();
            return Some(text);
        }
        self.truncated.push(field.to_owned());
        None
    }
}

fn entry_of(entry: &EntryRecord, room: &mut Room) -> EntryRecord {
    let mut entry = entry.clone();
    let name = cut(&entry.name, 32);
    let answer = entry.answer.take();
    entry.answer = answer.and_then(|answer| room.take(&format!("entries.{name}.answer"), answer));
    if entry.settings.len() > 32 * 1024 {
        room.truncated.push(format!("entries.{name}.settings"));
        entry.settings.clear();
    }
    entry
}

fn fault_record(entry: &str, fault: &GuestFault) -> FaultRecord {
    FaultRecord {
        entry: cut(entry, 63),
        kind: fault.kind.text().to_owned(),
        message: cut(&fault.message, 2048),
        reproducible: fault.reproducible,
        log: fault.log.iter().rev().take(64).rev().map(|line| cut(line, 1024)).collect(),
    }
}

fn read_fault(record: &FaultRecord) -> Result<(String, GuestFault), RecordError> {
    let kind: GuestFaultKind = case_of(&record.kind).ok_or(RecordError::Field { field: "fault.kind" })?;
    debug_assert_eq!(text_of(&kind), kind.text());
    let fault = GuestFault {
        kind,
        message: record.message.clone(),
        reproducible: record.reproducible,
        log: record.log.clone(),
    };
    Ok((record.entry.clone(), fault))
}

fn read_context(spec: &DecisionRecordSpec) -> Result<Option<Context>, RecordError> {
    if spec.context_gz.is_empty() {
        return Ok(None);
    }
    let unreadable = || RecordError::Field { field: "contextGz" };
    let packed = STANDARD.decode(&spec.context_gz).map_err(|_| unreadable())?;
    let mut json = String::new();
    GzDecoder::new(packed.as_slice())
        .take(MAX_CONTEXT)
        .read_to_string(&mut json)
        .map_err(|_| unreadable())?;
    let found = digest(json.as_bytes());
    if found != spec.context_digest {
        return Err(RecordError::Digest { expected: cut(&spec.context_digest, 80), found });
    }
    parse("context", &json).map(Some)
}

fn parse<T: serde::de::DeserializeOwned>(path: &str, text: &str) -> Result<T, RecordError> {
    serde_json::from_str(text).map_err(|source| RecordError::Parse { path: path.to_owned(), source })
}

fn list<T: serde::de::DeserializeOwned>(path: &str, values: &[Value]) -> Result<Vec<T>, RecordError> {
    let read = |(index, value): (usize, &Value)| {
        serde_json::from_value(value.clone())
            .map_err(|source| RecordError::Parse { path: format!("{path}.{index}"), source })
    };
    values.iter().enumerate().map(read).collect()
}
