//! Kargo's webhooks for Freight: the name that follows from what is in it, an alias on field and label alike, and what
//! they refuse. In go the request and the world, out comes the object to store or the refusal. Status is validated, too,
//! and not mutated (`charts/kargo/templates/kubernetes-webhooks-server/webhooks.yaml`).
//! Source: `pkg/webhook/kubernetes/freight/webhook.go`; `tests/cases/model/freight-requests.yaml` has its own answers.

use serde_json::{Value, json};

use super::{AdmissionRequest, Denial, Fault, Operation, printed, subscriptions};
use crate::freight_name::{freight_name, invented_alias};
use crate::garbage::is_in_use;
use crate::names::{ALIAS, PROJECT};
use crate::object::{at, label, list, map, name, put, put_or_remove, remove, text};
use crate::stage::Origin;
use crate::time::stamp_value;
use crate::world::{Kind, World};

/// The lists of artifacts, each with its struct's fields, in the order in which Kargo compares and checks them
/// (`api/v1alpha1/{freight,stage,warehouse}_types.go`).
pub(super) const ARTIFACTS: [(&str, &[&str]); 4] = [
    ("commits", &["repoURL", "id", "branch", "tag", "message", "author", "committer"]),
    ("images", &["repoURL", "tag", "digest", "annotations"]),
    ("charts", &["repoURL", "name", "version"]),
    ("artifacts", &["artifactType", "subscriptionName", "version", "metadata"]),
];

/// The Freight as the mutating webhook leaves it: named at its creation, whatever name was sent.
pub fn mutate_freight(request: &AdmissionRequest, world: &World) -> Value {
    let mut freight = request.object.clone();
    let is_new = request.operation == Operation::Create;
    if is_new {
        let name = freight_name(&freight);
        put(&mut freight, &["metadata", "name"], json!(name));
    }
    if text(&freight, &["discoveredAt"]).is_empty() {
        let created = at(&freight, &["metadata", "creationTimestamp"]).filter(|time| time.is_string());
        let discovered = created.cloned().unwrap_or_else(|| stamp_value(world.now));
        put(&mut freight, &["discoveredAt"], discovered);
    }
    if is_new && text(&freight, &["alias"]).is_empty() {
        let is_taken = |alias: &str| world.all(Kind::Freight).any(|one| label(one, ALIAS) == Some(alias));
        let alias = invented_alias(name(&freight), is_taken);
        put(&mut freight, &["alias"], json!(alias));
    }
    // The field rules: a label that was changed by hand goes back, and one without an alias goes.
    let alias = Some(text(&freight, &["alias"])).filter(|alias| !alias.is_empty()).map(|alias| json!(alias));
    put_or_remove(&mut freight, &["metadata", "labels", ALIAS], alias);
    if map(&freight, &["metadata", "labels"]).is_some_and(serde_json::Map::is_empty) {
        remove(&mut freight, &["metadata", "labels"]);
    }
    freight
}

/// What the validating webhook says.
///
/// # Errors
/// On create 404 without the namespace, and 422 outside of a Project, without artifacts, with an alias of others, without
/// the Warehouse and for artifacts that are not one for each of its subscriptions; on update 409 for an alias of others
/// and 422 for another origin and other artifacts; 403 for the deletion of Freight that a Stage has.
pub fn validate_freight(request: &AdmissionRequest, world: &World) -> Result<(), Denial> {
    match request.operation {
        Operation::Create => created(request, world),
        Operation::Update => updated(request, world),
        Operation::Delete => deleted(request, world),
    }
}

fn created(request: &AdmissionRequest, world: &World) -> Result<(), Denial> {
    let (freight, project) = (&request.object, request.namespace.as_str());
    let Some(namespace) = world.get(Kind::Namespace, "", project) else {
        return Err(Denial::NotFound { kind: "Namespace", group: "", name: project.to_owned() });
    };
    let mut faults = Vec::new();
    if label(namespace, PROJECT) != Some("true") {
        let problem = format!("namespace {project:?} is not a project");
        faults.push(Fault::quoting("metadata.namespace", project, problem));
    }
    if ARTIFACTS.iter().all(|(field, _)| list(freight, &[field]).is_empty()) {
        let problem = "freight must contain at least one commit, image, or chart".to_owned();
        faults.push(Fault { field: "[]".to_owned(), value: whole(freight), problem });
    }
    let alias = text(freight, &["alias"]);
    if world.list(Kind::Freight, project).any(|one| label(one, ALIAS) == Some(alias)) {
        let problem = format!("alias already used by another piece of Freight in namespace {project:?}");
        faults.push(Fault::quoting("alias", alias, problem));
    }
    let origin = Origin::of(freight.get("origin")).name;
    match world.get(Kind::Warehouse, project, &origin) {
        Some(warehouse) => faults.extend(subscriptions::faults(freight, warehouse)),
        None => faults.push(Fault::quoting("warehouse", &origin, "warehouse does not exist".to_owned())),
    }
    match faults.is_empty() {
        true => Ok(()),
        false => Err(Denial::Invalid { kind: "Freight", name: name(freight).to_owned(), faults }),
    }
}

fn updated(request: &AdmissionRequest, world: &World) -> Result<(), Denial> {
    let (freight, project) = (&request.object, request.namespace.as_str());
    let alias = text(freight, &["alias"]);
    let is_anothers = |one: &Value| label(one, ALIAS) == Some(alias) && name(one) != name(freight);
    if world.list(Kind::Freight, project).any(is_anothers) {
        let problem =
            format!("alias {alias:?} already used by another piece of Freight in namespace {project:?}");
        return Err(Denial::Conflict { resource: "freights", name: name(freight).to_owned(), problem });
    }
    match change(&request.old_object, freight) {
        None => Ok(()),
        Some((field, value)) => {
            let fault =
                Fault { field, value: printed::escaped(&value), problem: "Freight is immutable".to_owned() };
            Err(Denial::invalid("Freight", name(freight), fault))
        }
    }
}

/// The first of what may not change that did, and what it was to become: a whole list when its length changed.
fn change(old: &Value, new: &Value) -> Option<(String, String)> {
    if Origin::of(old.get("origin")) != Origin::of(new.get("origin")) {
        let origin = new.get("origin").cloned().unwrap_or_default();
        return Some(("origin".to_owned(), printed::fields(&origin, &["kind", "name"])));
    }
    ARTIFACTS.iter().find_map(|(field, order)| {
        let (was, is) = (list(old, &[field]), list(new, &[field]));
        if was.len() != is.len() {
            return Some(((*field).to_owned(), printed::structs(new, field, order)));
        }
        let changed = was.iter().zip(is).enumerate().find(|(_, (was, is))| was != is);
        changed.map(|(n, (_, is))| (format!("{field}[{n}]"), printed::fields(is, order)))
    })
}

fn deleted(request: &AdmissionRequest, world: &World) -> Result<(), Denial> {
    let freight = name(request.subject());
    let users: Vec<String> = world
        .list(Kind::Stage, &request.namespace)
        .filter(|stage: &&Value| is_in_use(&[stage], freight))
        .map(|stage| format!("{:?}", name(stage)))
        .collect();
    if users.is_empty() {
        return Ok(());
    }
    let problem = format!("freight is in-use by stages ({})", users.join(", "));
    Err(Denial::Forbidden { kind: "freights", name: freight.to_owned(), problem })
}

/// Freight without artifacts as Go prints it.
fn whole(freight: &Value) -> String {
    const FREIGHT: [&str; 7] =
        ["kind", "apiVersion", "metadata", "alias", "discoveredAt", "origin", "status"];
    const METADATA: [&str; 13] = [
        "name",
        "generateName",
        "namespace",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "labels",
        "annotations",
        "ownerReferences",
        "finalizers",
        "managedFields",
    ];
    let mut freight = freight.clone();
    put(&mut freight, &["status"], json!({}));
    let text = printed::in_order(&freight, &FREIGHT, |field, value| match field {
        "metadata" => printed::fields(value, &METADATA),
        "origin" => printed::fields(value, &["kind", "name"]),
        _ => value.to_string(),
    });
    printed::escaped(&text)
}
