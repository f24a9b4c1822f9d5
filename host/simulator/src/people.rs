//! What people do to a cluster, and what they can see in it.
//!
//! In: a client of somebody, or the server to look at. Out: requests, and answers to questions about objects as they
//! stand. Nothing here waits.

use std::collections::BTreeMap;

use kargo_model::Kind;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube_memory::ApiServer;
use serde_json::{Value, json};

use crate::kargo;
use crate::names;
use crate::timeline::text;

const KARGO: &str = "kargo.akuity.io";
const ABORT: &str = "kargo.akuity.io/abort";
const REVERIFY: &str = "kargo.akuity.io/reverify";

/// A Stage by its Project and name.
#[derive(Clone, Copy, Debug)]
pub struct Stage<'a> {
    /// The Project.
    pub project: &'a str,
    /// Its name.
    pub name: &'a str,
}

/// Creates an object of any kind.
///
/// # Errors
/// As the server says.
pub async fn create(client: &Client, object: &Value) -> Result<(), kube::Error> {
    let (api, object) = any(client, object)?;
    api.create(&PostParams::default(), &object).await.map(drop)
}

/// Creates a FailurePolicy, or merges into the one of that name.
///
/// # Errors
/// As the server says.
pub async fn put_policy(client: &Client, object: &Value) -> Result<(), kube::Error> {
    match create(client, object).await {
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let (api, _) = any(client, object)?;
            let patch = json!({"spec": object.get("spec")});
            let name = text(object, "/metadata/name");
            api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
        }
        created => created,
    }
}

fn any(client: &Client, object: &Value) -> Result<(Api<DynamicObject>, DynamicObject), kube::Error> {
    let object: DynamicObject = serde_json::from_value(object.clone()).map_err(kube::Error::SerdeError)?;
    let types = object.types.clone().unwrap_or_default();
    let (group, version) = types.api_version.split_once('/').unwrap_or(("", &types.api_version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &types.kind));
    let api = match &object.metadata.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    Ok((api, object))
}

/// Promotes Freight to a Stage.
///
/// # Errors
/// As Kargo says.
pub async fn promote(client: &Client, on: Stage<'_>, freight: &str) -> Result<(), kube::Error> {
    let promotion = json!({"apiVersion": "kargo.akuity.io/v1alpha1", "kind": "Promotion",
        "metadata": {"namespace": on.project, "generateName": "p-"},
        "spec": {"stage": on.name, "freight": names::name(freight)}});
    create(client, &promotion).await
}

/// Aborts the Stage's oldest Promotion that is not over, or the newest; nothing happens when there is none.
///
/// # Errors
/// As Kargo says.
pub async fn abort(
    client: &Client,
    server: &ApiServer,
    on: Stage<'_>,
    newest: bool,
) -> Result<(), kube::Error> {
    let wanted = server.look(|objects| {
        let all = objects.list(KARGO, "promotions", on.project);
        let mut open = all.into_iter().filter(|one| text(one, "/spec/stage") == on.name && !is_over(one));
        let one = if newest { open.next_back() } else { open.next() };
        one.map(|one| text(one, "/metadata/name").to_owned())
    });
    let Some(name) = wanted else { return Ok(()) };
    let annotations = BTreeMap::from([(ABORT.to_owned(), r#"{"action":"terminate"}"#.to_owned())]);
    patch(client, Kind::Promotion, on.project, &name, &annotations).await
}

/// Aborts the Stage's newest verification.
///
/// # Errors
/// As Kargo says.
pub async fn abort_verification(
    client: &Client,
    server: &ApiServer,
    on: Stage<'_>,
) -> Result<(), kube::Error> {
    let annotations = BTreeMap::from([(ABORT.to_owned(), verification(server, on))]);
    annotate(client, on, &annotations).await
}

/// Asks for the Stage's verification once more.
///
/// # Errors
/// As Kargo says.
pub async fn reverify(client: &Client, server: &ApiServer, on: Stage<'_>) -> Result<(), kube::Error> {
    let annotations = BTreeMap::from([(REVERIFY.to_owned(), verification(server, on))]);
    annotate(client, on, &annotations).await
}

/// Sets annotations of a Stage; an empty text takes one away.
///
/// # Errors
/// As Kargo says.
pub async fn annotate(
    client: &Client,
    on: Stage<'_>,
    annotations: &BTreeMap<String, String>,
) -> Result<(), kube::Error> {
    patch(client, Kind::Stage, on.project, on.name, annotations).await
}

async fn patch(
    client: &Client,
    kind: Kind,
    project: &str,
    name: &str,
    annotations: &BTreeMap<String, String>,
) -> Result<(), kube::Error> {
    let value = |text: &String| if text.is_empty() { Value::Null } else { json!(text) };
    let values: BTreeMap<_, _> = annotations.iter().map(|(key, text)| (key, value(text))).collect();
    let patch = json!({"metadata": {"annotations": values}});
    let api = kargo::api(client, kind, project);
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
}

fn verification(server: &ApiServer, on: Stage<'_>) -> String {
    let id = "/status/freightHistory/0/verificationHistory/0/id";
    server
        .look(|objects| {
            objects.get(KARGO, "stages", on.project, on.name).map(|stage| text(stage, id).to_owned())
        })
        .unwrap_or_default()
}

/// Whether the Stage holds that Freight, and its verification ended well if it has one.
pub fn holds(server: &ApiServer, on: Stage<'_>, freight: &str, verified: bool) -> bool {
    let name = names::name(freight);
    server.look(|objects| {
        let Some(stage) = objects.get(KARGO, "stages", on.project, on.name) else { return false };
        let items = stage.pointer("/status/freightHistory/0/items").and_then(Value::as_object);
        let phase = text(stage, "/status/freightHistory/0/verificationHistory/0/phase");
        items.is_some_and(|items| items.values().any(|item| text(item, "/name") == name))
            && (!verified || phase == "Successful")
    })
}

/// Whether every FailurePolicy has been looked at.
pub fn policies_are_judged(server: &ApiServer, project: &str) -> bool {
    server.look(|objects| {
        let policies = objects.list("refloat.dev", "failurepolicies", project);
        policies.iter().all(|policy| {
            policy.pointer("/status/conditions").and_then(Value::as_array).is_some_and(|all| !all.is_empty())
        })
    })
}

/// Names of all Promotions.
pub fn promotions(server: &ApiServer, project: &str) -> Vec<String> {
    server.look(|objects| {
        let all = objects.list(KARGO, "promotions", project);
        all.into_iter().map(|one| text(one, "/metadata/name").to_owned()).collect()
    })
}

/// Whether nothing is under way: no open incident, no Promotion, no verification.
pub fn is_calm(server: &ApiServer, project: &str) -> bool {
    server.look(|objects| {
        let incidents = objects.list("refloat.dev", "incidents", project);
        let stages = objects.list(KARGO, "stages", project);
        let is_verifying = |stage: &&Value| {
            let phase = text(stage, "/status/freightHistory/0/verificationHistory/0/phase");
            matches!(phase, "Pending" | "Running")
        };
        incidents.iter().all(|incident| incident.pointer("/status/closed").is_some())
            && objects.list(KARGO, "promotions", project).into_iter().all(is_over)
            && !stages.iter().any(is_verifying)
    })
}

fn is_over(promotion: &Value) -> bool {
    matches!(text(promotion, "/status/phase"), "Succeeded" | "Failed" | "Errored" | "Aborted")
}
