//! A scenario whose hours are minutes: real time cannot be skipped.
//!
//! In: a scenario and how many times faster it is to be. Out: the same one with every duration divided: moments, what
//! steps and verifications take, what policies wait, and all deadlines, those that the file leaves to their defaults
//! included. What the controller does not let anybody set stays as it is: at least 10 s of backoff, 3 minutes between a
//! rollback and the next delivery, 10 to 30 s until something counts as lost. This is the only place that changes times.

use policy_core::deadlines::Deadlines;
use policy_core::time::{format_duration, parse_duration};
use serde_json::{Value, json};
use simulator::Scenario;

/// The scenario, that many times faster; nothing gets shorter than a second.
///
/// # Errors
/// When it is no scenario any more.
pub fn hurried(scenario: &Scenario, times: u32) -> anyhow::Result<Scenario> {
    let mut document = serde_json::to_value(scenario)?;
    for policy in document["policies"].as_object_mut().into_iter().flatten() {
        usual_deadlines(policy.1)?;
    }
    for part in ["policies", "script", "timeline", "until"] {
        divide(&mut document[part], times);
    }
    Ok(serde_json::from_value(document)?)
}

/// Writes down what the policy leaves to its defaults.
fn usual_deadlines(policy: &mut Value) -> anyhow::Result<()> {
    let usual = serde_json::to_value(Deadlines::default())?;
    for key in Deadlines::KEYS {
        let seconds = usual[*key].as_u64().and_then(|seconds| u32::try_from(seconds).ok());
        if policy["deadlines"][*key].is_null() {
            policy["deadlines"][*key] = json!(format_duration(seconds.unwrap_or_default()));
        }
    }
    Ok(())
}

fn divide(value: &mut Value, times: u32) {
    match value {
        Value::String(text) => {
            if let Some(seconds) = parse_duration(text).filter(|seconds| *seconds > 0) {
                *text = format_duration(seconds.div_ceil(times));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| divide(item, times)),
        Value::Object(fields) => {
            let is_deadlines = |key: &str| key == "deadlines";
            for (key, field) in fields.iter_mut() {
                divide(field, times);
                if is_deadlines(key) {
                    field.as_object_mut().into_iter().flatten().for_each(|(_, text)| at_least(text));
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// No policy may set a shorter deadline.
fn at_least(deadline: &mut Value) {
    let seconds = deadline.as_str().and_then(parse_duration).unwrap_or_default();
    *deadline = json!(format_duration(seconds.max(Deadlines::MIN_SECONDS)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_is_divided_and_every_deadline_is_written_down() {
        let scenario = json!({"title": "one", "world": {"stages": [{"name": "prod"}]},
            "policies": {"default": {"deadlines": {"promotionPending": "30m"},
                "chain": [{"name": "retry", "builtin": "retry-transient", "settings": {"base": "90s", "max": 2}}]}},
            "script": {"verifications": [{"outcome": "fail", "takes": "1m"}]},
            "timeline": [{"at": "0s", "kargo": "down"}, {"at": "1h", "kargo": "up"}], "until": "2h"});
        let scenario = serde_json::from_value(scenario).unwrap();
        let faster = serde_json::to_value(hurried(&scenario, 60).unwrap()).unwrap();
        let policy = &faster["policies"]["default"];
        assert_eq!(policy["chain"][0]["settings"], json!({"base": "2s", "max": 2}));
        assert_eq!(policy["deadlines"]["promotionPending"], "30s");
        assert_eq!(policy["deadlines"]["promotionStalled"], "1m");
        assert_eq!(policy["deadlines"]["stageUnhealthy"], "10s");
        assert_eq!(faster["script"]["verifications"][0]["takes"], "1s");
        assert_eq!((&faster["timeline"][1]["at"], &faster["until"]), (&json!("1m"), &json!("2m")));
    }
}
