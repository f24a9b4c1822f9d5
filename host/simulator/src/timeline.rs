//! The timeline: what an onlooker of the cluster would write down.
//!
//! In: feeds of the objects of Kargo and of Refloat. Out: [`Entry`]s: when, who, what. It shows what stands in objects,
//! never what the controller or the model think.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use kube::api::ApiResource;
use kube::core::GroupVersionKind;
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

use crate::feed::{self, Feed, News};
use crate::names::FreightNames;

/// One line of the timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Milliseconds since the scenario began.
    pub at_milliseconds: u64,
    /// Who: `alice`, `kargo`, `refloat`.
    pub who: String,
    /// What.
    pub what: String,
}

/// Collects entries. Clones write into the same timeline.
#[derive(Clone, Debug)]
pub struct Recorder {
    began: Instant,
    entries: Arc<Mutex<Vec<Entry>>>,
}

impl Recorder {
    /// A timeline that begins now.
    pub fn new() -> Self {
        Self { began: Instant::now(), entries: Arc::default() }
    }

    /// Writes an entry.
    pub fn note(&self, who: impl Into<String>, what: impl Into<String>) {
        let at = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let entry = Entry { at_milliseconds: at, who: who.into(), what: what.into() };
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
    }

    /// How long it has gone on.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// When it began.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// Everything so far.
    pub fn entries(&self) -> Vec<Entry> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}

/// Characters of an entry.
const LONGEST: usize = 200;

/// Kinds that are watched: group, version, kind.
const WATCHED: [(&str, &str, &str); 6] = [
    ("kargo.akuity.io", "v1alpha1", "Freight"),
    ("kargo.akuity.io", "v1alpha1", "Promotion"),
    ("kargo.akuity.io", "v1alpha1", "Stage"),
    ("refloat.dev", "v1alpha1", "Incident"),
    ("refloat.dev", "v1alpha1", "DecisionRecord"),
    ("", "v1", "Event"),
];

/// What tells of each kind that is looked at, as `feed` has it.
pub fn feeds(feed: impl Fn(&ApiResource) -> Feed) -> Vec<(&'static str, Feed)> {
    let of = |(group, version, kind)| {
        (kind, feed(&ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))))
    };
    WATCHED.into_iter().map(of).collect()
}

/// Writes down what changes in a Project, as [`feeds`] tell it, until the future is dropped. What is there already is no
/// news.
pub async fn watch(feeds: Vec<(&'static str, Feed)>, names: &FreightNames, recorder: &Recorder) {
    let mut events = feed::all(feeds);
    let mut onlooker = Onlooker { names, recorder, known: BTreeMap::new() };
    while let Some((kind, news)) = events.next().await {
        match news {
            News::Found(object) => drop(onlooker.remember(kind, object)),
            News::Applied(object) => onlooker.see(kind, object),
            News::Complete | News::Gone(_) => {}
        }
    }
}

struct Onlooker<'a> {
    names: &'a FreightNames,
    recorder: &'a Recorder,
    known: BTreeMap<(&'static str, String), Arc<Value>>,
}

impl Onlooker<'_> {
    /// What it was before.
    fn remember(&mut self, kind: &'static str, object: Arc<Value>) -> Option<Arc<Value>> {
        self.known.insert((kind, text(&object, "/metadata/name").to_owned()), object)
    }

    fn see(&mut self, kind: &'static str, new: Arc<Value>) {
        let old = self.remember(kind, Arc::clone(&new)).unwrap_or_default();
        let entries = match kind {
            "Freight" => self.freight(&old, &new),
            "Promotion" => self.promotion(&old, &new),
            "Stage" => stage(&old, &new),
            "Incident" => incident(&old, &new),
            "DecisionRecord" => decision(&old, &new),
            _ => message(&old, &new),
        };
        for (who, what) in entries {
            self.recorder.note(who, short(&self.names.plain(&what)));
        }
    }

    fn freight(&self, old: &Value, new: &Value) -> Vec<(String, String)> {
        if !old.is_null() {
            return Vec::new();
        }
        let who = text(new, "/origin/name").to_owned();
        vec![(who, format!("Freight `{}` appears", self.names.alias(text(new, "/metadata/name"))))]
    }

    fn promotion(&self, old: &Value, new: &Value) -> Vec<(String, String)> {
        let mut entries = Vec::new();
        let (stage, freight) = (text(new, "/spec/stage"), self.names.alias(text(new, "/spec/freight")));
        if old.is_null() {
            let what = match text(new, "/metadata/labels/refloat.dev~1kind") {
                "rollback" => format!("rolls `{stage}` back to `{freight}`"),
                "" => format!("promotes `{freight}` to `{stage}`"),
                kind => format!("promotes `{freight}` to `{stage}` ({kind})"),
            };
            entries.push((actor(text(new, "/metadata/annotations/kargo.akuity.io~1create-actor")), what));
        }
        let phase = text(new, "/status/phase");
        let is_news = phase != text(old, "/status/phase");
        if is_news && matches!(phase, "Succeeded" | "Failed" | "Errored" | "Aborted") {
            let why = cause(text(new, "/status/message"));
            let why = if why.is_empty() { String::new() } else { format!(": {why}") };
            entries.push((
                "kargo".to_owned(),
                format!("the Promotion of `{freight}` to `{stage}` {phase}{why}"),
            ));
        }
        entries
    }
}

fn stage(old: &Value, new: &Value) -> Vec<(String, String)> {
    let name = text(new, "/metadata/name");
    let mut entries: Vec<_> = verification(old, new).into_iter().collect();
    let held = |stage: &Value| {
        let holds = stage.pointer("/status/autoPromotionHolds").and_then(Value::as_object);
        holds.is_some_and(|holds| !holds.is_empty())
    };
    match (held(old), held(new)) {
        (false, true) => {
            entries.push(("kargo".to_owned(), format!("auto-promotion to `{name}` is on hold")));
        }
        (true, false) => {
            entries.push(("kargo".to_owned(), format!("auto-promotion to `{name}` goes on")));
        }
        (false, false) | (true, true) => {}
    }
    let health = text(new, "/status/health/status");
    if health == "Unhealthy" && health != text(old, "/status/health/status") {
        entries.push(("kargo".to_owned(), format!("Stage `{name}` is Unhealthy")));
    }
    entries
}

/// How the newest verification of what the Stage holds ended, if that is news.
fn verification(old: &Value, new: &Value) -> Option<(String, String)> {
    let name = text(new, "/metadata/name");
    let verification = "/status/freightHistory/0/verificationHistory/0";
    let (phase, id) = (text(new, &format!("{verification}/phase")), text(new, &format!("{verification}/id")));
    let is_news = phase != text(old, &format!("{verification}/phase"))
        || id != text(old, &format!("{verification}/id"));
    let has_run = !text(new, &format!("{verification}/analysisRun/name")).is_empty();
    let is_over = matches!(phase, "Successful" | "Failed" | "Error" | "Inconclusive" | "Aborted");
    (is_news && is_over && has_run).then(|| {
        let items = new.pointer("/status/freightHistory/0/items").and_then(Value::as_object);
        let freight: Vec<&str> =
            items.into_iter().flat_map(|items| items.values()).map(|item| text(item, "/name")).collect();
        let why = first_line(text(new, &format!("{verification}/message")));
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        let what = format!("verification of `{}` in `{name}`: {phase}{why}", freight.join("` with `"));
        ("kargo".to_owned(), what)
    })
}

fn incident(old: &Value, new: &Value) -> Vec<(String, String)> {
    let mut entries = Vec::new();
    if old.is_null() {
        let (stage, trigger) = (text(new, "/spec/failure/stage"), text(new, "/spec/failure/trigger"));
        entries.push(("refloat".to_owned(), format!("opens an incident of `{stage}`: {trigger}")));
    }
    if text(new, "/status/timer/nextAt") != text(old, "/status/timer/nextAt") {
        let cause = text(new, "/status/timer/cause");
        entries.extend((!cause.is_empty()).then(|| ("refloat".to_owned(), format!("waits: {cause}"))));
    }
    if let (Some(closed), None) = (new.pointer("/status/closed"), old.pointer("/status/closed")) {
        let reason = match text(closed, "/reason") {
            "" => String::new(),
            reason => format!(" ({reason})"),
        };
        let what = format!(
            "closes the incident: {}{reason}: {}",
            text(closed, "/resolution"),
            text(closed, "/message")
        );
        entries.push(("refloat".to_owned(), what));
    }
    entries
}

fn decision(old: &Value, new: &Value) -> Vec<(String, String)> {
    let explanation = text(new, "/spec/explanation");
    if !old.is_null() || explanation.is_empty() {
        return Vec::new();
    }
    vec![("refloat".to_owned(), format!("the policy says: {explanation}"))]
}

/// What Refloat says in Events; that an incident ended is told by the incident.
fn message(old: &Value, new: &Value) -> Vec<(String, String)> {
    let reason = text(new, "/reason");
    let is_ours = text(new, "/source/component") == "refloat";
    if !is_ours || !old.is_null() || reason.starts_with("Incident") {
        return Vec::new();
    }
    vec![("refloat".to_owned(), said(new))]
}

/// An Event of Refloat in one line: reason, text, and the channel that it is for, if it is for one.
pub(crate) fn said(event: &Value) -> String {
    let (reason, note) = (text(event, "/reason"), text(event, "/message"));
    match text(event, "/metadata/annotations/refloat.dev~1channel") {
        "" => format!("{reason}: {note}"),
        channel => format!("{reason} (channel {channel}): {note}"),
    }
}

/// What went wrong, without what Kargo's engine wraps around it.
fn cause(message: &str) -> String {
    let line = first_line(message);
    let unwrapped = line.split_once("error running step ").map_or(line.as_str(), |(_, cause)| cause);
    unwrapped.to_owned()
}

/// Who, for people: `kubernetes:alice` is alice, the Project's account is Refloat, nobody is Kargo itself.
fn actor(actor: &str) -> String {
    match actor.strip_prefix("kubernetes:").unwrap_or(actor) {
        "" => "kargo".to_owned(),
        account if account.starts_with("system:serviceaccount:") => "refloat".to_owned(),
        person => person.to_owned(),
    }
}

/// Cut at a word: the timeline is read like a story, and the whole text stands in the object.
fn short(text: &str) -> String {
    let mut length = 0;
    let words = text.split_whitespace().take_while(|word| {
        length += word.chars().count() + 1;
        length <= LONGEST
    });
    let kept = words.collect::<Vec<_>>().join(" ");
    if kept.len() < text.trim_end().len() { format!("{kept} ...") } else { kept }
}

fn first_line(text: &str) -> String {
    policy_core::explain::line(text.lines().next().unwrap_or_default())
}

pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    at(value, pointer).and_then(Value::as_str).unwrap_or_default()
}

/// What is at a JSON pointer. A play asks for thousands, and [`Value::pointer`] makes two texts of each of their parts.
pub(crate) fn at<'a>(value: &'a Value, pointer: &str) -> Option<&'a Value> {
    if pointer.contains('~') {
        return value.pointer(pointer);
    }
    pointer.split('/').skip(1).try_fold(value, |value, part| match value {
        Value::Array(items) => items.get(part.parse::<usize>().ok()?),
        other => other.get(part),
    })
}
