//! Bounds for what states none itself, so that no object of ours can fill etcd.
//!
//! In: a definition as derived. Out: the same with `maxLength`, `maxItems` and `maxProperties` everywhere, and with
//! integer formats that API servers know.
//! Nothing here loosens a bound that a field states.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

/// Longest text where a field says nothing: a sentence or a name, never a log.
pub const TEXT: i64 = 1024;
/// Longest list where a field says nothing.
pub const LIST: i64 = 64;
/// Most keys of a map where a field says nothing: Kubernetes objects carry a dozen labels.
pub const MAP: i64 = 64;

/// Puts a bound on everything in every version of `crd`.
pub fn apply(crd: &mut CustomResourceDefinition) {
    for version in &mut crd.spec.versions {
        if let Some(schema) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) {
            bound(schema);
        }
    }
}

fn bound(schema: &mut JSONSchemaProps) {
    match schema.type_.as_deref() {
        Some("string") if schema.enum_.is_none() && schema.format.is_none() => {
            schema.max_length.get_or_insert(TEXT);
        }
        Some("array") => {
            schema.max_items.get_or_insert(LIST);
        }
        Some("object") if schema.additional_properties.is_some() => {
            schema.max_properties.get_or_insert(MAP);
        }
        Some("integer") => integer(schema),
        _ => {}
    }
    schema.properties.iter_mut().flatten().for_each(|(_, property)| bound(property));
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => bound(items),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(bound),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        bound(values);
    }
}

/// `uint32` is schemars' word; API servers know `int32` and `int64` and warn about others.
fn integer(schema: &mut JSONSchemaProps) {
    if schema.format.as_deref().is_some_and(|format| format.starts_with("uint")) {
        schema.format = Some("int64".to_owned());
        schema.maximum.get_or_insert(f64::from(u32::MAX));
    }
}
