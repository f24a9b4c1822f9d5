//! Whose rights: a person who may edit FailurePolicies in one Project can cause nothing that the Project's own account
//! may not do, nothing in another Project, and nothing that the platform forbids.
//! Mallory is that person. What happened is counted from the API server's audit log.

use kargo_model::Script;
use kargo_model::script::{Attempts, VerificationOutcome};
use kube::api::{Api, DynamicObject, ObjectMeta, PostParams};
use policy_tests::apiserver::{self, ADMIN, MALLORY, REFLOAT, User};
use policy_tests::refusal;
use policy_tests::rights::{Grant, rule};
use policy_tests::stage_play::{NEW, STAGE, Setting, StagePlay, ours_resource, text};
use serde_json::json;

type Outcome = anyhow::Result<()>;

fn bad_freight() -> Script {
    Script::new().verification(STAGE, NEW, Attempts::Any, VerificationOutcome::Fail)
}

async fn let_mallory_edit(project: &str) -> Outcome {
    let server = apiserver::shared().await?;
    Grant {
        name: format!("{project}-mallory"),
        namespace: Some(project.to_owned()),
        user: User::new(MALLORY),
        rules: vec![rule(
            "refloat.dev",
            &["failurepolicies", "policymodules"],
            &["create", "get", "patch", "update"],
        )],
    }
    .apply(&server.client(ADMIN).await?)
    .await
}

/// Mallory enforces rollbacks; the account may not promote: nothing is written, and the policy says what is missing.
#[tokio::test]
async fn an_editor_gets_no_more_than_the_account_has() -> Outcome {
    let server = apiserver::shared().await?;
    let setting = Setting { without: vec!["promote"], ..Setting::default() };
    let play = StagePlay::open(server, "rights-account", bad_freight(), setting).await?;
    let_mallory_edit("rights-account").await?;
    play.freight(NEW, 2).await?;
    let policy = json!({"mode": "Enforce", "chain": [{"name": "back", "builtin": "rollback-last-verified"}],
        "allowedActions": ["rollback", "notify", "escalate", "accept", "wait", "record", "emit-event", "hand-off"]});
    play.policy_as(MALLORY, "mine", &policy).await?;
    let _refloat = play.replica("one", &[])?;
    play.condition("mine", "WriteAccess", "False").await?;
    play.promote(NEW).await?;
    let incident = play.closed().await?;
    assert_eq!(text(&incident, "/status/closed/resolution"), "Observed", "{incident:#}");
    play.writes_to_kargo()?.expect_none()?;
    play.audit()?
        .by_user(REFLOAT)
        .group("kargo.akuity.io")
        .writes()
        .expect_none()
        .map_err(anyhow::Error::from)
}

/// The controller itself has no write right on Kargo, and may impersonate no other account.
#[tokio::test]
async fn the_controller_itself_may_write_nothing_on_kargo() -> Outcome {
    let server = apiserver::shared().await?;
    let play = StagePlay::open(server, "rights-own", Script::new(), Setting::default()).await?;
    let promotion = json!({"apiVersion": "kargo.akuity.io/v1alpha1", "kind": "Promotion",
        "metadata": {"namespace": "rights-own", "generateName": "p-"},
        "spec": {"stage": STAGE, "freight": NEW, "steps": [{"uses": "fail"}]}});
    let own = refusal(policy_tests::kargo::create(&server.client(REFLOAT).await?, &promotion).await)?;
    assert_eq!(own.code, 403, "{}", own.message);
    let other = User::new("system:serviceaccount:kargo:kargo-controller");
    let client = server.impersonating(REFLOAT, &other).await?;
    let as_kargo = refusal(policy_tests::kargo::create(&client, &promotion).await)?;
    assert_eq!(as_kargo.code, 403, "{}", as_kargo.message);
    assert!(as_kargo.message.contains("impersonate"), "{}", as_kargo.message);
    play.writes_to_kargo()?.expect_none()?;
    Ok(())
}

/// Records and incidents are the controller's: an editor of policies can neither forge nor change them.
#[tokio::test]
async fn an_editor_cannot_forge_incidents_or_records() -> Outcome {
    let server = apiserver::shared().await?;
    let _play = StagePlay::open(server, "rights-forge", Script::new(), Setting::default()).await?;
    let_mallory_edit("rights-forge").await?;
    let mallory = server.client(MALLORY).await?;
    for (kind, plural) in
        [("Incident", "incidents"), ("DecisionRecord", "decisionrecords"), ("StageRecord", "stagerecords")]
    {
        let resource = ours_resource(kind, plural);
        let api: Api<DynamicObject> = Api::namespaced_with(mallory.clone(), "rights-forge", &resource);
        let object = DynamicObject {
            types: None,
            metadata: ObjectMeta { name: Some("forged".to_owned()), ..ObjectMeta::default() },
            data: json!({"spec": {}}),
        };
        let refused = refusal(api.create(&PostParams::default(), &object).await)?;
        assert_eq!(refused.code, 403, "{}", refused.message);
    }
    Ok(())
}

/// A Project's own module is not used unless the platform says so.
#[tokio::test]
async fn a_projects_own_module_is_not_used_without_the_platforms_word() -> Outcome {
    let server = apiserver::shared().await?;
    let play = StagePlay::open(server, "rights-module", bad_freight(), Setting::default()).await?;
    let_mallory_edit("rights-module").await?;
    play.freight(NEW, 2).await?;
    let policy = json!({"chain": [{"name": "own", "module": {"kind": "PolicyModule", "name": "own"}}]});
    play.policy_as(MALLORY, "mine", &policy).await?;
    let _refloat = play.replica("one", &[])?;
    let message = play.condition("mine", "Accepted", "False").await?;
    assert!(
        message.contains("/chain/0/module") && message.contains("does not let this Project bring modules"),
        "{message}"
    );
    // The Event follows the condition.
    policy_tests::until("an Event says it, too", || async {
        Ok(play.events().await?.iter().any(|(reason, _)| reason == "ProjectModulesForbidden"))
    })
    .await
}
