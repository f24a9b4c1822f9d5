//! A hash over promotion steps and vars that does not depend on how JSON is written.
//!
//! In: steps and vars as JSON values. Out: 64 hexadecimal digits, equal when the promotion process is equal.
//! Keys are sorted here, whatever map `serde_json` was built with.

use std::collections::BTreeMap;

use serde_json::Value;
use sha2::{Digest, Sha256};

/// Builds the hash piece by piece, so that steps need not be kept.
#[derive(Clone, Debug, Default)]
pub(super) struct TemplateDigest(Sha256);

impl TemplateDigest {
    /// Adds one step: `body` is the digest of everything but the alias, which Kargo fills in when it is missing.
    pub(super) fn step(&mut self, alias: &str, body: &[u8; 32]) {
        self.0.update(b"step\n");
        self.0.update(alias.as_bytes());
        self.0.update(b"\n");
        self.0.update(body);
    }

    /// Adds one variable.
    pub(super) fn var(&mut self, var: &Value) {
        self.0.update(b"var\n");
        self.0.update(of_value(var));
    }

    /// The hash as text.
    pub(super) fn finish(self) -> String {
        hex::encode(self.0.finalize())
    }
}

/// The beginning of a digest as text: enough to see that something is not the same.
pub(super) fn short(digest: &[u8; 32]) -> String {
    hex::encode(digest.first_chunk::<8>().unwrap_or(&[0; 8]))
}

/// Digests of variables by name; of two with one name the last one counts, as in Kargo.
pub(super) fn of_vars<'a>(vars: impl IntoIterator<Item = &'a Value>) -> BTreeMap<String, String> {
    let name = |var: &Value| var.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    vars.into_iter().map(|var| (name(var), short(&of_value(var)))).collect()
}

/// The digest of one JSON value.
pub(super) fn of_value(value: &Value) -> [u8; 32] {
    let mut hash = Sha256::new();
    feed(value, &mut hash);
    hash.finalize().into()
}

fn feed(value: &Value, hash: &mut Sha256) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            hash.update(value.to_string().as_bytes());
        }
        Value::Array(items) => {
            hash.update(b"[");
            for item in items {
                feed(item, hash);
                hash.update(b",");
            }
            hash.update(b"]");
        }
        Value::Object(fields) => {
            let mut names: Vec<&String> = fields.keys().collect();
            names.sort();
            hash.update(b"{");
            for name in names {
                hash.update(Value::String(name.clone()).to_string().as_bytes());
                hash.update(b":");
                if let Some(field) = fields.get(name) {
                    feed(field, hash);
                }
                hash.update(b",");
            }
            hash.update(b"}");
        }
    }
}
