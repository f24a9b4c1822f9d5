//! Settings of a policy: checked against the policy's schema, defaults filled in, durations turned into seconds.
//!
//! In: a JSON document and a JSON Schema. Out: [`Settings`] for the guest, or [`Problem`]s with JSON Pointers.
//! Nothing here knows which policies exist.

mod shape;
mod words;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Something wrong with settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Problem {
    /// A JSON Pointer into the settings, empty for the whole document.
    pub path: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// Settings as a guest gets them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// Every leaf with its JSON Pointer, in document order.
    pub values: Vec<(String, Scalar)>,
    /// The same document as canonical JSON text.
    pub json: String,
}

/// A leaf of a settings document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scalar {
    /// JSON `null`.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number that fits into 32 bits.
    Integer(i32),
    /// Any other number.
    Number(f64),
    /// A text.
    Text(String),
}

/// A module's settings schema, read once: reading it costs far more than checking a document.
#[derive(Debug)]
pub struct Schema {
    document: Value,
    validator: Result<jsonschema::Validator, Problem>,
}

impl Schema {
    /// Reads a schema. One that is wrong takes no settings, and says why then.
    pub fn read(text: &str) -> Self {
        let document: Value = match serde_json::from_str(text) {
            Ok(document) => document,
            Err(error) => {
                let wrong = problem("", format!("the module's settings schema is no JSON: {error}"));
                return Self { document: Value::Null, validator: Err(wrong) };
            }
        };
        let validator = jsonschema::draft202012::options().should_validate_formats(false).build(&document);
        let wrong = |error| problem("", format!("the module's settings schema is wrong: {error}"));
        let validator = validator.map_err(wrong);
        Self { document, validator }
    }

    /// Checks `document`, fills in defaults and converts durations.
    ///
    /// A text whose schema says `"format": "duration"` is read by [`crate::time::parse_duration`] and becomes a whole
    /// number of seconds. A missing document counts as `{}`. Object members are in the order of their names.
    ///
    /// # Errors
    /// Every problem found, sorted by place, each with the JSON Pointer of the offending place.
    pub fn accept(&self, document: &Value) -> Result<Settings, Vec<Problem>> {
        let validator = self.validator.as_ref().map_err(|wrong| vec![wrong.clone()])?;
        let mut settings = match document {
            Value::Null => Value::Object(serde_json::Map::new()),
            other => other.clone(),
        };
        let shape = shape::Shape::new(&self.document);
        shape.fill(&mut settings);
        let found = validator.iter_errors(&settings);
        let mut problems: Vec<Problem> =
            found.flat_map(|error| words::problems(&error, &self.document)).collect();
        shape.convert(&mut settings, "", &mut problems);
        if !problems.is_empty() {
            problems.sort_by(|a, b| (&a.path, &a.message).cmp(&(&b.path, &b.message)));
            problems.dedup();
            return Err(problems);
        }
        Ok(as_given(&settings))
    }
}

/// [`Schema::accept`] for one document.
///
/// # Errors
/// As there.
pub fn accept(document: &Value, schema: &str) -> Result<Settings, Vec<Problem>> {
    Schema::read(schema).accept(document)
}

/// A document as it is: no default is filled in, and nobody has said that a module takes it.
pub fn as_given(document: &Value) -> Settings {
    let mut values = Vec::new();
    leaves(document, String::new(), &mut values);
    Settings { values, json: canonical(document) }
}

fn problem(path: &str, message: String) -> Problem {
    Problem { path: path.to_owned(), message }
}

/// One member of a JSON Pointer, escaped.
fn pointer(parent: &str, member: &str) -> String {
    format!("{parent}/{}", member.replace('~', "~0").replace('/', "~1"))
}

fn leaves(value: &Value, path: String, values: &mut Vec<(String, Scalar)>) {
    let scalar = match value {
        Value::Null => Scalar::Null,
        Value::Bool(flag) => Scalar::Boolean(*flag),
        Value::Number(number) => {
            let whole = number.as_i64().and_then(|whole| i32::try_from(whole).ok());
            whole.map_or_else(|| Scalar::Number(number.as_f64().unwrap_or(f64::NAN)), Scalar::Integer)
        }
        Value::String(text) => Scalar::Text(text.clone()),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                leaves(item, format!("{path}/{index}"), values);
            }
            return;
        }
        Value::Object(members) => {
            for (name, member) in sorted(members) {
                leaves(member, pointer(&path, name), values);
            }
            return;
        }
    };
    values.push((path, scalar));
}

/// Members in the order of their names, whatever map `serde_json` was built with.
fn sorted(members: &serde_json::Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut members: Vec<(&String, &Value)> = members.iter().collect();
    members.sort_by_key(|(name, _)| *name);
    members
}

/// JSON without blanks, members in the order of their names.
fn canonical(value: &Value) -> String {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(canonical).collect();
            format!("[{}]", items.join(","))
        }
        Value::Object(members) => {
            let member = |(name, member): (&String, &Value)| {
                format!("{}:{}", Value::String(name.clone()), canonical(member))
            };
            let members: Vec<String> = sorted(members).into_iter().map(member).collect();
            format!("{{{}}}", members.join(","))
        }
    }
}
