//! What is wrong with settings, in words that say what would be right.
//!
//! In: an error of the validator. Out: [`Problem`]s without a final dot; values are shortened.

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use serde_json::Value;

use super::{Problem, pointer, problem};
use crate::redact;

/// Longest value that is repeated.
const MAX_VALUE_BYTES: usize = 60;

/// One error as problems: one per unknown property, otherwise one.
pub(super) fn problems(error: &ValidationError<'_>, schema: &Value) -> Vec<Problem> {
    let path = error.instance_path().as_str();
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            let known = known_beside(error, schema);
            let message = |name: &String| match known.as_str() {
                "" => format!("`{name}` is not known, and nothing may stand here"),
                known => format!("`{name}` is not known; known are {known}"),
            };
            unexpected.iter().map(|name| problem(&pointer(path, name), message(name))).collect()
        }
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            vec![problem(&pointer(path, name), "is required".to_owned())]
        }
        kind => vec![problem(path, message(kind, error))],
    }
}

fn message(kind: &ValidationErrorKind, error: &ValidationError<'_>) -> String {
    let is = shown(error.instance());
    match kind {
        ValidationErrorKind::Maximum { limit } => format!("must be at most {limit}, is {is}"),
        ValidationErrorKind::Minimum { limit } => format!("must be at least {limit}, is {is}"),
        ValidationErrorKind::ExclusiveMaximum { limit } => format!("must be less than {limit}, is {is}"),
        ValidationErrorKind::ExclusiveMinimum { limit } => format!("must be more than {limit}, is {is}"),
        ValidationErrorKind::MaxLength { limit } => format!("must have at most {limit} characters, is {is}"),
        ValidationErrorKind::MinLength { limit } => format!("must have at least {limit} characters, is {is}"),
        ValidationErrorKind::MaxItems { limit } => format!("must have at most {limit} entries"),
        ValidationErrorKind::MinItems { limit } => format!("must have at least {limit} entries"),
        ValidationErrorKind::Pattern { pattern } => format!("must match `{pattern}`, is {is}"),
        ValidationErrorKind::Enum { options } => format!("must be one of {}, is {is}", listed(options)),
        ValidationErrorKind::Constant { expected_value } => format!("must be {expected_value}, is {is}"),
        ValidationErrorKind::UniqueItems => "must not have the same entry twice".to_owned(),
        ValidationErrorKind::Type { kind } => format!("must be {}, is {is}", type_names(kind)),
        // Rare in settings: the validator's own words will do.
        _ => redact::shown(&error.to_string(), 200),
    }
}

fn type_names(kind: &TypeKind) -> String {
    let named = |name: &str| match name {
        "array" => "a list".to_owned(),
        "integer" => "a whole number".to_owned(),
        "number" => "a number".to_owned(),
        "object" => "an object".to_owned(),
        "string" => "a text".to_owned(),
        "boolean" => "`true` or `false`".to_owned(),
        other => other.to_owned(),
    };
    match kind {
        TypeKind::Single(one) => named(&one.to_string()),
        TypeKind::Multiple(several) => {
            let names: Vec<String> = several.iter().map(|one| named(&one.to_string())).collect();
            names.join(" or ")
        }
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("`{}`", redact::shown(text, MAX_VALUE_BYTES)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

fn listed(options: &Value) -> String {
    let options: Vec<String> = options.as_array().into_iter().flatten().map(shown).collect();
    options.join(", ")
}

/// Names of the properties that the schema knows where `additionalProperties` refused one.
fn known_beside(error: &ValidationError<'_>, schema: &Value) -> String {
    let keyword = error.schema_path().as_str();
    let parent = keyword.rsplit_once('/').map(|(parent, _)| parent).unwrap_or_default();
    let properties =
        schema.pointer(parent).and_then(|part| part.get("properties")).and_then(Value::as_object);
    let names: Vec<String> = properties.into_iter().flatten().map(|(name, _)| format!("`{name}`")).collect();
    names.join(", ")
}
