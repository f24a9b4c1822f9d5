//! Small readers and writers over Kubernetes objects held as JSON values, so that fields unknown to the model stay.
//! In go a value and a path of keys, out come borrowed parts or text. They must not know any kind of object.

use serde_json::{Map, Value};

/// The value at `path`, if every key on the way exists.
pub fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |current, key| current.get(key))
}

/// The text at `path`; empty when it is absent or not text, as Go's zero value.
pub fn text<'a>(value: &'a Value, path: &[&str]) -> &'a str {
    at(value, path).and_then(Value::as_str).unwrap_or_default()
}

/// The list at `path`; empty when absent.
pub fn list<'a>(value: &'a Value, path: &[&str]) -> &'a [Value] {
    at(value, path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The map at `path`, if there is one.
pub fn map<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Map<String, Value>> {
    at(value, path).and_then(Value::as_object)
}

/// Whether the flag at `path` is `true`.
pub fn flag(value: &Value, path: &[&str]) -> bool {
    at(value, path).and_then(Value::as_bool).unwrap_or_default()
}

/// Puts `new` at `path` and makes the maps on the way; whatever is not a map on the way is replaced.
pub fn put(value: &mut Value, path: &[&str], new: Value) {
    let Some((first, rest)) = path.split_first() else {
        *value = new;
        return;
    };
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    if let Some(map) = value.as_object_mut() {
        put(map.entry((*first).to_owned()).or_insert(Value::Null), rest, new);
    }
}

/// Takes away what is at `path`, if anything.
pub fn remove(value: &mut Value, path: &[&str]) {
    if let Some((last, parents)) = path.split_last() {
        let parent = parents.iter().try_fold(value, |current, key| current.get_mut(key));
        if let Some(map) = parent.and_then(Value::as_object_mut) {
            map.remove(*last);
        }
    }
}

/// Puts `new` at `path`, or removes the field when there is nothing to put: Go's `omitempty`.
pub fn put_or_remove(value: &mut Value, path: &[&str], new: Option<Value>) {
    match new {
        Some(new) => put(value, path, new),
        None => remove(value, path),
    }
}

/// `metadata.name`.
pub fn name(value: &Value) -> &str {
    text(value, &["metadata", "name"])
}

/// `metadata.namespace`.
pub fn namespace(value: &Value) -> &str {
    text(value, &["metadata", "namespace"])
}

/// The annotation under `key`, if set.
pub fn annotation<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    at(value, &["metadata", "annotations", key]).and_then(Value::as_str)
}

/// The label under `key`, if set.
pub fn label<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    at(value, &["metadata", "labels", key]).and_then(Value::as_str)
}
