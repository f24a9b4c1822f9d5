//! Our kinds on a real API server: what it accepts, what it refuses and with which words.
//! In: the generated definitions. Out: one namespace with objects in it. Kargo is not needed here.

use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use policy_tests::apiserver::{self, ADMIN};
use serde_json::{Value, json};

type Outcome = anyhow::Result<()>;

const NAMESPACE: &str = "crd-shapes";

async fn api(kind: &str) -> anyhow::Result<Api<DynamicObject>> {
    let server = apiserver::shared().await?;
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("refloat.dev", "v1alpha1", kind));
    let client = server.client(ADMIN).await?;
    Ok(if kind.starts_with("Cluster") {
        Api::all_with(client, &resource)
    } else {
        Api::namespaced_with(client, NAMESPACE, &resource)
    })
}

/// Definitions and namespace are there when this returns, whichever test comes first.
async fn set_up() -> Outcome {
    static DONE: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();
    let set_up = async || {
        let admin = apiserver::shared().await?.client(ADMIN).await?;
        policy_tests::crds::apply_text(&admin, &policy_api::crds_yaml(), "policy_api::crds_yaml").await?;
        let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(admin);
        let namespace = serde_json::from_value(json!({"metadata": {"name": NAMESPACE}}))?;
        namespaces.create(&PostParams::default(), &namespace).await?;
        anyhow::Ok(())
    };
    DONE.get_or_try_init(set_up).await?;
    Ok(())
}

async fn create(kind: &str, name: &str, spec: Value) -> Result<DynamicObject, String> {
    set_up().await.map_err(|error| error.to_string())?;
    let object =
        json!({"apiVersion": "refloat.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    let object = serde_json::from_value(object).map_err(|error| error.to_string())?;
    let api = api(kind).await.map_err(|error| error.to_string())?;
    match api.create(&PostParams::default(), &object).await {
        Ok(object) => Ok(object),
        Err(kube::Error::Api(status)) if status.code == 422 => Err(status.message),
        Err(error) => Err(format!("unexpected: {error}")),
    }
}

#[track_caller]
fn refused(result: Result<DynamicObject, String>, wanted: &str) {
    let text = result.expect_err("the server must refuse it");
    assert!(text.contains(wanted), "wanted {wanted:?} in: {text}");
}

#[tokio::test]
async fn the_smallest_policy_gets_the_defaults() -> Outcome {
    let spec = json!({"chain": [{"name": "retry", "builtin": "retry-transient"}]});
    let object = create("FailurePolicy", "smallest", spec).await.map_err(anyhow::Error::msg)?;
    assert_eq!(object.data["spec"]["mode"], "Observe");
    assert_eq!(object.data["spec"]["priority"], 0);
    let table = api("FailurePolicy").await?.list(&ListParams::default()).await?;
    assert!(table.items.iter().any(|item| item.metadata.name.as_deref() == Some("smallest")));
    Ok(())
}

#[tokio::test]
async fn settings_keep_fields_that_no_schema_names() -> Outcome {
    let settings = json!({"deep": {"list": [1, {"x": "y"}]}});
    let spec = json!({"chain": [{"name": "a", "module": {"name": "m"}, "settings": settings}]});
    let object = create("FailurePolicy", "free", spec).await.map_err(anyhow::Error::msg)?;
    assert_eq!(object.data["spec"]["chain"][0]["settings"], settings);
    assert_eq!(object.data["spec"]["chain"][0]["module"]["kind"], "ClusterPolicyModule");
    Ok(())
}

#[tokio::test]
async fn structure_is_refused_with_a_sentence() {
    let chain = |entry: Value| json!({"chain": [entry]});
    let both = chain(json!({"name": "a", "builtin": "x", "module": {"name": "y"}}));
    refused(create("FailurePolicy", "both", both).await, "give exactly one of module and builtin");
    let neither = chain(json!({"name": "a"}));
    refused(create("FailurePolicy", "neither", neither).await, "give exactly one of module and builtin");
    let twice = json!({"chain": [{"name": "a", "builtin": "x"}, {"name": "a", "builtin": "y"}]});
    refused(create("FailurePolicy", "twice", twice).await, "names in a chain must differ");
    refused(create("FailurePolicy", "empty", json!({"chain": []})).await, "spec.chain");
    let with = |key: &str, value: Value| {
        let mut spec = chain(json!({"name": "a", "builtin": "x"}));
        spec[key] = value;
        spec
    };
    refused(create("FailurePolicy", "mode", with("mode", json!("Yolo"))).await, "spec.mode");
    refused(create("FailurePolicy", "priority", with("priority", json!(1001))).await, "spec.priority");
    refused(
        create("FailurePolicy", "retries", with("limits", json!({"retries": 11}))).await,
        "limits.retries",
    );
    refused(
        create("FailurePolicy", "pause", with("limits", json!({"backoff": "1 hour"}))).await,
        "limits.backoff",
    );
    let expression = json!({"matchExpressions": [{"key": "tier", "operator": "In"}]});
    refused(
        create("FailurePolicy", "selector", with("stageSelector", expression)).await,
        "In and NotIn need values",
    );
    refused(create("ClusterFailurePolicy", "nothing", json!({})).await, "at least one of default and caps");
}

#[tokio::test]
async fn modules_have_exactly_one_source() {
    let source = |source: Value| json!({"source": source});
    refused(
        create("PolicyModule", "none", source(json!({}))).await,
        "exactly one of builtin, configMap and oci",
    );
    let two = json!({"builtin": {"name": "x"}, "configMap": {"name": "a", "key": "b"}});
    refused(create("PolicyModule", "two", source(two)).await, "exactly one of");
    let mut pinned = source(json!({"builtin": {"name": "x"}}));
    pinned["digest"] = json!("sha256:123");
    refused(create("PolicyModule", "digest", pinned).await, "spec.digest");
    // Unknown to this kind, so it is pruned, and nothing is left.
    refused(create("PolicyModule", "file", source(json!({"file": {"path": "/x"}}))).await, "exactly one of");
    let file = create("ClusterPolicyModule", "file", source(json!({"file": {"path": "/x"}}))).await;
    assert!(file.is_ok(), "{file:?}");
}

#[tokio::test]
async fn what_is_kept_never_changes() -> Outcome {
    let failure = json!({"id": "a", "trigger": "promotion-failed", "project": NAMESPACE, "stage": "prod"});
    create("Incident", "kept", json!({"failure": failure})).await.map_err(anyhow::Error::msg)?;
    let incidents = api("Incident").await?;
    let change = Patch::Merge(json!({"spec": {"failure": {"stage": "other"}}}));
    let error = incidents.patch("kept", &PatchParams::default(), &change).await.expect_err("refused");
    assert!(error.to_string().contains("the identity of an Incident never changes"), "{error}");
    let status = Patch::Merge(json!({"status": {"state": "Delivering", "decisionsTotal": 1}}));
    let object = incidents.patch_status("kept", &PatchParams::default(), &status).await?;
    assert_eq!(object.data["status"]["state"], "Delivering");
    Ok(())
}
