//! Objects as YAML for people and for `kubectl apply -f -`.
//!
//! In: anything that serializes. Out: one YAML text, documents separated by `---`. Field order is that of the type.

use serde::Serialize;

/// `object` as one YAML document.
pub fn document<T: Serialize>(object: &T) -> String {
    // Through JSON, so that what serializers of YAML do with enums and newtypes does not show.
    let value = serde_json::to_value(object).unwrap_or_default();
    serde_saphyr::to_string(&value).unwrap_or_default()
}

/// `objects` as YAML documents, each opened by `---`.
pub fn documents<T: Serialize>(objects: &[T]) -> String {
    objects.iter().map(|object| format!("---\n{}", document(object))).collect()
}
