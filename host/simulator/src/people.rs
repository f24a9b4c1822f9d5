//! What people do to a cluster, and what they can see in it.
//!
//! In: a client of somebody, or a look at the server. Out: requests, and answers to questions about objects as they
//! stand. Nothing here waits.

use std::collections::BTreeMap;

use kargo_model::Kind;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};

use crate::ground::{Looked, View};
use crate::kargo;
use crate::timeline::{at, text};

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

/// Promotes the Freight of that name to a Stage.
///
/// # Errors
/// As Kargo says.
pub async fn promote(client: &Client, on: Stage<'_>, freight: &str) -> Result<(), kube::Error> {
    let promotion = json!({"apiVersion": "kargo.akuity.io/v1alpha1", "kind": "Promotion",
        "metadata": {"namespace": on.project, "generateName": "p-"},
        // Kargo's schema wants steps, and its webhook puts those of the Stage in their place.
        "spec": {"stage": on.name, "freight": freight, "steps": [{"uses": "fail"}]}});
    create(client, &promotion).await
}

/// Aborts a Promotion.
///
/// # Errors
/// As Kargo says.
pub async fn abort(client: &Client, project: &str, promotion: &str) -> Result<(), kube::Error> {
    let annotations = BTreeMap::from([(ABORT.to_owned(), r#"{"action":"terminate"}"#.to_owned())]);
    patch(client, Kind::Promotion, project, promotion, &annotations).await
}

/// Aborts the Stage's verification of that id.
///
/// # Errors
/// As Kargo says.
pub async fn abort_verification(client: &Client, on: Stage<'_>, id: String) -> Result<(), kube::Error> {
    annotate(client, on, &BTreeMap::from([(ABORT.to_owned(), id)])).await
}

/// Asks for the Stage's verification of that id once more.
///
/// # Errors
/// As Kargo says.
pub async fn reverify(client: &Client, on: Stage<'_>, id: String) -> Result<(), kube::Error> {
    annotate(client, on, &BTreeMap::from([(REVERIFY.to_owned(), id)])).await
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

/// The Stage's oldest Promotion that is not over, or the newest.
pub fn open_promotion(view: &View<'_>, stage: &str, newest: bool) -> Option<String> {
    let all = view.list(Looked::Promotions);
    let mut open = all.filter(|one| text(one, "/spec/stage") == stage && !is_over(one));
    let one = if newest { open.last() } else { open.next() }?;
    Some(text(one, "/metadata/name").to_owned())
}

const NEWEST: &str = "/status/freightHistory/0/verificationHistory/0";

/// The id of the Stage's newest verification.
pub fn verification(view: &View<'_>, stage: &str) -> Option<String> {
    let id = text(view.find(Looked::Stages, stage)?, &format!("{NEWEST}/id"));
    (!id.is_empty()).then(|| id.to_owned())
}

/// The same, if it has not ended.
pub fn running_verification(view: &View<'_>, stage: &str) -> Option<String> {
    let phase = text(view.find(Looked::Stages, stage)?, &format!("{NEWEST}/phase"));
    let is_over = matches!(phase, "Successful" | "Failed" | "Error" | "Aborted" | "Inconclusive");
    verification(view, stage).filter(|_| !is_over)
}

/// Why a Stage does not hold what was promoted to it.
pub fn why_not_held(view: &View<'_>, stage: &str) -> String {
    let mut promotions =
        view.list(Looked::Promotions).filter(|one| text(one, "/spec/stage") == stage).peekable();
    if promotions.peek().is_none() {
        return "no Promotion could be created".to_owned();
    }
    if let Some(promotion) = promotions.find(|one| text(one, "/status/phase") != "Succeeded") {
        let (phase, message) = (text(promotion, "/status/phase"), text(promotion, "/status/message"));
        let phase = if phase.is_empty() { "not seen by Kargo" } else { phase };
        return format!("its Promotion is {phase}: {message}").trim_end_matches([':', ' ']).to_owned();
    }
    let stage = view.find(Looked::Stages, stage);
    let phase = stage.map(|stage| text(stage, &format!("{NEWEST}/phase"))).unwrap_or_default();
    format!("its verification is {}", if phase.is_empty() { "not begun" } else { phase })
}

/// Whether the Stage holds the Freight of that name, and its verification ended well if it has one.
pub fn holds(view: &View<'_>, stage: &str, freight: &str, verified: bool) -> bool {
    let Some(stage) = view.find(Looked::Stages, stage) else { return false };
    let items = stage.pointer("/status/freightHistory/0/items").and_then(Value::as_object);
    let phase = text(stage, "/status/freightHistory/0/verificationHistory/0/phase");
    items.is_some_and(|items| items.values().any(|item| text(item, "/name") == freight))
        && (!verified || phase == "Successful")
}

/// Whether every FailurePolicy has been looked at.
pub fn policies_are_judged(view: &View<'_>) -> bool {
    view.list(Looked::FailurePolicies).all(|policy| {
        policy.pointer("/status/conditions").and_then(Value::as_array).is_some_and(|all| !all.is_empty())
    })
}

/// FailurePolicies that the controller does not accept, with its reason.
pub fn not_accepted(view: &View<'_>) -> Vec<String> {
    let refused = view.list(Looked::FailurePolicies).filter_map(|policy| {
        let conditions = policy.pointer("/status/conditions")?.as_array()?;
        let accepted = conditions.iter().find(|one| text(one, "/type") == "Accepted")?;
        let name = text(policy, "/metadata/name");
        let message = text(accepted, "/message");
        (text(accepted, "/status") == "False").then(|| format!("does not accept `{name}`: {message}"))
    });
    refused.collect()
}

/// Names of all Promotions.
pub fn promotions(view: &View<'_>) -> Vec<String> {
    view.list(Looked::Promotions).map(|one| text(one, "/metadata/name").to_owned()).collect()
}

/// What [`is_calm`] looks at.
pub const CALM: [Looked; 3] = [Looked::Incidents, Looked::Promotions, Looked::Stages];

/// Whether nothing is under way: no open incident, no Promotion, no verification.
pub fn is_calm(view: &View<'_>) -> bool {
    let is_verifying = |stage: &Value| {
        let phase = text(stage, "/status/freightHistory/0/verificationHistory/0/phase");
        matches!(phase, "Pending" | "Running")
    };
    view.list(Looked::Incidents).all(|incident| at(incident, "/status/closed").is_some())
        && view.list(Looked::Promotions).all(is_over)
        && !view.list(Looked::Stages).any(is_verifying)
}

fn is_over(promotion: &Value) -> bool {
    matches!(text(promotion, "/status/phase"), "Succeeded" | "Failed" | "Errored" | "Aborted")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A verification that is over, or none, is nothing to abort.
    #[test]
    fn only_a_verification_that_has_not_ended_is_running() {
        let stage = |newest: Value| {
            json!({"metadata": {"name": "prod"},
                "status": {"freightHistory": [{"verificationHistory": newest}]}})
        };
        for (newest, running) in [
            (json!([]), None),
            (json!([{"id": "v1", "phase": "Failed"}]), None),
            (json!([{"id": "v2", "phase": "Running"}]), Some("v2")),
            (json!([{"id": "v3", "phase": ""}]), Some("v3")),
        ] {
            let stage = stage(newest);
            let view = View(BTreeMap::from([(Looked::Stages, vec![&stage])]));
            assert_eq!(running_verification(&view, "prod").as_deref(), running, "{stage}");
            assert_eq!(running_verification(&view, "uat"), None);
        }
    }
}
