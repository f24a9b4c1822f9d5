//! Label and field selectors of lists and watches.
//!
//! In: the texts of a query. Out: whether an object is selected.
//! Sources: `apimachinery/pkg/labels/selector.go`, `apimachinery/pkg/fields/selector.go`; the messages of syntax errors
//! are our own.

use serde_json::Value;

use crate::metadata::{field, field_text};
use crate::refusal::Refusal;
use crate::resource::Resource;

/// Which objects are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
}

impl Requirement {
    fn accepts(&self, value: Option<&str>) -> bool {
        let is_in = |values: &[String]| value.is_some_and(|value| values.iter().any(|one| one == value));
        match &self.test {
            Test::In(values) => is_in(values),
            Test::NotIn(values) => !is_in(values),
            Test::Exists => value.is_some(),
            Test::Absent => value.is_none(),
        }
    }
}

impl Selector {
    /// Reads both selectors of a query.
    pub(crate) fn parse(labels: &str, fields: &str, resource: &Resource) -> Result<Self, Refusal> {
        let labels = split(labels).iter().map(|part| label_requirement(part)).collect::<Result<_, _>>()?;
        let fields =
            split(fields).iter().map(|part| field_requirement(part, resource)).collect::<Result<_, _>>()?;
        Ok(Self { labels, fields })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub(crate) fn selects(&self, object: &Value) -> bool {
        let label = |key: &str| field(object, "labels")?.get(key)?.as_str();
        self.labels.iter().all(|requirement| requirement.accepts(label(&requirement.key)))
            && self
                .fields
                .iter()
                .all(|requirement| requirement.accepts(Some(field_at(object, &requirement.key))))
    }
}

fn field_at<'a>(object: &'a Value, path: &str) -> &'a str {
    match path.strip_prefix("metadata.") {
        Some(name) => field_text(object, name),
        None => {
            let found = path.split('.').try_fold(object, |value, key| value.get(key));
            found.and_then(Value::as_str).unwrap_or_default()
        }
    }
}

/// Splits at commas outside of brackets.
fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut is_inside = false;
    for letter in text.chars() {
        match letter {
            '(' => is_inside = true,
            ')' => is_inside = false,
            ',' if !is_inside => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(last) = parts.last_mut() {
            last.push(letter);
        }
    }
    parts.into_iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

fn label_requirement(part: &str) -> Result<Requirement, Refusal> {
    let requirement = |key: &str, test| Ok(Requirement { key: key.trim().to_owned(), test });
    if let Some((key, value)) = comparison(part) {
        return requirement(key, value);
    }
    if let Some(key) = part.strip_prefix('!') {
        return requirement(key, Test::Absent);
    }
    if let Some((head, list)) = part.strip_suffix(')').and_then(|part| part.split_once('(')) {
        let values: Vec<String> = list.split(',').map(|value| value.trim().to_owned()).collect();
        let head = head.trim();
        if let Some(key) = head.strip_suffix(" notin") {
            return requirement(key, Test::NotIn(values));
        }
        if let Some(key) = head.strip_suffix(" in") {
            return requirement(key, Test::In(values));
        }
    }
    if part.contains([' ', '(', ')', '=']) {
        return Err(Refusal::bad_request(format!("unable to parse requirement: {part:?}")));
    }
    requirement(part, Test::Exists)
}

fn comparison(part: &str) -> Option<(&str, Test)> {
    let one = |value: &str| vec![value.trim().to_owned()];
    if let Some((key, value)) = part.split_once("!=") {
        return Some((key, Test::NotIn(one(value))));
    }
    let (key, value) = part.split_once("==").or_else(|| part.split_once('='))?;
    Some((key, Test::In(one(value))))
}

fn field_requirement(part: &str, resource: &Resource) -> Result<Requirement, Refusal> {
    let Some((key, test)) = comparison(part) else {
        let message = format!("invalid selector: '{part}'; can't understand '{part}'");
        return Err(Refusal::bad_request(message));
    };
    if !is_selectable(key, resource) {
        let message = if resource.is_custom() {
            format!("field label not supported: {key}")
        } else {
            format!("{key:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
        };
        return Err(Refusal::bad_request(message));
    }
    Ok(Requirement { key: key.to_owned(), test })
}

/// `apiextensions-apiserver/pkg/apiserver/conversion/converter.go` for custom resources,
/// `kubernetes/pkg/apis/core/v1/conversion.go` for Events.
fn is_selectable(key: &str, resource: &Resource) -> bool {
    const OF_EVENTS: [&str; 10] = [
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "type",
    ];
    key == "metadata.name"
        || (key == "metadata.namespace" && resource.is_namespaced())
        || (resource.kind == "Event" && OF_EVENTS.contains(&key))
}
