//! The harness itself, on a real API server: what it counts, who is refused, who is named.
//! If one of these fails, no other test on the API server means anything.

use policy_tests::admission::{Answer, Hook, serve_admission};
use policy_tests::apiserver::{self, ADMIN, ALICE, ApiServer, MALLORY, REFLOAT, User};
use policy_tests::rights::{Grant, rule};
use policy_tests::{refusal, until};
use serde_json::{Value, json};

use kube::api::{Api, ApiResource, DynamicObject, PostParams};
use kube::core::GroupVersionKind;

type Outcome = anyhow::Result<()>;

fn kargo(kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("kargo.akuity.io", "v1alpha1", kind))
}

fn object(value: Value) -> anyhow::Result<DynamicObject> {
    Ok(serde_json::from_value(value)?)
}

async fn namespace(server: &ApiServer, name: &str) -> Outcome {
    let api: Api<DynamicObject> = Api::all_with(
        server.client(ADMIN).await?,
        &ApiResource::erase::<k8s_openapi::api::core::v1::Namespace>(&()),
    );
    let labels = json!({"kargo.akuity.io/project": "true"});
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
    api.create(&PostParams::default(), &object(namespace)?).await?;
    Ok(())
}

fn stage(name: &str) -> anyhow::Result<DynamicObject> {
    object(json!({
        "apiVersion": "kargo.akuity.io/v1alpha1", "kind": "Stage", "metadata": {"name": name},
        "spec": {"requestedFreight": [
            {"origin": {"kind": "Warehouse", "name": "web"}, "sources": {"direct": true}},
        ]},
    }))
}

#[tokio::test]
async fn the_audit_log_counts_exactly_the_writes() -> Outcome {
    let server = apiserver::shared().await?;
    namespace(server, "smoke-count").await?;
    let mark = server.audit().mark()?;
    let stages: Api<DynamicObject> =
        Api::namespaced_with(server.client(ADMIN).await?, "smoke-count", &kargo("Stage"));

    let dry = PostParams { dry_run: true, field_manager: None };
    stages.create(&dry, &stage("prod")?).await?;
    let seen = server.audit().since(mark)?.namespace("smoke-count");
    seen.writes().expect_none()?;
    seen.dry_runs().expect(1)?;

    stages.create(&PostParams::default(), &stage("prod")?).await?;
    stages.get("prod").await?;
    let broken = object(json!({"apiVersion": "kargo.akuity.io/v1alpha1", "kind": "Stage",
        "metadata": {"name": "x"}, "spec": {"requestedFreight": []}}))?;
    assert_eq!(refusal(stages.create(&PostParams::default(), &broken).await)?.code, 422);

    let seen = server.audit().since(mark)?.namespace("smoke-count");
    seen.expect(4)?;
    seen.write_attempts().expect(3)?;
    seen.writes().resource("stages").expect(1)?;
    let writes = seen.writes();
    let write = writes.iter().next().expect("counted above");
    assert_eq!((write.name.as_str(), write.verb.as_str(), write.code), ("prod", "create", 201));
    // Bodies of Kargo's kinds are recorded.
    let sent: serde_json::Value = serde_json::from_str(&write.sent)?;
    assert_eq!(sent["spec"]["requestedFreight"][0]["origin"]["name"], "web");
    Ok(())
}

/// Large answers reach the client in pieces, the first of them before the server has finished with the request.
#[tokio::test]
async fn whoever_has_an_answer_finds_its_line() -> Outcome {
    use k8s_openapi::api::core::v1::ConfigMap;
    let server = apiserver::shared().await?;
    namespace(server, "smoke-order").await?;
    let maps: Api<ConfigMap> = Api::namespaced(server.client(ADMIN).await?, "smoke-order");
    for (number, size) in [100, 5_000, 100_000, 900_000].into_iter().cycle().take(40).enumerate() {
        let mark = server.audit().mark()?;
        let map = serde_json::from_value(json!({
            "metadata": {"name": format!("map-{number}")}, "data": {"text": "x".repeat(size)}}))?;
        maps.create(&PostParams::default(), &map).await?;
        server.audit().since(mark)?.namespace("smoke-order").writes().expect(1)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_wrong_count_names_the_requests() -> Outcome {
    let server = apiserver::shared().await?;
    namespace(server, "smoke-message").await?;
    let error = server.audit().all()?.writes().filter(|r| r.name == "smoke-message").expect_none();
    let text = error.expect_err("one namespace was created").to_string();
    assert!(text.starts_with("expected 0 requests, the audit log has 1:\n"), "{text}");
    assert!(text.contains(" 201 admin create /api/v1/namespaces"), "{text}");
    Ok(())
}

#[tokio::test]
async fn a_user_without_rights_is_refused() -> Outcome {
    let server = apiserver::shared().await?;
    namespace(server, "smoke-refused").await?;
    let mark = server.audit().mark()?;
    let stages: Api<DynamicObject> =
        Api::namespaced_with(server.client(MALLORY).await?, "smoke-refused", &kargo("Stage"));
    assert_eq!(refusal(stages.create(&PostParams::default(), &stage("prod")?).await)?.code, 403);
    let seen = server.audit().since(mark)?.by_user(MALLORY).namespace("smoke-refused");
    seen.refused().expect(1)?;
    seen.writes().expect_none()?;
    Ok(())
}

#[tokio::test]
async fn an_unknown_user_is_named() -> Outcome {
    let server = apiserver::shared().await?;
    let error = server.client("nobody").await.map(drop).expect_err("nobody registered it");
    assert_eq!(error.to_string(), "the server knows no user `nobody`\nhelp: add it to `Options::users`");
    Ok(())
}

#[tokio::test]
async fn impersonation_shows_both_names() -> Outcome {
    let server = apiserver::shared().await?;
    namespace(server, "smoke-impersonation").await?;
    let project = "system:serviceaccount:smoke-impersonation:refloat";
    // The controller may impersonate, the Project's account may write: neither could do it alone.
    let admin = server.client(ADMIN).await?;
    let rules = [
        ("act", REFLOAT, rule("", &["serviceaccounts"], &["impersonate"])),
        ("write", project, rule("kargo.akuity.io", &["stages"], &["create"])),
    ];
    for (name, user, rule) in rules {
        let namespace = Some("smoke-impersonation".to_owned());
        let grant = Grant { name: name.to_owned(), namespace, user: User::new(user), rules: vec![rule] };
        grant.apply(&admin).await?;
    }
    let mark = server.audit().mark()?;

    let client = server.impersonating(REFLOAT, &User::new(project)).await?;
    let stages: Api<DynamicObject> = Api::namespaced_with(client, "smoke-impersonation", &kargo("Stage"));
    stages.create(&PostParams::default(), &stage("prod")?).await?;
    let client = server.impersonating(REFLOAT, &User::new(ALICE)).await?;
    let stages: Api<DynamicObject> = Api::namespaced_with(client, "smoke-impersonation", &kargo("Stage"));
    assert_eq!(refusal(stages.list(&Default::default()).await)?.code, 403);

    let seen = server.audit().since(mark)?.by_user(REFLOAT).namespace("smoke-impersonation");
    seen.writes().as_actor(project).expect(1)?;
    let writes = seen.writes();
    let write = writes.iter().next().expect("counted above");
    assert_eq!((write.user.as_str(), write.impersonated_user.as_deref()), (REFLOAT, Some(project)));
    seen.refused().expect(1)?;
    Ok(())
}

#[tokio::test]
async fn a_webhook_judges_changes_and_can_be_down() -> Outcome {
    let server = apiserver::shared().await?;
    namespace(server, "smoke-webhook").await?;
    let mut hooks = serve_admission(|call| async move {
        let mut object = call.request["object"].clone();
        match (call.path.as_str(), object["metadata"]["name"].as_str()) {
            ("/mutate", _) => {
                object["metadata"]["labels"] = json!({"seen-by": "hook"});
                Answer::Replace(object)
            }
            (_, Some("bad")) => {
                Answer::Deny(json!({"code": 500, "reason": "InternalError", "message": "no"}))
            }
            _ => Answer::Allow,
        }
    })?;
    let admin = server.client(ADMIN).await?;
    let hook = |name: &str, path: &str| Hook {
        name: name.to_owned(),
        path: path.to_owned(),
        resources: vec![("kargo.akuity.io".to_owned(), "stages".to_owned())],
        operations: vec!["CREATE".to_owned()],
        namespace: Some("smoke-webhook".to_owned()),
    };
    hooks.register_mutating(&admin, &hook("smoke-mutate", "/mutate")).await?;
    hooks.register_validating(&admin, &hook("smoke-validate", "/validate")).await?;

    let stages: Api<DynamicObject> = Api::namespaced_with(admin, "smoke-webhook", &kargo("Stage"));
    let params = PostParams::default();
    // A registration is in force a moment after it was stored: wait for both to show.
    until("both hooks answer", || async {
        let dry = PostParams { dry_run: true, field_manager: None };
        let mutated = stages.create(&dry, &stage("good")?).await?.metadata.labels.is_some();
        Ok(mutated && stages.create(&dry, &stage("bad")?).await.is_err())
    })
    .await?;
    let created = stages.create(&params, &stage("good")?).await?;
    assert_eq!(created.metadata.labels.expect("set by the hook")["seen-by"], "hook");
    assert_eq!(refusal(stages.create(&params, &stage("bad")?).await)?.code, 500);

    hooks.down();
    let error = stages.create(&params, &stage("other")?).await.expect_err("nobody answers the hook");
    assert!(error.to_string().contains("failed calling webhook"), "{error}");
    hooks.up()?;
    stages.create(&params, &stage("other")?).await?;
    Ok(())
}
