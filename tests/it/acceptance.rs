//! Bad input in a cluster: a condition and an Event that name the thing and the place, and nothing lost.

use kargo_model::Script;
use kargo_model::script::{Attempts, VerificationOutcome};
use policy_tests::apiserver;
use policy_tests::stage_play::{NEW, STAGE, Setting, StagePlay, text};
use policy_tests::until;
use serde_json::{Value, json};

type Outcome = anyhow::Result<()>;

fn rolling_back(settings: &Value) -> Value {
    json!({"chain": [{"name": "back", "builtin": "rollback-last-verified", "settings": settings}],
        "allowedActions": ["rollback", "notify", "escalate", "accept", "wait", "record", "emit-event", "hand-off"]})
}

/// Waits for an Event of that reason whose text names the thing.
async fn told(play: &StagePlay<'_>, reason: &str, thing: &str) -> Outcome {
    until(&format!("an Event {reason} names {thing}"), || async {
        let events = play.events().await?;
        Ok(events.iter().any(|(one, text)| one == reason && text.contains(thing)))
    })
    .await
}

#[tokio::test]
async fn a_module_that_is_not_there_is_named() -> Outcome {
    let server = apiserver::shared().await?;
    let play = StagePlay::open(server, "accept-missing", Script::new(), Setting::default()).await?;
    let chain =
        json!({"chain": [{"name": "what", "module": {"kind": "ClusterPolicyModule", "name": "nowhere"}}]});
    play.policy("missing", &chain).await?;
    play.policy(
        "unknown",
        &json!({"priority": 1, "chain": [{"name": "what", "builtin": "retry-transiant"}]}),
    )
    .await?;
    let _refloat = play.replica("one", &[])?;
    let message = play.condition("missing", "Accepted", "False").await?;
    assert!(message.contains("/chain/0/module") && message.contains("nowhere"), "{message}");
    let message = play.condition("unknown", "Accepted", "False").await?;
    assert!(message.contains("retry-transient"), "the names that there are: {message}");
    let events = play.events().await?;
    assert!(
        events.iter().any(|(reason, text)| reason == "ModuleNotFound" && text.contains("nowhere")),
        "{events:#?}"
    );
    Ok(())
}

#[tokio::test]
async fn two_of_the_same_priority_conflict_and_the_stage_is_observed() -> Outcome {
    let server = apiserver::shared().await?;
    let script = Script::new().verification(STAGE, NEW, Attempts::Any, VerificationOutcome::Fail);
    let play = StagePlay::open(server, "accept-conflict", script, Setting::default()).await?;
    play.freight(NEW, 2).await?;
    play.policy("one", &rolling_back(&json!({}))).await?;
    play.policy("two", &rolling_back(&json!({}))).await?;
    let _refloat = play.replica("one", &[])?;
    let message = play.condition("one", "Conflict", "True").await?;
    assert!(message.contains("`two`"), "{message}");
    play.condition("two", "Conflict", "True").await?;
    told(&play, "SamePriority", "`two`").await?;
    play.promote(NEW).await?;
    let incident = play.closed().await?;
    assert_eq!(text(&incident, "/status/closed/resolution"), "Observed", "{incident:#}");
    play.writes_to_kargo()?.expect_none()?;
    Ok(())
}

#[tokio::test]
async fn a_selector_that_matches_nothing_says_so() -> Outcome {
    let server = apiserver::shared().await?;
    let play = StagePlay::open(server, "accept-nothing", Script::new(), Setting::default()).await?;
    let mut policy = rolling_back(&json!({}));
    policy["stageSelector"] = json!({"name": "glob:production-*"});
    play.policy("nothing", &policy).await?;
    let _refloat = play.replica("one", &[])?;
    let message = play.condition("nothing", "Ready", "False").await?;
    assert!(message.contains("glob:production-*"), "{message}");
    told(&play, "NoStageMatches", "glob:production-*").await
}

/// A mistake in newer settings changes nothing: the last accepted ones roll back.
#[tokio::test]
async fn broken_settings_are_named_and_the_last_good_ones_stay_in_force() -> Outcome {
    let server = apiserver::shared().await?;
    let script = Script::new().verification(STAGE, NEW, Attempts::Any, VerificationOutcome::Fail);
    let play = StagePlay::open(server, "accept-settings", script, Setting::default()).await?;
    play.freight(NEW, 2).await?;
    play.policy("back", &rolling_back(&json!({"phases": ["failed"]}))).await?;
    let _refloat = play.replica("one", &[])?;
    play.condition("back", "Accepted", "True").await?;
    let broken = rolling_back(&json!({"phases": ["failed", "sometimes"]}));
    play.change_policy("back", &json!({"spec": {"chain": broken["chain"]}})).await?;
    let message = play.condition("back", "Accepted", "False").await?;
    assert!(message.contains("/chain/0/settings/phases/1"), "{message}");
    play.promote(NEW).await?;
    let incident = play.closed().await?;
    assert_eq!(text(&incident, "/status/closed/resolution"), "RolledBack", "{incident:#}");
    Ok(())
}

/// A file that is no component leaves the module unusable, with the reason in its status.
#[tokio::test]
async fn a_module_that_is_no_component_says_why() -> Outcome {
    let server = apiserver::shared().await?;
    let play = StagePlay::open(server, "accept-bytes", Script::new(), Setting::default()).await?;
    let file = server.folder().join("not-a-component.wasm");
    std::fs::write(&file, "kind: FailurePolicy\n")?;
    play.cluster_module("no-component", &file).await?;
    let chain = json!({"chain": [{"name": "what", "module": {"kind": "ClusterPolicyModule", "name": "no-component"}}]});
    play.policy("text", &chain).await?;
    let _refloat = play.replica("one", &[])?;
    let message = play.condition("text", "Accepted", "False").await?;
    assert!(message.contains("no-component"), "{message}");
    until("the module says why", || async {
        let module =
            play.cluster_object("ClusterPolicyModule", "clusterpolicymodules", "no-component").await?;
        Ok(text(&module, "/status/conditions/0/reason") == "LoadFailed")
    })
    .await
}

/// A Project that may not bring modules gets none of them read, let alone compiled.
#[tokio::test]
async fn a_module_of_a_project_is_not_touched_unless_the_platform_lets_it_in() -> Outcome {
    let server = apiserver::shared().await?;
    let play = StagePlay::open(server, "accept-own-module", Script::new(), Setting::default()).await?;
    let source = json!({"spec": {"source": {"configMap": {"name": "own", "key": "policy.wasm"}}}});
    play.create_ours("PolicyModule", "policymodules", "own", &source).await?;
    let chain = json!({"chain": [{"name": "what", "module": {"kind": "PolicyModule", "name": "own"}}]});
    play.policy("own", &chain).await?;
    let _refloat = play.replica("one", &[])?;
    let message = play.condition("own", "Accepted", "False").await?;
    assert!(message.contains("does not let"), "{message}");
    told(&play, "ProjectModulesForbidden", "bring modules").await?;
    until("the module says why", || async {
        let modules = play.ours("PolicyModule", "policymodules").await?;
        Ok(modules.iter().any(|one| text(one, "/status/conditions/0/reason") == "ProjectModulesForbidden"))
    })
    .await?;
    play.audit()?.resource("configmaps").by_user(policy_tests::apiserver::REFLOAT).expect_none()?;
    Ok(())
}
