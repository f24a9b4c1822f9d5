//! People step in while the controller is at it, or was away: what they did last counts.
//! Creates are counted from the API server's audit log, never from the controller's word.

use kargo_model::Script;
use kargo_model::script::{Attempts, Outcome as Step, VerificationOutcome};
use policy_tests::apiserver;
use policy_tests::stage_play::{NEW, OLD, STAGE, Setting, StagePlay, text};
use policy_tests::until;
use serde_json::{Value, json};

type Outcome = anyhow::Result<()>;

fn rolling_back() -> Value {
    json!({"chain": [{"name": "back", "builtin": "rollback-last-verified"}],
        "allowedActions": ["rollback", "notify", "escalate", "accept", "wait", "record", "emit-event", "hand-off"]})
}

fn retrying() -> Value {
    json!({"chain": [{"name": "retry", "builtin": "retry-transient", "settings": {"base": "10s"}}],
        "limits": {"backoff": "10s"}})
}

fn bad_freight() -> Script {
    Script::new().verification(STAGE, NEW, Attempts::Any, VerificationOutcome::Fail)
}

fn never_works() -> Script {
    let refused = "error sending HTTP request: Post \"http://127.0.0.1:9/deploy\": dial tcp 127.0.0.1:9: connect: connection refused";
    Script::new().step(STAGE, NEW, Attempts::Any, ("deploy", Step::Error(refused.to_owned())))
}

/// A Project whose first replica has died with a claimed rollback that it never sent.
async fn died_with_a_claim(project: &str) -> anyhow::Result<StagePlay<'static>> {
    let server = apiserver::shared().await?;
    let play = StagePlay::open(server, project, bad_freight(), Setting::default()).await?;
    play.freight(NEW, 2).await?;
    play.policy("back", &rolling_back()).await?;
    let first = play.replica("first", &["--kill-after", "claimed"])?;
    play.condition("back", "Accepted", "True").await?;
    play.promote(NEW).await?;
    until("the first replica dies with a claim", || async { Ok(first.ended()) }).await?;
    Ok(play)
}

#[tokio::test]
async fn a_claim_is_not_taken_up_when_a_person_has_promoted_since() -> Outcome {
    let play = died_with_a_claim("claim-overtaken").await?;
    play.promote(OLD).await?;
    play.verified(OLD, "Successful").await?;
    let _second = play.replica("second", &[])?;
    let incident = play.closed().await?;
    assert_eq!(text(&incident, "/status/closed/resolution"), "Superseded", "{incident:#}");
    play.writes_to_kargo()?.expect_none()?;
    Ok(())
}

#[tokio::test]
async fn a_claim_is_not_taken_up_once_the_policy_only_observes() -> Outcome {
    let play = died_with_a_claim("claim-observed").await?;
    play.change_policy("back", &json!({"spec": {"mode": "Observe"}})).await?;
    let _second = play.replica("second", &[])?;
    let incident = play.closed().await?;
    assert_eq!(text(&incident, "/status/closed/resolution"), "Observed", "{incident:#}");
    play.writes_to_kargo()?.expect_none()?;
    Ok(())
}

/// Whoever may create Promotions may label them as ours; that hides no failure.
#[tokio::test]
async fn a_label_hides_no_failure() -> Outcome {
    let server = apiserver::shared().await?;
    let play = StagePlay::open(server, "forged-label", never_works(), Setting::default()).await?;
    play.freight(NEW, 2).await?;
    let mut policy = retrying();
    policy["mode"] = json!("Observe");
    play.policy("retry", &policy).await?;
    let _refloat = play.replica("one", &[])?;
    play.condition("retry", "Accepted", "True").await?;
    let labels =
        json!({"refloat.dev/incident": "prod-0000000000", "refloat.dev/attempt": "prod-0000000000-1"});
    play.promote_labelled(NEW, &labels).await?;
    let incident = play.closed().await?;
    assert_eq!(text(&incident, "/status/closed/resolution"), "Observed", "{incident:#}");
    play.writes_to_kargo()?.expect_none()?;
    Ok(())
}

/// What a deleted Incident had begun is told when it fails, and gets no new budget.
#[tokio::test]
async fn a_deleted_incident_gives_no_new_budget_and_no_silence() -> Outcome {
    let server = apiserver::shared().await?;
    let play = StagePlay::open(server, "deleted-incident", never_works(), Setting::default()).await?;
    play.freight(NEW, 2).await?;
    play.policy("retry", &retrying()).await?;
    let first = play.replica("first", &["--kill-after", "attached"])?;
    play.condition("retry", "Accepted", "True").await?;
    play.promote(NEW).await?;
    until("the first replica dies with its attempt under way", || async { Ok(first.ended()) }).await?;
    until("the attempt fails", || async {
        let promotions = play.promotions().await?;
        Ok(promotions.iter().filter(|one| text(one, "/status/phase") == "Errored").count() == 2)
    })
    .await?;
    for incident in play.ours("Incident", "incidents").await? {
        play.delete_ours("Incident", "incidents", &text(&incident, "/metadata/name")).await?;
    }
    let _second = play.replica("second", &[])?;
    until("the failure of the attempt is told", || async {
        let incidents = play.ours("Incident", "incidents").await?;
        Ok(incidents.iter().any(|one| text(one, "/status/closed/reason") == "Unclaimed"))
    })
    .await?;
    let events = play.events().await?;
    assert!(events.iter().any(|(_, text)| text.contains("Unclaimed")), "{events:#?}");
    play.deliveries().await?.expect(1)?;
    Ok(())
}
