//! Whether a Stage is promoted automatically: the first matching policy of the ProjectConfig decides.
//! In go a Stage and the ProjectConfig, out comes on or off. It must not look at the Stage's status, which lags.
//! Source: `pkg/api/auto_promotion.go:20-74`. Limit: a pattern that Kargo can't parse matches nothing here, where
//! Kargo's reconcile would fail.

use regex::Regex;
use serde_json::{Map, Value};

use crate::object::{at, flag, list, map, text};
use crate::stage::Stage;
use crate::world::{Kind, World};

/// Whether Kargo promotes to a Stage by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoPromotion {
    /// It does.
    On,
    /// It does not; also without a ProjectConfig or a matching policy.
    Off,
}

/// The setting that holds for `stage` at this moment.
pub fn auto_promotion(world: &World, stage: Stage<'_>) -> AutoPromotion {
    let namespace = stage.namespace();
    let policies = world
        .get(Kind::ProjectConfig, namespace, namespace)
        .map_or(&[] as &[Value], |config| list(config, &["spec", "promotionPolicies"]));
    match policies.iter().find(|policy| matches(policy, stage)) {
        Some(policy) if flag(policy, &["autoPromotionEnabled"]) => AutoPromotion::On,
        _ => AutoPromotion::Off,
    }
}

fn matches(policy: &Value, stage: Stage<'_>) -> bool {
    let Some(selector) = policy.get("stageSelector") else {
        let name = text(policy, &["stage"]);
        return name.is_empty() || name_matches(name, stage.name());
    };
    let name = text(selector, &["name"]);
    (name.is_empty() || name_matches(name, stage.name())) && labels_match(selector, stage)
}

fn name_matches(pattern: &str, name: &str) -> bool {
    let compiled = if let Some(glob) = pattern.strip_prefix("glob:") {
        Regex::new(&glob_to_regex(glob))
    } else if let Some(regex) = pattern.strip_prefix("regex:").or_else(|| pattern.strip_prefix("regexp:")) {
        Regex::new(regex)
    } else {
        return pattern == name;
    };
    compiled.is_ok_and(|compiled| compiled.is_match(name))
}

/// `*`, `?`, `[...]` and `{a,b}`; everything else stands for itself.
fn glob_to_regex(glob: &str) -> String {
    let mut regex = String::from("^");
    for c in glob.chars() {
        match c {
            '*' => regex.push_str(".*"),
            '?' => regex.push('.'),
            '[' | ']' => regex.push(c),
            '{' => regex.push_str("(?:"),
            '}' => regex.push(')'),
            ',' => regex.push('|'),
            other => regex.push_str(&regex::escape(&other.to_string())),
        }
    }
    regex.push('$');
    regex
}

fn labels_match(selector: &Value, stage: Stage<'_>) -> bool {
    let empty = Map::new();
    let labels = map(stage.0, &["metadata", "labels"]).unwrap_or(&empty);
    let exact = map(selector, &["matchLabels"]).unwrap_or(&empty);
    exact.iter().all(|(key, value)| labels.get(key) == Some(value))
        && list(selector, &["matchExpressions"]).iter().all(|expression| {
            let have = labels.get(text(expression, &["key"]));
            let listed = have.is_some_and(|have| list(expression, &["values"]).contains(have));
            match text(expression, &["operator"]) {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => have.is_some(),
                "DoesNotExist" => have.is_none(),
                _ => false,
            }
        })
}

/// Whether the Stage has a `spec.verification` at all.
pub(crate) fn has_verification(stage: Stage<'_>) -> bool {
    at(stage.0, &["spec", "verification"]).is_some_and(Value::is_object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_exactly_by_glob_or_by_regex() {
        for (pattern, name, expected) in [
            ("prod", "prod", true),
            ("prod", "prod-eu", false),
            ("glob:prod-*", "prod-eu", true),
            ("glob:{test,uat}", "uat", true),
            ("glob:prod.*", "prodxeu", false),
            ("regex:^prod-(eu|us)$", "prod-us", true),
            ("regexp:eu", "prod-eu", true),
            ("regex:(", "prod", false),
        ] {
            assert_eq!(name_matches(pattern, name), expected, "{pattern} against {name}");
        }
    }
}
