//! The stand-in for Kargo on a real API server: what a client sees there is what a running Kargo shows.
//! If one of these fails, no test of the controller against the stand-in means anything.

use anyhow::Context as _;
use kargo_model::object::{put, remove, text};
use kargo_model::{Kind, ObjectKey, Script};
use serde_json::{Value, json};

use kargo_model::Attempts;
use kargo_model::script::{Outcome as StepOutcome, VerificationOutcome};
use policy_tests::apiserver::{self, ADMIN, ALICE, ApiServer, MALLORY, REFLOAT, User};
use policy_tests::captured;
use policy_tests::kargo::{KargoStandIn, api, create, get};
use policy_tests::rights::{Grant, rule};
use policy_tests::until;

use kube::api::{DynamicObject, Patch, PatchParams};

type Outcome = anyhow::Result<()>;

const KARGO: &str = "kargo.akuity.io/v1alpha1";
const OLD: &str = "bf95772b8c1b188c8e4b98a22366778f5be78404";
const NEW: &str = "72b1975b2eeac46e96e63aabc0e0c68ec4e84846";

/// A Project with Freight `OLD` and `NEW` and the Stages `prod` (verified) and `late` (which takes only what
/// `prod` verified); our account may promote to both.
async fn project(server: &ApiServer, name: &str, script: Script) -> anyhow::Result<KargoStandIn> {
    let stand_in = KargoStandIn::start(server, name, script).await?;
    let admin = server.client(ADMIN).await?;
    let object = |kind: &str, object: &str, rest: Value| {
        let mut value = json!({"apiVersion": KARGO, "kind": kind,
            "metadata": {"name": object, "namespace": name}});
        kargo_model::merge::apply(&mut value, &rest);
        value
    };
    let subscription = json!({"image": {"repoURL": "registry.example.com/shop/web"}});
    let warehouse = json!({"spec": {"freightCreationPolicy": "Manual", "interval": "24h0m0s", "subscriptions": [subscription]}});
    create(&admin, &object("Warehouse", "web", warehouse)).await?;
    for freight in [OLD, NEW] {
        let mut rest = captured::freight(freight)?;
        // Kargo's webhook names it after what is in it.
        remove(&mut rest, &["metadata"]);
        let created = create(&admin, &object("Freight", "any-name", rest)).await?;
        assert_eq!(text(&created, &["metadata", "name"]), freight);
        let alias = text(&created, &["alias"]);
        assert_eq!(text(&created, &["metadata", "labels", "kargo.akuity.io/alias"]), alias, "{created}");
    }
    let stage = |sources: Value, verification: Value| {
        json!({"spec": {"verification": verification,
        "requestedFreight": [{"origin": {"kind": "Warehouse", "name": "web"}, "sources": sources}],
        "promotionTemplate": {"spec": {"steps": [
            {"uses": "compose-output", "as": "ok", "config": {"revision": "${{ ctx.targetFreight.name }}"}},
        ]}}}})
    };
    let smoke = json!({"analysisTemplates": [{"name": "smoke"}]});
    create(&admin, &object("Stage", "prod", stage(json!({"direct": true}), smoke))).await?;
    create(&admin, &object("Stage", "late", stage(json!({"stages": ["prod"]}), Value::Null))).await?;
    let may = |user: &str, rules| Grant {
        name: user.replace([':', '@'], "-"),
        namespace: Some(name.to_owned()),
        user: User::new(user),
        rules,
    };
    let group = "kargo.akuity.io";
    let create_only = vec![rule(group, &["promotions"], &["create"])];
    let all = vec![
        rule(group, &["promotions"], &["create", "patch", "get"]),
        rule(group, &["stages"], &["promote", "patch"]),
    ];
    may(REFLOAT, all).apply(&admin).await?;
    may(MALLORY, create_only).apply(&admin).await?;
    Ok(stand_in)
}

fn promotion(project: &str, stage: &str, freight: &str) -> Value {
    // The CRD wants steps; the webhook replaces them.
    json!({"apiVersion": KARGO, "kind": "Promotion", "metadata": {"namespace": project, "generateName": "p-"},
        "spec": {"stage": stage, "freight": freight, "steps": [{"uses": "fail"}]}})
}

async fn wait_for(
    client: &kube::Client,
    key: &ObjectKey,
    what: &str,
    path: &[&str],
    wanted: &str,
) -> Outcome {
    until(what, || async { Ok(text(&get(client, key).await?, path) == wanted) }).await
}

fn refused(result: Result<Value, kube::Error>) -> anyhow::Result<(u16, String, Vec<String>)> {
    let status = policy_tests::refusal(result)?;
    let causes = status.details.clone().map(|details| details.causes).unwrap_or_default();
    Ok((status.code, status.message.clone(), causes.into_iter().map(|cause| cause.field).collect()))
}

#[tokio::test]
async fn a_promotion_is_renamed_run_recorded_and_verified() -> Outcome {
    let server = apiserver::shared().await?;
    let name = "model-happy";
    let _kargo = project(server, name, Script::new()).await?;
    let (admin, ours) = (server.client(ADMIN).await?, server.client(REFLOAT).await?);
    let created = create(&ours, &promotion(name, "prod", OLD)).await?;
    let key = ObjectKey::of(&created).context("a Promotion")?;
    assert!(key.name.starts_with("prod.") && key.name.ends_with(".bf95772"), "{}", key.name);
    assert_eq!(
        created["metadata"]["annotations"]["kargo.akuity.io/create-actor"],
        format!("kubernetes:{REFLOAT}")
    );
    assert_eq!(created["spec"]["steps"][0]["uses"], "compose-output");
    wait_for(&admin, &key, "the Promotion ends", &["status", "phase"], "Succeeded").await?;
    let stage = ObjectKey::new(Kind::Stage, name, "prod");
    wait_for(&admin, &stage, "the Stage records it", &["status", "lastPromotion", "name"], &key.name).await?;
    until("the Stage is verified", || async {
        let verification =
            get(&admin, &stage).await?["status"]["freightHistory"][0]["verificationHistory"][0].clone();
        Ok(verification["phase"] == "Successful" && verification["analysisRun"]["phase"] == "Successful")
    })
    .await?;
    let freight = ObjectKey::new(Kind::Freight, name, OLD);
    until("the Freight is marked", || async {
        Ok(get(&admin, &freight).await?["status"]["verifiedIn"]["prod"].is_object())
    })
    .await?;
    // What `prod` verified is now available to `late`.
    create(&ours, &promotion(name, "late", OLD)).await?;
    Ok(())
}

#[tokio::test]
async fn refusals_reach_the_client_as_kargo_words_them() -> Outcome {
    let server = apiserver::shared().await?;
    let name = "model-refused";
    let mut kargo = project(server, name, Script::new()).await?;
    let ours = server.client(REFLOAT).await?;
    let (code, message, fields) = refused(create(&ours, &promotion(name, "late", OLD)).await)?;
    assert_eq!((code, fields), (422, vec!["spec.freight".to_owned()]), "{message}");
    assert!(
        message.contains("admission webhook \"promotion.kargo.akuity.io\" denied the request"),
        "{message}"
    );
    assert!(message.ends_with("Freight is not available to this Stage"), "{message}");
    let without = server.client(MALLORY).await?;
    let (code, message, _) = refused(create(&without, &promotion(name, "prod", OLD)).await)?;
    assert_eq!(code, 500, "{message}");
    let problem = format!("subject \"{MALLORY}\" is not permitted to create Promotions for Stage \"prod\"");
    assert!(message.ends_with(&problem), "{message}");
    let (code, message, _) =
        refused(create(&server.client(ALICE).await?, &promotion(name, "prod", OLD)).await)?;
    assert_eq!(code, 403, "{message}");
    kargo.webhooks_down();
    let (code, message, _) = refused(create(&ours, &promotion(name, "prod", OLD)).await)?;
    assert!(code == 500 && message.contains("failed calling webhook"), "{message}");
    kargo.webhooks_up()?;
    create(&ours, &promotion(name, "prod", OLD)).await?;
    Ok(())
}

#[tokio::test]
async fn waiting_steps_can_be_aborted_and_stopped_controllers_write_nothing() -> Outcome {
    let server = apiserver::shared().await?;
    let name = "model-abort";
    let script = Script::new().step("prod", OLD, Attempts::Only(1), ("ok", StepOutcome::Wait)).verification(
        "prod",
        NEW,
        Attempts::Any,
        VerificationOutcome::Fail,
    );
    let mut kargo = project(server, name, script).await?;
    let (admin, ours) = (server.client(ADMIN).await?, server.client(REFLOAT).await?);
    let key = ObjectKey::of(&create(&ours, &promotion(name, "prod", OLD)).await?).context("a Promotion")?;
    wait_for(&admin, &key, "the Promotion runs", &["status", "phase"], "Running").await?;
    let abort = json!({"metadata": {"annotations": {"kargo.akuity.io/abort": "terminate"}}});
    let promotions = api(&ours, Kind::Promotion, name);
    promotions.patch(&key.name, &PatchParams::default(), &Patch::Merge(&abort)).await?;
    let message = format!("Promotion terminated by kubernetes:{REFLOAT}");
    wait_for(&admin, &key, "the Promotion is aborted", &["status", "message"], &message).await?;

    let key = ObjectKey::of(&create(&ours, &promotion(name, "prod", NEW)).await?).context("a Promotion")?;
    let stage = ObjectKey::new(Kind::Stage, name, "prod");
    until("the verification fails", || async {
        let stage = get(&admin, &stage).await?;
        let failed = stage["status"]["freightHistory"][0]["verificationHistory"][0]["phase"] == "Failed";
        Ok(failed && stage["status"]["lastPromotion"]["name"] == key.name.as_str())
    })
    .await?;

    kargo.stop_controllers();
    let created = create(&ours, &promotion(name, "prod", OLD)).await?;
    let key = ObjectKey::of(&created).context("a Promotion")?;
    assert!(get(&admin, &key).await?.get("status").is_none());
    kargo.resume_controllers()?;
    wait_for(&admin, &key, "the Promotion ends", &["status", "phase"], "Succeeded").await
}

/// What happens to whoever creates a Promotion by server-side apply: the reason for `POST` everywhere else.
#[tokio::test]
async fn server_side_apply_leaves_a_phantom() -> Outcome {
    let server = apiserver::shared().await?;
    let name = "model-phantom";
    let _kargo = project(server, name, Script::new()).await?;
    let admin = server.client(ADMIN).await?;
    let promotions = api(&admin, Kind::Promotion, name);
    let applied: DynamicObject = serde_json::from_value({
        let mut object = promotion(name, "prod", OLD);
        put(&mut object, &["metadata"], json!({"name": "requested", "namespace": name}));
        object
    })?;
    let params = PatchParams::apply("phantom-maker");
    let answer = promotions.patch("requested", &params, &Patch::Apply(&applied)).await?;
    let shown = answer.metadata.name.context("a name")?;
    assert!(shown.starts_with("prod."), "{shown}");
    let listed: Vec<String> =
        promotions.list(&Default::default()).await?.into_iter().filter_map(|p| p.metadata.name).collect();
    assert_eq!(listed, std::slice::from_ref(&shown));
    assert!(promotions.get_opt(&shown).await?.is_none(), "the listed name can't be read");
    let under_requested = promotions.get("requested").await?;
    assert_eq!(under_requested.metadata.name.as_deref(), Some(shown.as_str()));
    // The Stage is wedged on it: its status can't be written, so it stays without one.
    promotions.delete("requested", &Default::default()).await?;
    Ok(())
}
