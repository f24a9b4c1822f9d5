//! A failed Promotion of any size, and `retry-transient` as a native function.
//!
//! In: how many steps. Out: the host's own context, in the mixture of texts, lists and options that Kargo gives. The
//! native function is what a host without a sandbox would call: it reads and answers the same.

use policy_core::context::Context;
use policy_core::decision::{Action, Answer, Decision, OnError, Operation};
use policy_core::failure::{Class, Retryability, Trigger};
use policy_core::settings::{Scalar, Settings, accept};
use serde_json::{Value, json};

/// A Promotion that Errored in its last step, with the default settings of that schema.
pub(crate) fn context(steps: usize, settings_schema: &str) -> Result<Context, Box<dyn std::error::Error>> {
    let step = |index: usize| {
        json!({
            "index": index, "alias": format!("step-{index}"), "kind": "git-push", "status": "Succeeded",
            "message": "pushed refs/heads/main to https://git.example.com/shop/deploy.git: 3 objects, 1 commit",
            "mutates": true, "startedUnixSeconds": 1_699_999_000, "finishedUnixSeconds": 1_699_999_010,
            "extra": [["commit", "0123456789abcdef"]],
        })
    };
    let freight = json!({
        "name": "f".repeat(40), "alias": "brave-fox", "origin": "Warehouse/shop", "discoveredUnixSeconds": 1_699_990_000,
        "artifacts": [{ "kind": "image", "repository": "registry.example.com/shop", "version": "1.2.3" }],
    });
    let context = json!({
        "nowUnixSeconds": 1_700_000_000, "seed": [1, 2, 3, 4],
        "failure": { "id": "f1", "trigger": "promotion-errored", "atUnixSeconds": 1_699_999_000,
            "summary": "Promotion prod.01 Errored at step-1" },
        "classification": { "class": "transient", "retryability": "after-delay", "faultDomain": "environment",
            "effect": "partial", "confidencePercent": 90, "rule": "G2", "step": "step-1", "text": "connection reset" },
        "incident": { "id": "i1", "openedUnixSeconds": 1_699_999_000 },
        "budgets": { "retriesLeft": 3, "rollbacksLeft": 1, "deliveriesLeft": 4 },
        "project": { "name": "shop", "labels": [["team", "checkout"]] },
        "stage": { "name": "prod", "health": "unknown", "origins": ["Warehouse/shop"], "labels": [["tier", "prod"]] },
        "promotion": { "name": "prod.01", "freight": "f".repeat(40), "phase": "Errored", "message": "step-1: reset",
            "actorKind": "kargo", "steps": (0..steps).map(step).collect::<Vec<Value>>() },
        "freight": { "failing": freight, "current": [freight] },
        "capabilities": ["retry", "rollback", "notify", "accept", "wait"],
    });
    // Without jitter, so that the native function needs no generator of its own.
    let settings = accept(&json!({ "jitter": "none" }), settings_schema)
        .map_err(|problems| format!("the settings are not acceptable: {problems:?}"))?;
    Ok(Context { settings, ..serde_json::from_value(context)? })
}

/// What `retry-transient` does for a failed Promotion that may be repeated; `Pass` where it would do anything else.
pub(crate) fn decide_natively(context: &Context) -> Answer {
    let classification = &context.classification;
    let class = match classification.class {
        Class::Transient => "transient",
        Class::Quota => "quota",
        _ => return Answer::Pass,
    };
    let is_promotion_failure =
        matches!(context.failure.trigger, Trigger::PromotionFailed | Trigger::PromotionErrored);
    let forbids = |retry: Retryability| matches!(retry, Retryability::NeedsChange | Retryability::Never);
    let forbidden = forbids(classification.retryability)
        || context.hints.iter().any(|hint| hint.retry.is_some_and(forbids));
    let settings = &context.settings;
    let (Some(max), Some(base)) = (integer(settings, "/max"), integer(settings, "/base")) else {
        return Answer::Pass;
    };
    let attempt = context.incident.retries + 1;
    if !is_promotion_failure
        || forbidden
        || !listed(settings, "/classes", class)
        || attempt > max
        || context.budgets.retries_left == 0
        || context.budgets.deliveries_left == 0
    {
        return Answer::Pass;
    }
    let asked = context.hints.iter().filter_map(|hint| hint.retry_after_seconds).max().unwrap_or(0);
    let delay_seconds = base.max(asked);
    let step = classification.step.as_ref().map_or_else(String::new, |step| format!(" in step `{step}`"));
    let reason = format!(
        "class {class} (rule {}){step} and may pass: attempt {attempt} of {max} in {delay_seconds}s",
        classification.rule
    );
    let explanation = reason.clone();
    let operation = Operation::Retry { delay_seconds };
    let action = Action { id: "a1".to_owned(), reason, on_error: OnError::Stop, operation };
    Answer::Decide(Decision { actions: vec![action], explanation, ..Decision::default() })
}

fn integer(settings: &Settings, pointer: &str) -> Option<u32> {
    match settings.values.iter().find(|(path, _)| path == pointer)? {
        (_, Scalar::Integer(value)) => u32::try_from(*value).ok(),
        _ => None,
    }
}

fn listed(settings: &Settings, pointer: &str, wanted: &str) -> bool {
    settings.values.iter().any(|(path, value)| {
        path.starts_with(pointer) && matches!(value, Scalar::Text(text) if text == wanted)
    })
}
