//! What an API server refuses of a FailurePolicy, by its definition: bounds, patterns, and rules in CEL.
//!
//! In: a spec, and the definition's schema of it. Out: the first refusal, with the JSON Pointer of the field. The rules are
//! few and written out here; a test sees to it that none is missing. Nothing here knows scenarios.

use policy_core::settings;
use serde_json::Value;

/// `x-kubernetes-validations` of a FailurePolicy.
const NAMES_DIFFER: &str = "self.all(a, self.exists_one(b, a.name == b.name))";
const ONE_SOURCE: &str = "has(self.module) != has(self.builtin)";
const VALUES_FIT: &str =
    "self.operator in ['In', 'NotIn'] ? size(self.values) > 0 : !has(self.values) || size(self.values) == 0";

/// The field that is wrong, and what is wrong with it; `None` when the server takes the spec.
pub(super) fn refused(spec: &Value, schema: &Value) -> Option<(String, String)> {
    let spec = given(spec);
    let by_schema = settings::accept(&spec, &schema.to_string()).err().unwrap_or_default().into_iter().next();
    by_schema.map(|found| (found.path, found.message)).or_else(|| broken(&spec, schema, ""))
}

/// A field that is null is one that is not there.
fn given(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(_, value)| !value.is_null());
            Value::Object(fields.map(|(name, value)| (name.clone(), given(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(given).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// The first rule that does not hold.
fn broken(value: &Value, schema: &Value, path: &str) -> Option<(String, String)> {
    let text = |rule: &Value, key: &str| rule.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let rules = schema.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten();
    let mut broken_here = rules.filter(|rule| holds(&text(rule, "rule"), value) == Some(false));
    if let Some(rule) = broken_here.next() {
        return Some((path.to_owned(), text(rule, "message")));
    }
    match value {
        Value::Object(fields) => fields.iter().find_map(|(name, value)| {
            let schema = schema.get("properties")?.get(name)?;
            broken(value, schema, &format!("{path}/{name}"))
        }),
        Value::Array(items) => {
            let schema = schema.get("items")?;
            items.iter().enumerate().find_map(|(n, item)| broken(item, schema, &format!("{path}/{n}")))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// Whether a rule holds for a value; `None` when the rule is not known here.
fn holds(rule: &str, value: &Value) -> Option<bool> {
    match rule {
        NAMES_DIFFER => {
            let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
            let mut names: Vec<&str> =
                items.iter().filter_map(|item| item.get("name").and_then(Value::as_str)).collect();
            names.sort_unstable();
            names.dedup();
            Some(names.len() == items.len())
        }
        ONE_SOURCE => Some(value.get("module").is_some() != value.get("builtin").is_some()),
        VALUES_FIT => {
            let operator = value.get("operator").and_then(Value::as_str).unwrap_or_default();
            let has_values = value.get("values").and_then(Value::as_array).is_some_and(|all| !all.is_empty());
            Some(matches!(operator, "In" | "NotIn") == has_values)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rules(schema: &Value, found: &mut Vec<String>) {
        match schema {
            Value::Object(fields) => {
                let own =
                    fields.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten();
                found.extend(own.filter_map(|rule| Some(rule.get("rule")?.as_str()?.to_owned())));
                fields.values().for_each(|part| rules(part, found));
            }
            Value::Array(items) => items.iter().for_each(|part| rules(part, found)),
            _ => {}
        }
    }

    #[test]
    fn every_rule_of_the_definition_is_known() {
        let mut found = Vec::new();
        rules(&super::super::policies::schema(), &mut found);
        assert!(found.len() >= 4, "{found:?}");
        for rule in found {
            assert!(holds(&rule, &Value::Null).is_some(), "{rule}");
        }
    }

    #[test]
    fn what_the_definition_forbids_is_refused() {
        let schema = super::super::policies::schema();
        let chain = json!([{"name": "a", "builtin": "notify"}]);
        let expression = |operator: &str, values: Value| {
            json!({"chain": chain, "stageSelector": {"matchExpressions":
                [{"key": "tier", "operator": operator, "values": values}]}})
        };
        for (spec, path) in [
            (json!({"chain": []}), Some("/chain")),
            (json!({}), Some("/chain")),
            (json!({"chain": chain, "limits": {"retries": 100_000_000}}), Some("/limits/retries")),
            (json!({"chain": chain, "limits": {"backoff": "5 minutes"}}), Some("/limits/backoff")),
            (json!({"chain": chain, "priority": 1_001}), Some("/priority")),
            (json!({"chain": [{"name": "a"}]}), Some("/chain/0")),
            (json!({"chain": [{"name": "A_b", "builtin": "notify"}]}), Some("/chain/0/name")),
            (
                json!({"chain": [{"name": "a", "builtin": "notify"}, {"name": "a", "builtin": "notify"}]}),
                Some("/chain"),
            ),
            (expression("In", json!([])), Some("/stageSelector/matchExpressions/0")),
            (expression("Exists", json!(["x"])), Some("/stageSelector/matchExpressions/0")),
            (expression("NotIn", json!(["x"])), None),
            (json!({"chain": chain, "mode": "Enforce", "limits": null}), None),
        ] {
            let refused = refused(&spec, &schema);
            assert_eq!(refused.as_ref().map(|(path, _)| path.as_str()), path, "{spec}: {refused:?}");
        }
    }
}
