//! What must be true of the metadata of every object.
//!
//! In: an object, and the one that it replaces. Out: the fields that break a rule, in the server's words.
//! Source: `apimachinery/pkg/api/validation/objectmeta.go`, `apimachinery/pkg/util/validation/validation.go`. Checked
//! are names, labels, and what an update may not change; annotations, owner references and finalizers are not.

use serde_json::Value;

use crate::metadata::{field, field_text, finalizers};
use crate::refusal::Problem;
use crate::resource::Resource;

/// Longest name, and longest value of a label, in bytes.
const MAX_SUBDOMAIN: usize = 253;
const MAX_LABEL: usize = 63;

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
    and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', \
    and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
    validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const LABEL_KEY: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with \
    an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

/// What is wrong with a new object.
pub(crate) fn new_object(object: &Value, resource: &Resource) -> Vec<Problem> {
    let mut problems = name(object, resource);
    problems.extend(labels(object));
    problems
}

fn name(object: &Value, resource: &Resource) -> Vec<Problem> {
    let name = field_text(object, "name");
    if name.is_empty() {
        return vec![Problem::required("metadata.name", "name or generateName is required")];
    }
    // Roles and their bindings may be called anything that fits into a path.
    if resource.group == "rbac.authorization.k8s.io" {
        return Vec::new();
    }
    let mut problems = Vec::new();
    if name.len() > MAX_SUBDOMAIN {
        problems.push(Problem::invalid(
            "metadata.name",
            name,
            &format!("must be no more than {MAX_SUBDOMAIN} characters"),
        ));
    }
    if !is_subdomain(name) {
        problems.push(Problem::invalid("metadata.name", name, SUBDOMAIN));
    }
    problems
}

fn is_subdomain(name: &str) -> bool {
    let is_letter = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    name.split('.').all(|label| {
        label.starts_with(is_letter)
            && label.ends_with(is_letter)
            && label.chars().all(|letter| letter == '-' || is_letter(letter))
    })
}

/// Labels are listed in the order of their keys, where the server's order is that of a Go map.
fn labels(object: &Value) -> Vec<Problem> {
    let labels = field(object, "labels").and_then(Value::as_object).into_iter().flatten();
    let mut problems = Vec::new();
    for (key, value) in labels {
        let name = key.rsplit_once('/').map_or(key.as_str(), |(_, name)| name);
        if !is_qualified(name) || name.is_empty() {
            problems.push(Problem::invalid("metadata.labels", key.as_str(), LABEL_KEY));
        }
        let value = value.as_str().unwrap_or_default();
        if value.len() > MAX_LABEL {
            let detail = format!("must be no more than {MAX_LABEL} characters");
            problems.push(Problem::invalid("metadata.labels", value, &detail));
        }
        if !is_qualified(value) {
            problems.push(Problem::invalid("metadata.labels", value, LABEL_VALUE));
        }
    }
    problems
}

/// Empty, or letters, digits and `-_.` with a letter or digit at both ends.
fn is_qualified(text: &str) -> bool {
    let is_inner = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let is_outer = |letter: char| letter.is_ascii_alphanumeric();
    text.is_empty() || (text.chars().all(is_inner) && text.starts_with(is_outer) && text.ends_with(is_outer))
}

/// What is wrong with an object that replaces `old`. The server looks at the metadata three times and reports what it
/// sees each time.
pub(crate) fn changed_object(object: &Value, old: &Value, resource: &Resource) -> Vec<Problem> {
    let mut problems = name(object, resource);
    problems.extend(labels(object));
    for _ in 0..2 {
        problems.extend(changes(object, old));
        problems.extend(labels(object));
    }
    problems
}

fn changes(object: &Value, old: &Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    if field(old, "deletionTimestamp").is_some() {
        let known = finalizers(old);
        let new: Vec<String> = finalizers(object).into_iter().filter(|one| !known.contains(one)).collect();
        if !new.is_empty() {
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers \
                 []string{{{}}}",
                new.iter().map(|one| format!("{one:?}")).collect::<Vec<_>>().join(", ")
            );
            problems.push(Problem::forbidden("metadata.finalizers", &detail));
        }
    }
    if field_text(object, "uid") != field_text(old, "uid") {
        problems.push(Problem::invalid("metadata.uid", field_text(object, "uid"), "field is immutable"));
    }
    problems
}
