//! Settings of a policy: checked against the policy's schema, defaults filled in, durations turned into seconds.
//!
//! In: a JSON document and a JSON Schema. Out: [`Settings`] for the guest, or [`Problem`]s with JSON Pointers.
//! Nothing here knows which policies exist.

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

/// Checks `document` against `schema`, fills in defaults and converts durations.
///
/// A text whose schema says `"format": "duration"` is read by [`crate::time::parse_duration`] and becomes a whole
/// number of seconds. A missing document counts as `{}`.
///
/// # Errors
/// Every problem found, in document order, each with the JSON Pointer of the offending place.
pub fn accept(document: &Value, schema: &str) -> Result<Settings, Vec<Problem>> {
    let _ = (document, schema);
    Err(vec![Problem { path: String::new(), message: "not built yet".to_owned() }])
}
