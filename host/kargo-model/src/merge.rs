//! JSON merge patches (RFC 7386): making one from two values and applying one.
//! In go values, out comes a patch or a changed value. Lists are replaced whole, as Kargo's own patches do.

use serde_json::{Map, Value};

/// Applies `patch` to `target`: `null` removes, maps merge, everything else replaces.
pub fn apply(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(map) = target.as_object_mut() else { return };
    for (key, value) in patch {
        if value.is_null() {
            map.remove(key);
        } else {
            apply(map.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// The smallest merge patch that turns `old` into `new`; `None` when they are equal.
pub fn diff(old: &Value, new: &Value) -> Option<Value> {
    let (Some(old_map), Some(new_map)) = (old.as_object(), new.as_object()) else {
        return (old != new).then(|| new.clone());
    };
    let mut patch = Map::new();
    for key in old_map.keys().filter(|key| !new_map.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    for (key, value) in new_map {
        match old_map.get(key) {
            Some(before) => {
                if let Some(inner) = diff(before, value) {
                    patch.insert(key.clone(), inner);
                }
            }
            None => {
                patch.insert(key.clone(), value.clone());
            }
        }
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_patch_made_from_two_values_leads_from_one_to_the_other() {
        let old = json!({"a": 1, "b": {"c": [1, 2], "d": "x"}, "gone": {"e": 1}});
        let new = json!({"a": 1, "b": {"c": [2], "d": "x"}, "added": {"f": {}}});
        let patch = diff(&old, &new).unwrap();
        assert_eq!(patch, json!({"b": {"c": [2]}, "gone": null, "added": {"f": {}}}));
        let mut target = old;
        apply(&mut target, &patch);
        assert_eq!(target, new);
    }
}
