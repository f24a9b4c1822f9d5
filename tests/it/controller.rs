//! The controller on a real API server: one scenario after the other, as a Project team would live through it.
//! What was written is counted from the API server's audit log, never from the controller's word.

use kargo_model::Script;
use kargo_model::script::{Attempts, Outcome as Step, VerificationOutcome};
use policy_tests::apiserver;
use policy_tests::stage_play::{NEW, OLD, STAGE, Setting, StagePlay, text};
use policy_tests::until;
use serde_json::{Value, json};

type Outcome = anyhow::Result<()>;

const RACE: &str = "error sending HTTP request: Post \"http://127.0.0.1:9/deploy\": dial tcp 127.0.0.1:9: connect: connection refused";

fn retrying(max: u32) -> Value {
    json!({"chain": [
            {"name": "retry", "builtin": "retry-transient", "settings": {"max": max, "base": "10s", "give-up": "escalate"}},
            {"name": "tell", "builtin": "notify"}],
        "limits": {"backoff": "10s", "retries": max}})
}

fn rolling_back() -> Value {
    json!({"chain": [
            {"name": "back", "builtin": "rollback-last-verified"},
            {"name": "tell", "builtin": "notify"}],
        "allowedActions": ["rollback", "notify", "escalate", "accept", "wait", "record", "emit-event", "hand-off"]})
}

fn closed_as(incident: &Value, resolution: &str) {
    assert_eq!(text(incident, "/status/closed/resolution"), resolution, "{incident:#}");
}

fn fails_first(attempts: Attempts) -> Script {
    Script::new().step(STAGE, NEW, attempts, ("deploy", Step::Error(RACE.to_owned())))
}

fn bad_freight() -> Script {
    Script::new().verification(STAGE, NEW, Attempts::Any, VerificationOutcome::Fail)
}

#[tokio::test]
async fn a_retry_recovers() -> Outcome {
    let server = apiserver::shared().await?;
    let play =
        StagePlay::open(server, "retry-recovers", fails_first(Attempts::Only(1)), Setting::default()).await?;
    play.freight(NEW, 2).await?;
    play.policy("retry", &retrying(3)).await?;
    let _refloat = play.replica("one", &[])?;
    play.condition("retry", "Accepted", "True").await?;
    play.promote(NEW).await?;
    let incident = play.closed().await?;
    closed_as(&incident, "Recovered");
    play.deliveries().await?.expect(1)?;
    play.writes_to_kargo()?.expect(1)?;
    play.verified(NEW, "Successful").await?;
    let promotions = play.promotions().await?;
    let ours = promotions
        .last()
        .map(|promotion| text(promotion, "/metadata/annotations/kargo.akuity.io~1create-actor"));
    assert_eq!(ours.as_deref(), Some("kubernetes:system:serviceaccount:retry-recovers:refloat"));
    Ok(())
}

#[tokio::test]
async fn retries_run_out_and_one_person_is_called() -> Outcome {
    let server = apiserver::shared().await?;
    let play =
        StagePlay::open(server, "retries-exhausted", fails_first(Attempts::Any), Setting::default()).await?;
    play.freight(NEW, 2).await?;
    // Without `notify`, whose message about the same failure is as loud: one page is the escalation's.
    let mut policy = retrying(1);
    policy["chain"].as_array_mut().map(Vec::pop);
    play.policy("retry", &policy).await?;
    let _refloat = play.replica("one", &[])?;
    play.condition("retry", "Accepted", "True").await?;
    play.promote(NEW).await?;
    let incident = play.closed().await?;
    closed_as(&incident, "Exhausted");
    play.deliveries().await?.expect(1)?;
    let events = play.events().await?;
    let pages = events.iter().filter(|(reason, _)| reason == "RefloatEscalation").count();
    assert_eq!(pages, 1, "{events:#?}");
    Ok(())
}

#[tokio::test]
async fn a_failed_verification_is_rolled_back_and_the_bad_freight_stays_away() -> Outcome {
    let server = apiserver::shared().await?;
    let setting = Setting { auto_promotion: true, ..Setting::default() };
    let play = StagePlay::open(server, "rolled-back", bad_freight(), setting).await?;
    play.policy("back", &rolling_back()).await?;
    let _refloat = play.replica("one", &[])?;
    play.condition("back", "Accepted", "True").await?;
    play.freight(NEW, 2).await?;
    let incident = play.closed().await?;
    closed_as(&incident, "RolledBack");
    play.verified(OLD, "Successful").await?;
    play.deliveries().await?.expect(1)?;
    let stage = play.stage().await?;
    assert_eq!(text(&stage, "/status/autoPromotionHolds/Warehouse~1web/freightName"), OLD, "{stage:#}");
    let history =
        stage.pointer("/status/freightHistory").and_then(Value::as_array).cloned().unwrap_or_default();
    let runs: Vec<String> = history
        .iter()
        .filter(|entry| text(entry, "/items/Warehouse~1web/name") == OLD)
        .map(|entry| text(entry, "/verificationHistory/0/analysisRun/name"))
        .collect();
    assert!(runs.len() == 2 && runs[0] != runs[1], "the rollback was judged by a fresh run: {runs:?}");
    Ok(())
}

#[tokio::test]
async fn a_rollback_that_fails_its_fresh_verification_is_not_rolled_back() -> Outcome {
    let server = apiserver::shared().await?;
    let play = StagePlay::open(server, "rollback-fails", bad_freight(), Setting::default()).await?;
    play.freight(NEW, 2).await?;
    play.policy("back", &rolling_back()).await?;
    let _refloat = play.replica("one", &[])?;
    play.condition("back", "Accepted", "True").await?;
    play.kargo.script(|script| {
        *script = bad_freight().verification(STAGE, OLD, Attempts::From(2), VerificationOutcome::Fail);
    });
    play.promote(NEW).await?;
    let incident = play.closed().await?;
    assert!(
        ["Exhausted", "HandedOff"].contains(&text(&incident, "/status/closed/resolution").as_str()),
        "{incident:#}"
    );
    play.deliveries().await?.expect(1)?;
    Ok(())
}

#[tokio::test]
async fn a_policy_that_never_returns_changes_nothing_and_is_named() -> Outcome {
    let server = apiserver::shared().await?;
    let play = StagePlay::open(server, "loops", fails_first(Attempts::Any), Setting::default()).await?;
    play.freight(NEW, 2).await?;
    let module = policy_tests::guests::hostile()?;
    play.cluster_module("loops-for-ever", &module).await?;
    let chain = json!({"chain": [{"name": "loops", "module": {"kind": "ClusterPolicyModule", "name": "loops-for-ever"},
        "settings": {"do": "loop"}}],
        "allowedActions": policy_tests::guests::HOSTILE_ACTIONS});
    play.policy("loops", &chain).await?;
    let _refloat = play.replica("one", &[])?;
    play.condition("loops", "Accepted", "True").await?;
    play.promote(NEW).await?;
    let incident = play.closed().await?;
    closed_as(&incident, "HandedOff");
    assert_eq!(text(&incident, "/status/closed/reason"), "GuestFault");
    play.writes_to_kargo()?.expect_none()?;
    let events = play.events().await?;
    assert!(events.iter().any(|(_, text)| text.contains("loops") && text.contains("fuel")), "{events:#?}");
    Ok(())
}

#[tokio::test]
async fn a_policy_that_never_answers_is_asked_three_times() -> Outcome {
    let server = apiserver::shared().await?;
    let play = StagePlay::open(server, "disabled", fails_first(Attempts::Any), Setting::default()).await?;
    play.freight(NEW, 2).await?;
    let module = policy_tests::guests::hostile()?;
    play.cluster_module("never-answers", &module).await?;
    let chain = |what: &str| {
        json!({"chain": [{"name": "loops", "module": {"kind": "ClusterPolicyModule", "name": "never-answers"},
            "settings": {"do": what}}],
            "allowedActions": policy_tests::guests::HOSTILE_ACTIONS})
    };
    play.policy("loops", &chain("loop")).await?;
    let _refloat = play.replica("one", &[])?;
    play.condition("loops", "Accepted", "True").await?;
    for n in 1..=4 {
        play.promote(NEW).await?;
        play.all_closed(n).await?;
    }
    let incidents = play.all_closed(4).await?;
    let said: Vec<String> = incidents.iter().map(|one| text(one, "/status/closed/message")).collect();
    assert!(said[..3].iter().all(|said| said.contains("used up its fuel")), "{said:#?}");
    assert!(said[3].contains("is disabled and was not asked"), "{said:#?}");
    let message = play.condition("loops", "Answering", "False").await?;
    assert!(message.contains("3 guest faults in a row") && message.contains("settings"), "{message}");
    play.change_policy("loops", &json!({"spec": chain("pass")})).await?;
    play.condition("loops", "Answering", "True").await?;
    play.promote(NEW).await?;
    play.all_closed(5).await?;
    play.writes_to_kargo()?.expect_none()?;
    Ok(())
}

#[tokio::test]
async fn what_outlives_an_incident_is_kept() -> Outcome {
    let server = apiserver::shared().await?;
    let play = StagePlay::open(server, "remembers", bad_freight(), Setting::default()).await?;
    play.freight(NEW, 2).await?;
    play.policy("back", &rolling_back()).await?;
    let _refloat = play.replica("one", &[])?;
    play.condition("back", "Accepted", "True").await?;
    play.promote(NEW).await?;
    let incident = play.closed().await?;
    closed_as(&incident, "RolledBack");
    until("the StageRecord knows the delivery and the good Freight", || async {
        let records = play.ours("StageRecord", "stagerecords").await?;
        let Some(record) = records.first() else { return Ok(false) };
        Ok(text(record, "/status/deliveries/0/incident") == text(&incident, "/metadata/name")
            && text(record, "/status/deliveries/0/kind") == "rollback"
            && text(record, "/status/lastGood/0/freight") == OLD)
    })
    .await?;
    let records = play.ours("DecisionRecord", "decisionrecords").await?;
    assert_eq!(text(&records[0], "/metadata/ownerReferences/0/name"), text(&incident, "/metadata/name"));
    Ok(())
}

#[tokio::test]
async fn observe_decides_and_writes_nothing() -> Outcome {
    let server = apiserver::shared().await?;
    let play = StagePlay::open(server, "observes", bad_freight(), Setting::default()).await?;
    play.freight(NEW, 2).await?;
    let mut policy = rolling_back();
    policy["mode"] = json!("Observe");
    play.policy("back", &policy).await?;
    let _refloat = play.replica("one", &[])?;
    play.condition("back", "Accepted", "True").await?;
    play.promote(NEW).await?;
    closed_as(&play.closed().await?, "Observed");
    play.writes_to_kargo()?.expect_none()?;
    let records = play.ours("DecisionRecord", "decisionrecords").await?;
    assert_eq!(records.len(), 1, "what would have been done is on record");
    replays(&records[0])
}

/// `refloat replay` makes the same decision again from a record that the controller wrote, byte for byte.
fn replays(record: &Value) -> Outcome {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), serde_json::to_vec(record)?)?;
    let output = std::process::Command::new(policy_tests::stage_play::refloat()?)
        .arg("replay")
        .arg(file.path())
        .output()?;
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    anyhow::ensure!(output.status.code() == Some(0), "replay ended with {:?}:\n{said}", output.status.code());
    Ok(())
}

#[tokio::test]
async fn without_promote_the_stage_is_observed_and_the_policy_says_so() -> Outcome {
    let server = apiserver::shared().await?;
    let setting = Setting { without: vec!["promote"], ..Setting::default() };
    let play = StagePlay::open(server, "no-promote", bad_freight(), setting).await?;
    play.freight(NEW, 2).await?;
    play.policy("back", &rolling_back()).await?;
    let _refloat = play.replica("one", &[])?;
    let message = play.condition("back", "WriteAccess", "False").await?;
    assert!(message.contains("promote"), "{message}");
    play.promote(NEW).await?;
    closed_as(&play.closed().await?, "Observed");
    play.audit()?.resource("promotions").by_user(policy_tests::apiserver::REFLOAT).writes().expect_none()?;
    Ok(())
}

#[tokio::test]
async fn while_the_webhooks_are_down_nothing_is_spent() -> Outcome {
    let server = apiserver::shared().await?;
    let mut play = StagePlay::open(server, "webhooks-down", bad_freight(), Setting::default()).await?;
    play.freight(NEW, 2).await?;
    play.policy("back", &rolling_back()).await?;
    let down = {
        play.promote(NEW).await?;
        play.verified(NEW, "Failed").await?;
        play.kargo.webhooks_down();
        play.replica("one", &[])?
    };
    until("the dry run was refused", || async {
        Ok(!play.audit()?.resource("promotions").filter(|request| request.code >= 500).is_empty())
    })
    .await?;
    let incidents = play.ours("Incident", "incidents").await?;
    assert!(
        incidents.iter().all(|incident| incident.pointer("/status/attempts/0").is_none()),
        "{incidents:#?}"
    );
    play.kargo.webhooks_up()?;
    closed_as(&play.closed().await?, "RolledBack");
    play.deliveries().await?.expect(1)?;
    drop(down);
    Ok(())
}

#[tokio::test]
async fn of_two_replicas_one_acts() -> Outcome {
    let server = apiserver::shared().await?;
    let play = StagePlay::open(server, "two-replicas", bad_freight(), Setting::default()).await?;
    play.freight(NEW, 2).await?;
    play.policy("back", &rolling_back()).await?;
    let _one = play.replica("one", &[])?;
    let _two = play.replica("two", &[])?;
    play.condition("back", "Accepted", "True").await?;
    play.promote(NEW).await?;
    closed_as(&play.closed().await?, "RolledBack");
    play.deliveries().await?.expect(1)?;
    play.audit()?.resource("incidents").verb("create").writes().expect(1)?;
    Ok(())
}
