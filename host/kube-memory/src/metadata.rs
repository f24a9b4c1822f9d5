//! Reading and shaping `metadata`, as the server's own decoder does.
//!
//! In: an object as JSON. Out: the same with only the fields that the server keeps.
//! Source: `ObjectMeta` in `apimachinery/pkg/apis/meta/v1/types.go`: unknown fields are dropped, empty ones left out.
//! Must not check anything: `validate.rs` does.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::resource::Resource;

/// What `ObjectMeta` has, `managedFields` excepted: this server keeps none.
const FIELDS: [&str; 14] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// The text at a path of keys, or nothing.
pub(crate) fn text<'a>(object: &'a Value, path: &[&str]) -> &'a str {
    let found = path.iter().try_fold(object, |value, key| value.get(key));
    found.and_then(Value::as_str).unwrap_or_default()
}

/// A field of `metadata`.
pub(crate) fn field<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    object.get("metadata")?.get(name)
}

/// A text of `metadata`, or nothing.
pub(crate) fn field_text<'a>(object: &'a Value, name: &str) -> &'a str {
    field(object, name).and_then(Value::as_str).unwrap_or_default()
}

/// The finalizers.
pub(crate) fn finalizers(object: &Value) -> Vec<String> {
    let listed = field(object, "finalizers").and_then(Value::as_array).into_iter().flatten();
    listed.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The resourceVersion that an object carries; 0 when it carries none. `None` when it is no number.
pub(crate) fn resource_version(object: &Value) -> Option<u64> {
    match field_text(object, "resourceVersion") {
        "" => Some(0),
        text => text.parse().ok(),
    }
}

/// Changes the fields of an object; something else becomes an empty object first.
pub(crate) fn edit(value: &mut Value, change: impl FnOnce(&mut Map<String, Value>)) {
    if !value.is_object() {
        *value = json!({});
    }
    if let Some(fields) = value.as_object_mut() {
        change(fields);
    }
}

/// Changes a field that is an object; it is made when it is missing.
pub(crate) fn edit_field(object: &mut Value, key: &str, change: impl FnOnce(&mut Map<String, Value>)) {
    edit(object, |fields| match fields.get_mut(key) {
        Some(field) => edit(field, change),
        None => edit(fields.entry(key).or_insert(Value::Null), change),
    });
}

/// An object without everything but its metadata.
pub(crate) fn only(object: &Value) -> Value {
    json!({"metadata": object.get("metadata")})
}

/// What is answered when only metadata is asked for, of an object or a list
/// (`apiserver/pkg/endpoints/handlers/response.go`).
pub(crate) fn partial(answer: &Value) -> Value {
    const VERSION: &str = "meta.k8s.io/v1";
    let of = |object: &Value| json!({"apiVersion": VERSION, "kind": "PartialObjectMetadata", "metadata": object.get("metadata")});
    let Some(items) = answer.get("items").and_then(Value::as_array) else { return of(answer) };
    let items: Vec<Value> = items.iter().map(of).collect();
    let mut metadata = answer.get("metadata").cloned().unwrap_or_default();
    // Other than the list of a custom kind, this one leaves an empty token out.
    edit(&mut metadata, |fields| fields.retain(|_, value| value != ""));
    json!({"apiVersion": VERSION, "kind": "PartialObjectMetadataList", "metadata": metadata, "items": items})
}

/// Sets a field of `metadata`, or removes it.
pub(crate) fn set(object: &mut Value, name: &str, value: Option<Value>) {
    edit_field(object, "metadata", |metadata| match (value, metadata.get_mut(name)) {
        (Some(value), Some(field)) => *field = value,
        (Some(value), None) => drop(metadata.insert(name.to_owned(), value)),
        (None, _) => drop(metadata.remove(name)),
    });
}

/// Takes a field of `metadata` over from another object, absence included.
pub(crate) fn take_over(object: &mut Value, name: &str, from: &Value) {
    set(object, name, field(from, name).cloned());
}

/// Whole seconds, as Kubernetes writes times.
pub(crate) fn time(at: Timestamp) -> Value {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string().into()
}

/// Gives an object the shape in which the server keeps it.
pub(crate) fn shape(object: &mut Value, resource: &Resource) {
    if !resource.is_custom() {
        drop_nulls(object);
    }
    edit_field(object, "metadata", |metadata| {
        metadata.retain(|name, value| FIELDS.contains(&name.as_str()) && !is_empty(value));
    });
    edit(object, |fields| {
        fields.insert("apiVersion".to_owned(), resource.api_version().into());
        fields.insert("kind".to_owned(), resource.kind.clone().into());
    });
    if !resource.is_custom() {
        built_in_defaults(object, resource);
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What the types of the built-in kinds add to what was sent (`kubernetes/pkg/apis/*/v1/defaults.go`, and fields that
/// are written even when empty).
fn built_in_defaults(object: &mut Value, resource: &Resource) {
    let defaults: &[(&str, Value)] = match resource.kind.as_str() {
        "Secret" => &[("type", json!("Opaque"))],
        "Event" => &[
            ("source", json!({})),
            ("firstTimestamp", Value::Null),
            ("lastTimestamp", Value::Null),
            ("eventTime", Value::Null),
            ("reportingComponent", json!("")),
            ("reportingInstance", json!("")),
        ],
        "Role" | "ClusterRole" => &[("rules", Value::Null)],
        _ => &[],
    };
    edit(object, |fields| {
        for (key, value) in defaults {
            fields.entry(*key).or_insert_with(|| value.clone());
        }
    });
    if resource.kind == "Namespace" {
        namespace_defaults(object);
    }
}

fn namespace_defaults(object: &mut Value) {
    let name = field_text(object, "name").to_owned();
    edit_field(object, "spec", |spec| {
        spec.entry("finalizers").or_insert_with(|| json!(["kubernetes"]));
    });
    edit_field(object, "status", |status| {
        status.entry("phase").or_insert_with(|| json!("Active"));
    });
    if name.is_empty() {
        return;
    }
    edit_field(object, "metadata", |metadata| {
        edit(metadata.entry("labels").or_insert_with(|| json!({})), |labels| {
            labels.insert("kubernetes.io/metadata.name".to_owned(), name.into());
        });
    });
}
