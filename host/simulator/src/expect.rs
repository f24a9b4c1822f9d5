//! What came of a scenario, and how it differs from what was expected.
//!
//! In: [`Expectations`] and the [`Facts`] at the end. Out: [`Difference`]s, each with the path of the expectation. What is
//! not expected is not compared.

use std::collections::BTreeMap;

use kube_memory::audit::Requests;
use serde::Serialize;
use serde_json::Value;

use crate::ground::{Looked, View};
use crate::names::FreightNames;
use crate::scenario::{Expectations, ExpectedIncident, ExpectedStage, Scenario};
use crate::timeline::{self, text};

/// An expectation that did not come true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// The expectation, such as `expect.stages.prod.holds`.
    pub path: String,
    /// What was expected.
    pub expected: String,
    /// What is.
    pub found: String,
}

/// What came of a scenario.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// Incidents in the order in which they were opened.
    pub incidents: Vec<IncidentFact>,
    /// Stages by name.
    pub stages: BTreeMap<String, StageFact>,
    /// Promotions that Refloat created.
    pub promotions_by_refloat: usize,
    /// Writes of Refloat on objects of Kargo.
    pub writes_to_kargo: usize,
    /// Everything that Refloat said in Events.
    pub said: Vec<String>,
    /// Attempts that have more than one Promotion; empty, or a rule that must never break is broken,
    /// unless the scenario itself repeats a request.
    pub doubles: Vec<String>,
}

/// One incident.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IncidentFact {
    /// Its Stage.
    pub stage: String,
    /// Its trigger.
    pub trigger: String,
    /// How it closed, or `open`.
    pub resolution: String,
    /// The word more that its end has.
    pub reason: String,
    /// Attempts.
    pub attempts: usize,
}

/// One Stage.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StageFact {
    /// What it holds.
    pub holds: Vec<String>,
    /// How the newest verification of that ended.
    pub verification: String,
    /// Whether auto-promotion is on hold.
    pub on_hold: bool,
    /// Promotions since the beginning.
    pub promotions: usize,
}

/// What [`facts`] looks at.
pub const LOOKED: [Looked; 4] = [Looked::Events, Looked::Incidents, Looked::Promotions, Looked::Stages];

/// Looks at a Project. `before` are the names of Promotions that were there at the beginning.
pub fn facts(
    view: &View<'_>,
    scenario: &Scenario,
    names: &FreightNames,
    before: &[String],
    requests: &Requests,
) -> Facts {
    let account = format!("system:serviceaccount:{}:refloat", scenario.world.project);
    let by_refloat = requests.as_actor(&account).group("kargo.akuity.io").writes();
    let is_new = |promotion: &&Value| !before.iter().any(|name| name == text(promotion, "/metadata/name"));
    let new: Vec<&Value> = view.list(Looked::Promotions).filter(is_new).collect();
    let mut incidents: Vec<&Value> = view.list(Looked::Incidents).collect();
    incidents.sort_by_key(|incident| version_of_creation(incident));
    Facts {
        incidents: incidents.into_iter().map(incident).collect(),
        stages: view.list(Looked::Stages).map(|object| stage(object, names, &new)).collect(),
        promotions_by_refloat: by_refloat.resource("promotions").verb("create").len(),
        writes_to_kargo: by_refloat.len(),
        said: said(view),
        doubles: doubles(&new),
    }
}

/// Incidents of one second are in the order of what they are about.
fn version_of_creation(incident: &Value) -> (String, String) {
    (text(incident, "/spec/failure/at").to_owned(), text(incident, "/metadata/name").to_owned())
}

fn incident(object: &Value) -> IncidentFact {
    let resolution = text(object, "/status/closed/resolution");
    IncidentFact {
        stage: text(object, "/spec/failure/stage").to_owned(),
        trigger: text(object, "/spec/failure/trigger").to_owned(),
        resolution: if resolution.is_empty() { "open".to_owned() } else { resolution.to_owned() },
        reason: text(object, "/status/closed/reason").to_owned(),
        attempts: object.pointer("/status/attempts").and_then(Value::as_array).map_or(0, Vec::len),
    }
}

fn stage(object: &Value, names: &FreightNames, promotions: &[&Value]) -> (String, StageFact) {
    let name = text(object, "/metadata/name").to_owned();
    let items = object.pointer("/status/freightHistory/0/items").and_then(Value::as_object);
    let holds = object.pointer("/status/autoPromotionHolds").and_then(Value::as_object);
    let fact = StageFact {
        holds: items
            .into_iter()
            .flat_map(|items| items.values())
            .map(|one| names.alias(text(one, "/name")))
            .collect(),
        verification: text(object, "/status/freightHistory/0/verificationHistory/0/phase").to_owned(),
        on_hold: holds.is_some_and(|holds| !holds.is_empty()),
        promotions: promotions.iter().filter(|promotion| text(promotion, "/spec/stage") == name).count(),
    };
    (name, fact)
}

fn said(view: &View<'_>) -> Vec<String> {
    let ours = view.list(Looked::Events).filter(|event| text(event, "/source/component") == "refloat");
    ours.map(timeline::said).collect()
}

fn doubles(promotions: &[&Value]) -> Vec<String> {
    let mut by_attempt: BTreeMap<&str, usize> = BTreeMap::new();
    for promotion in promotions {
        let attempt = text(promotion, "/metadata/labels/refloat.dev~1attempt");
        if !attempt.is_empty() {
            *by_attempt.entry(attempt).or_default() += 1;
        }
    }
    by_attempt.into_iter().filter(|(_, n)| *n > 1).map(|(attempt, _)| attempt.to_owned()).collect()
}

/// How the facts differ from what was expected.
pub fn differences(expected: &Expectations, facts: &Facts) -> Vec<Difference> {
    let mut found = Differences::default();
    if let Some(incidents) = &expected.incidents {
        found.compare(
            "expect.incidents",
            &format!("{} incident(s)", incidents.len()),
            &format!("{} incident(s)", facts.incidents.len()),
        );
        for (n, (expected, is)) in incidents.iter().zip(&facts.incidents).enumerate() {
            found.incident(&format!("expect.incidents[{n}]"), expected, is);
        }
    }
    for (name, expected) in &expected.stages {
        let is = facts.stages.get(name).cloned().unwrap_or_default();
        found.stage(&format!("expect.stages.{name}"), expected, &is);
    }
    found.number("expect.promotionsByRefloat", expected.promotions_by_refloat, facts.promotions_by_refloat);
    found.number("expect.writesToKargo", expected.writes_to_kargo, facts.writes_to_kargo);
    for (n, wanted) in expected.said.iter().enumerate() {
        if !facts.said.iter().any(|said| said.contains(wanted)) {
            found.add(&format!("expect.said[{n}]"), wanted, "nothing of the kind was said");
        }
    }
    for (n, unwanted) in expected.not_said.iter().enumerate() {
        if let Some(said) = facts.said.iter().find(|said| said.contains(unwanted)) {
            found.add(&format!("expect.notSaid[{n}]"), &format!("never: {unwanted}"), said);
        }
    }
    if facts.doubles.len() != expected.doubles {
        let list = if facts.doubles.is_empty() { "none".to_owned() } else { facts.doubles.join(", ") };
        found.add("expect.doubles", &format!("{} attempt(s)", expected.doubles), &list);
    }
    found.0
}

#[derive(Default)]
struct Differences(Vec<Difference>);

impl Differences {
    fn add(&mut self, path: &str, expected: &str, found: &str) {
        let (path, expected, found) = (path.to_owned(), expected.to_owned(), found.to_owned());
        self.0.push(Difference { path, expected, found });
    }

    fn compare(&mut self, path: &str, expected: &str, found: &str) {
        if expected != found {
            self.add(path, expected, found);
        }
    }

    fn word(&mut self, path: &str, expected: Option<&String>, found: &str) {
        if let Some(expected) = expected {
            self.compare(path, expected, found);
        }
    }

    fn number(&mut self, path: &str, expected: Option<usize>, found: usize) {
        if let Some(expected) = expected {
            self.compare(path, &expected.to_string(), &found.to_string());
        }
    }

    fn incident(&mut self, path: &str, expected: &ExpectedIncident, is: &IncidentFact) {
        self.word(&format!("{path}.stage"), expected.stage.as_ref(), &is.stage);
        self.word(&format!("{path}.trigger"), expected.trigger.as_ref(), &is.trigger);
        self.word(&format!("{path}.resolution"), expected.resolution.as_ref(), &is.resolution);
        self.word(&format!("{path}.reason"), expected.reason.as_ref(), &is.reason);
        self.number(&format!("{path}.attempts"), expected.attempts, is.attempts);
    }

    fn stage(&mut self, path: &str, expected: &ExpectedStage, is: &StageFact) {
        if let Some(holds) = &expected.holds {
            self.compare(&format!("{path}.holds"), &holds.join(", "), &is.holds.join(", "));
        }
        self.word(&format!("{path}.verification"), expected.verification.as_ref(), &is.verification);
        if let Some(on_hold) = expected.on_hold {
            self.compare(&format!("{path}.onHold"), &on_hold.to_string(), &is.on_hold.to_string());
        }
        self.number(&format!("{path}.promotions"), expected.promotions, is.promotions);
    }
}
