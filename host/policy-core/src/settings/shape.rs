//! What a settings schema says about the shape of a document: defaults and durations.
//!
//! In: a schema. Out: defaults filled in, texts with `"format": "duration"` turned into seconds. Follows
//! `properties`, `items`, `allOf` and local `$ref`s; conditional parts of a schema neither fill nor convert.

use serde_json::{Map, Value};

use super::{Problem, pointer, problem};
use crate::time::parse_duration;

/// Deepest nesting that is followed: schemas may refer to themselves.
const MAX_DEPTH: u32 = 16;

pub(super) struct Shape<'a> {
    root: &'a Value,
    schema: &'a Value,
    depth: u32,
}

impl<'a> Shape<'a> {
    pub(super) fn new(schema: &'a Value) -> Self {
        Self { root: schema, schema, depth: 0 }
    }

    /// The schema itself, what it refers to, and what it must match as well.
    fn parts(&self) -> Vec<&'a Value> {
        let mut parts = vec![self.schema];
        let reference =
            self.schema.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix('#'));
        parts.extend(reference.and_then(|pointer| self.root.pointer(pointer)));
        parts.extend(self.schema.get("allOf").and_then(Value::as_array).into_iter().flatten());
        parts
    }

    fn child(&self, schema: &'a Value) -> Option<Self> {
        (self.depth < MAX_DEPTH).then_some(Self { root: self.root, schema, depth: self.depth + 1 })
    }

    fn properties(&self) -> impl Iterator<Item = (&'a String, &'a Value)> {
        let properties = |part: &'a Value| part.get("properties").and_then(Value::as_object);
        self.parts().into_iter().filter_map(properties).flatten()
    }

    fn items(&self) -> Option<Self> {
        let items = self.parts().into_iter().find_map(|part| part.get("items"))?;
        self.child(items)
    }

    fn default(&self) -> Option<&'a Value> {
        self.parts().into_iter().find_map(|part| part.get("default"))
    }

    fn is_object(&self) -> bool {
        let is_object = |part: &&Value| part.get("type").and_then(Value::as_str) == Some("object");
        self.parts().iter().any(is_object)
    }

    /// Fills in defaults, those of nested objects included. An object that is missing appears when at least one of
    /// its members has a default and none is required without one.
    pub(super) fn fill(&self, value: &mut Value) {
        match value {
            Value::Object(members) => self.fill_members(members),
            Value::Array(items) => {
                let Some(shape) = self.items() else { return };
                for item in items {
                    shape.fill(item);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn fill_members(&self, members: &mut Map<String, Value>) {
        for (name, schema) in self.properties() {
            let Some(shape) = self.child(schema) else { continue };
            if let Some(member) = members.get_mut(name) {
                shape.fill(member);
            } else if let Some(default) = shape.made() {
                members.insert(name.clone(), default);
            }
        }
    }

    fn made(&self) -> Option<Value> {
        if let Some(default) = self.default() {
            let mut default = default.clone();
            self.fill(&mut default);
            return Some(default);
        }
        if !self.is_object() {
            return None;
        }
        let mut members = Map::new();
        self.fill_members(&mut members);
        let mut parts = self.parts().into_iter();
        let is_complete = parts.all(|part| {
            let required = part.get("required").and_then(Value::as_array).into_iter().flatten();
            required.filter_map(Value::as_str).all(|name| members.contains_key(name))
        });
        (is_complete && !members.is_empty()).then_some(Value::Object(members))
    }

    /// Turns durations into seconds; texts that are none become problems.
    pub(super) fn convert(&self, value: &mut Value, path: &str, problems: &mut Vec<Problem>) {
        match value {
            Value::String(text) => {
                let is_duration = self
                    .parts()
                    .iter()
                    .any(|part| part.get("format").and_then(Value::as_str) == Some("duration"));
                if !is_duration {
                    return;
                }
                match parse_duration(text) {
                    Some(seconds) => *value = Value::from(seconds),
                    None => {
                        let message =
                            format!("must be a duration such as `90s`, `5m` or `2h30m`, is `{text}`");
                        problems.push(problem(path, message));
                    }
                }
            }
            Value::Object(members) => {
                for (name, schema) in self.properties() {
                    if let (Some(shape), Some(member)) = (self.child(schema), members.get_mut(name)) {
                        shape.convert(member, &pointer(path, name), problems);
                    }
                }
            }
            Value::Array(items) => {
                let Some(shape) = self.items() else { return };
                for (index, item) in items.iter_mut().enumerate() {
                    shape.convert(item, &format!("{path}/{index}"), problems);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}
