//! What Kargo says about a Stage's health: unknown unless the last Promotion succeeded, else what the checks say.
//! In go a Stage and the script, out comes the changed Stage. Checks themselves are scripted; without a rule the
//! Stage is Healthy, as Kargo has it when no step registered a check. Source: `regular_stages.go`, `assessHealth`.

use serde_json::{Value, json};

use crate::conditions::{self, Condition, FALSE, TRUE, UNKNOWN};
use crate::object::{at, list, put, remove, text};
use crate::promotion::Phase;
use crate::script::Script;
use crate::stage::Stage;
use crate::world::World;

/// Sets `health` and the `Healthy` condition.
pub(crate) fn assess(stage: &mut Value, script: &Script, world: &World) {
    let view = Stage(stage);
    let condition = if view.current_promotion().is_some() {
        let issue = "Cannot assess health because a Promotion is currently in progress";
        put(stage, &["status", "health"], json!({ "status": "Unknown", "issues": [issue] }));
        Condition::new("Healthy", UNKNOWN, "ActivePromotion", "Stage has a Promotion in progress")
    } else if view.last_promotion().is_none() {
        remove(stage, &["status", "health"]);
        Condition::new("Healthy", UNKNOWN, "NoFreight", "Stage has no current Freight")
    } else {
        match Phase::from_text(text(stage, &["status", "lastPromotion", "status", "phase"])) {
            Phase::Succeeded => check(stage, script),
            other => {
                let issue = "Cannot assess health because last Promotion did not succeed";
                put(stage, &["status", "health"], json!({ "status": "Unknown", "issues": [issue] }));
                Condition::new("Healthy", UNKNOWN, &format!("LastPromotion{}", other.text()), issue)
            }
        }
    };
    conditions::set(stage, &condition, world);
}

fn check(stage: &mut Value, script: &Script) -> Condition {
    let freight = text(stage, &["status", "lastPromotion", "freight", "name"]);
    let rule = script.health_rule(Stage(stage).name(), freight);
    let status = rule.map_or("Healthy", |rule| rule.status.as_str()).to_owned();
    let issues = rule.map(|rule| rule.issues.clone()).unwrap_or_default();
    let checks = list(stage, &["status", "lastPromotion", "status", "healthChecks"]).len();
    let mut health = at(stage, &["status", "health"]).cloned().unwrap_or_else(|| json!({}));
    put(&mut health, &["status"], json!(status));
    match issues.is_empty() {
        true => remove(&mut health, &["issues"]),
        false => put(&mut health, &["issues"], json!(issues)),
    }
    put(stage, &["status", "health"], health);
    match status.as_str() {
        "Healthy" => {
            let message = format!("Stage is healthy (performed {checks} health checks)");
            Condition::new("Healthy", TRUE, "Healthy", &message)
        }
        "Unhealthy" => {
            let message = format!("Stage is unhealthy ({} issues in {checks} health checks)", issues.len());
            Condition::new("Healthy", FALSE, "Unhealthy", &message)
        }
        other => Condition::new("Healthy", UNKNOWN, other, ""),
    }
}
