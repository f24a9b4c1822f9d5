//! Kubernetes Events about Stages and policies: how people hear of things without any other tool.
//!
//! In: an object, a reason word, a text, a key. Out: one core/v1 Event per key: its name is made of the key, so that a
//! repeat after a crash finds it there. kube's own Recorder reads the clock and aggregates in memory, which a replay
//! could not follow.
//! Kargo's API lists Events whose object is of its own group (`pkg/server/list_project_events.go`), so these appear
//! beside Kargo's.

use jiff::Timestamp as Wall;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Api, PostParams};
use policy_api::names::CHANNEL;
use policy_core::name::ProjectName;
use policy_core::time::Timestamp;
use sha2::{Digest as _, Sha256};

/// Longest note of an Event that the API server takes.
const MAX_NOTE_BYTES: usize = 1024;

/// How loud an Event is: Kubernetes knows two kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loudness {
    /// Good to know.
    Normal,
    /// Somebody should look.
    Warning,
}

/// What an Event is about.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// `group/version` of the object.
    pub api_version: &'a str,
    /// Its kind.
    pub kind: &'a str,
    /// Its Project; `None` for what belongs to the whole cluster.
    pub project: Option<&'a ProjectName>,
    /// Its name.
    pub name: &'a str,
    /// Its uid.
    pub uid: &'a str,
}

/// One Event to write.
#[derive(Clone, Copy, Debug)]
pub struct Note<'a> {
    /// What it is about.
    pub about: About<'a>,
    /// Events with the same key are written once.
    pub key: &'a str,
    /// One CamelCase word.
    pub reason: &'a str,
    /// How loud.
    pub loudness: Loudness,
    /// The text.
    pub text: &'a str,
    /// The channel that it is a message for; `None` for all of them.
    pub channel: Option<&'a str>,
    /// The time that it carries.
    pub now: Timestamp,
}

/// An Event could not be written.
#[derive(Debug, thiserror::Error)]
#[error("failed to create Event `{reason}` on {object}")]
pub struct EventError {
    reason: String,
    object: String,
    source: kube::Error,
}

impl EventError {
    /// Whether the API server said no, and would say it again.
    pub fn is_refused(&self) -> bool {
        matches!(&self.source, kube::Error::Api(status) if (400..500).contains(&status.code) && status.code != 429)
    }
}

/// Writes an Event, once per key.
///
/// # Errors
/// When the API server does not take it. That it exists already is no error.
pub async fn write(client: &kube::Client, note: &Note<'_>) -> Result<(), EventError> {
    let api: Api<Event> = Api::namespaced(client.clone(), namespace(note));
    match api.create(&PostParams::default(), &event(note)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(source) => {
            let object = format!("{} {}/{}", note.about.kind, namespace(note), note.about.name);
            Err(EventError { reason: note.reason.to_owned(), object, source })
        }
    }
}

/// Where the Event lives: Kubernetes takes those about cluster-wide objects in `default` only.
fn namespace<'a>(note: &Note<'a>) -> &'a str {
    note.about.project.map_or("default", ProjectName::as_str)
}

fn event(note: &Note<'_>) -> Event {
    let time = Wall::from_second(i64::from(note.now.0)).ok().map(Time);
    Event {
        metadata: ObjectMeta {
            name: Some(name(note)),
            namespace: Some(namespace(note).to_owned()),
            annotations: note.channel.map(|name| [(CHANNEL.to_owned(), name.to_owned())].into()),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some(note.about.api_version.to_owned()),
            kind: Some(note.about.kind.to_owned()),
            name: Some(note.about.name.to_owned()),
            namespace: note.about.project.map(ToString::to_string),
            uid: Some(note.about.uid.to_owned()),
            ..ObjectReference::default()
        },
        type_: Some(match note.loudness {
            Loudness::Normal => "Normal".to_owned(),
            Loudness::Warning => "Warning".to_owned(),
        }),
        reason: Some(note.reason.to_owned()),
        message: Some(policy_core::redact::shown(note.text, MAX_NOTE_BYTES)),
        source: Some(EventSource { component: Some("refloat".to_owned()), host: None }),
        first_timestamp: time.clone(),
        last_timestamp: time,
        count: Some(1),
        ..Event::default()
    }
}

fn name(note: &Note<'_>) -> String {
    let digest = hex::encode(Sha256::digest(format!("{}\n{}\n{}", note.about.uid, note.reason, note.key)));
    let short: String = digest.chars().take(16).collect();
    let name: String = note.about.name.chars().take(40).collect();
    format!("{}.refloat-{short}", name.trim_end_matches(['-', '.']))
}
