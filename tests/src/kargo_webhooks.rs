//! The registration of the stand-in's webhooks, under the names that Kargo's have, for one Project.
//! In: a running webhook server and the Project. Out: nothing; the webhooks are in force when the wait is over.
//! It must not answer any call.

use std::collections::BTreeMap;

use k8s_openapi::api::admissionregistration::v1 as registration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kargo_model::Kind;
use kargo_model::admission::{PROMOTION_WEBHOOK, STAGE_WEBHOOK};
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, ObjectMeta, PostParams};
use serde_json::json;

use crate::admission::AdmissionServer;
use crate::kargo::api;

pub(crate) const MUTATE: &str = "/mutate";
pub(crate) const VALIDATE: &str = "/validate";
pub(crate) const FREIGHT: &str = "/freight";
/// A Stage of this name is refused by the validating webhook: how the stand-in sees that it is in force.
pub(crate) const PROBE: &str = "stand-in-probe";

pub(crate) async fn register(admin: &Client, server: &AdmissionServer, project: &str) -> anyhow::Result<()> {
    let hook = |name: &str, path: &str, resources: &[&str]| {
        json!({
            "name": name, "sideEffects": "None", "admissionReviewVersions": ["v1"], "failurePolicy": "Fail",
            "clientConfig": {"url": format!("{}{path}", server.url()), "caBundle": bundle(server)},
            "namespaceSelector": LabelSelector {
                match_labels: Some(BTreeMap::from([("kubernetes.io/metadata.name".to_owned(), project.to_owned())])),
                match_expressions: None,
            },
            "rules": [{
                "apiGroups": ["kargo.akuity.io"], "apiVersions": ["v1alpha1"], "resources": resources,
                "operations": match path { MUTATE => vec!["CREATE", "UPDATE"], _ => vec!["CREATE", "UPDATE", "DELETE"] },
                "scope": "Namespaced",
            }],
        })
    };
    let metadata = ObjectMeta { name: Some(format!("kargo-{project}")), ..Default::default() };
    let mutating: registration::MutatingWebhookConfiguration = serde_json::from_value(json!({
        "metadata": metadata,
        "webhooks": [hook(PROMOTION_WEBHOOK, MUTATE, &["promotions"]), hook(STAGE_WEBHOOK, MUTATE, &["stages"])],
    }))?;
    let validating: registration::ValidatingWebhookConfiguration = serde_json::from_value(json!({
        "metadata": metadata,
        "webhooks": [
            hook(PROMOTION_WEBHOOK, VALIDATE, &["promotions"]), hook(STAGE_WEBHOOK, VALIDATE, &["stages"]),
            hook("freight.kargo.akuity.io", FREIGHT, &["freights", "freights/status"]),
        ],
    }))?;
    let name = format!("kargo-{project}");
    let mutating_api: Api<registration::MutatingWebhookConfiguration> = Api::all(admin.clone());
    let validating_api: Api<registration::ValidatingWebhookConfiguration> = Api::all(admin.clone());
    // A stand-in that was started before for the same Project listened on another port.
    let _ = mutating_api.delete(&name, &DeleteParams::default()).await;
    let _ = validating_api.delete(&name, &DeleteParams::default()).await;
    mutating_api.create(&PostParams::default(), &mutating).await?;
    validating_api.create(&PostParams::default(), &validating).await?;
    Ok(())
}

fn bundle(server: &AdmissionServer) -> k8s_openapi::ByteString {
    k8s_openapi::ByteString(server.ca_bundle().as_bytes().to_vec())
}

/// A registration counts a moment after it was stored: asks by dry run until both webhooks answer.
pub(crate) async fn wait_until_in_force(admin: &Client, project: &str) -> anyhow::Result<()> {
    let stage: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "kargo.akuity.io/v1alpha1", "kind": "Stage", "metadata": {"name": PROBE},
        "spec": {"requestedFreight": [
            {"origin": {"kind": "Warehouse", "name": "web"}, "sources": {"direct": true}},
        ]},
    }))?;
    let promotion: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "kargo.akuity.io/v1alpha1", "kind": "Promotion", "metadata": {"name": PROBE},
        "spec": {"stage": PROBE, "freight": "none", "steps": [{"uses": "fail"}]},
    }))?;
    let dry = PostParams { dry_run: true, field_manager: None };
    crate::until("the webhooks of the stand-in for Kargo are in force", || async {
        let refused = [
            api(admin, Kind::Stage, project).create(&dry, &stage).await.err(),
            api(admin, Kind::Promotion, project).create(&dry, &promotion).await.err(),
        ];
        let texts: Vec<String> = refused.into_iter().flatten().map(|error| error.to_string()).collect();
        Ok(texts.iter().any(|text| text.contains("probed"))
            && texts.iter().any(|text| text.contains("could not find Stage")))
    })
    .await
}
