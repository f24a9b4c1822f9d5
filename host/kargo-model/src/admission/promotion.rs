//! Kargo's webhooks for Promotions: what they overwrite and what they refuse.
//! In go the request, the world and, for validation, whether the user may `promote`; out comes the object to store or
//! the refusal. Source: `pkg/webhook/kubernetes/promotion/webhook.go`; captures `c/retry-candidate`, `f/responses.json`.

use serde_json::{Value, json};

use super::request::{AbortRequest, Sender};
use super::{Access, AdmissionRequest, Denial, Fault, Operation, User, inflate, intent, printed};
use crate::candidate::candidates;
use crate::freight;
use crate::ids::IdSource;
use crate::names::{
    ABORT, API_VERSION, CREATE_ACTOR, GROUP, HOLD, PROJECT, RESUME, SHARD, STAGE, label_value, promotion_name,
};
use crate::object::{annotation, at, label, list, name, put, put_or_remove, remove, text};
use crate::stage::{Origin, Stage};
use crate::world::{Kind, World};

/// The question that validation asks the API server; the caller asks it and hands in the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessReview {
    /// Who.
    pub user: User,
    /// `kargo.akuity.io`.
    pub group: &'static str,
    /// `stages`.
    pub resource: &'static str,
    /// `promote`.
    pub verb: &'static str,
    /// The Project.
    pub namespace: String,
    /// The Stage.
    pub name: String,
}

/// Which permission a create, update or delete of a Promotion needs, on top of RBAC on Promotions.
pub fn promote_review(request: &AdmissionRequest) -> AccessReview {
    AccessReview {
        user: request.user.clone(),
        group: GROUP,
        resource: "stages",
        verb: "promote",
        namespace: request.namespace.clone(),
        name: text(request.subject(), &["spec", "stage"]).to_owned(),
    }
}

/// The Promotion as the mutating webhook leaves it. It renames the object: a create by server-side apply, where the
/// storage key is chosen before, therefore leaves a phantom (`g/ssa-phantom`).
///
/// # Errors
/// 422 without the Stage (also on every update once the Stage is gone), without a candidate or promotion steps; 404
/// for a missing task; 500 for a missing variable.
pub fn mutate_promotion(
    request: &AdmissionRequest,
    world: &World,
    ids: &mut dyn IdSource,
) -> Result<Value, Denial> {
    let mut promotion = request.object.clone();
    put(&mut promotion, &["metadata", "namespace"], json!(request.namespace));
    let stage_name = text(&promotion, &["spec", "stage"]).to_owned();
    let Some(stage) = world.get(Kind::Stage, &request.namespace, &stage_name) else {
        let problem = format!("could not find Stage {stage_name:?} in namespace {:?}", request.namespace);
        return Err(invalid(&promotion, "spec.stage", &stage_name, problem));
    };
    match request.operation {
        Operation::Create => create(request, world, &mut promotion, stage, ids)?,
        Operation::Update => restore(request, world, &mut promotion),
        Operation::Delete => return Ok(promotion),
    }
    let shard = text(stage, &["spec", "shard"]);
    put_or_remove(&mut promotion, &["metadata", "labels", SHARD], (!shard.is_empty()).then(|| json!(shard)));
    put(&mut promotion, &["metadata", "labels", STAGE], json!(label_value(&stage_name)));
    put(&mut promotion, &["metadata", "annotations", STAGE], json!(stage_name));
    let owner = json!({
        "apiVersion": API_VERSION, "kind": "Stage", "name": stage_name,
        "uid": text(stage, &["metadata", "uid"]), "controller": true, "blockOwnerDeletion": true,
    });
    put(&mut promotion, &["metadata", "ownerReferences"], json!([owner]));
    Ok(promotion)
}

fn create(
    request: &AdmissionRequest,
    world: &World,
    promotion: &mut Value,
    stage: &Value,
    ids: &mut dyn IdSource,
) -> Result<(), Denial> {
    resolve_origin(world, promotion, stage)?;
    let new_name = promotion_name(name(stage), &ids.ulid(world.now), text(promotion, &["spec", "freight"]));
    put_or_remove(promotion, &["metadata", "name"], (!new_name.is_empty()).then(|| json!(new_name)));
    let sender = world.control_plane.sender(&request.user);
    if sender == Sender::User {
        put(promotion, &["metadata", "annotations", CREATE_ACTOR], json!(request.user.actor()));
    }
    stamp_abort(request, promotion, sender);
    if Stage(stage).is_control_flow() {
        let (stage, project) = (name(stage), &request.namespace);
        let problem = format!("Stage {stage:?} in namespace {project:?} defines no promotion steps");
        return Err(invalid(promotion, "spec.stage", stage, problem));
    }
    let vars: Vec<Value> = list(stage, &["spec", "vars"])
        .iter()
        .chain(list(stage, &["spec", "promotionTemplate", "spec", "vars"]))
        .cloned()
        .collect();
    let steps = inflate::inflate(world, &request.namespace, Stage(stage).template_steps(), &vars)?;
    put(promotion, &["spec", "steps"], Value::Array(steps));
    put_or_remove(promotion, &["spec", "vars"], (!vars.is_empty()).then_some(Value::Array(vars)));
    intent::stamp(world, promotion, stage, sender);
    Ok(())
}

/// `spec.origin` without `spec.freight` becomes the candidate of that origin, whether auto-promotion is on or off.
fn resolve_origin(world: &World, promotion: &mut Value, stage: &Value) -> Result<(), Denial> {
    let Some(origin) = at(promotion, &["spec", "origin"]).filter(|origin| origin.is_object()) else {
        return Ok(());
    };
    if !text(promotion, &["spec", "freight"]).is_empty() {
        return Ok(());
    }
    let key = Origin::of(Some(origin)).key();
    let candidates = candidates(world, Stage(stage))
        .map_err(|problem| Denial::Internal { problem: format!("list available freight: {problem}") })?;
    let Some(candidate) = candidates.get(&key) else {
        let stage = name(stage);
        let problem = format!("no auto-promotion candidate found for origin {key:?} on Stage {stage:?}");
        return Err(invalid(promotion, "spec.origin", &key, problem));
    };
    let freight = json!(name(candidate));
    put(promotion, &["spec", "freight"], freight);
    remove(promotion, &["spec", "origin"]);
    Ok(())
}

/// On update the annotations that say who and why go back to what they were.
fn restore(request: &AdmissionRequest, world: &World, promotion: &mut Value) {
    for key in [CREATE_ACTOR, HOLD, RESUME] {
        let old = annotation(&request.old_object, key).map(|old| json!(old));
        put_or_remove(promotion, &["metadata", "annotations", key], old);
    }
    stamp_abort(request, promotion, world.control_plane.sender(&request.user));
}

/// A new or changed abort request gets its sender's name.
fn stamp_abort(request: &AdmissionRequest, promotion: &mut Value, sender: Sender) {
    let Some(new) = annotation(promotion, ABORT).and_then(AbortRequest::parse) else { return };
    let old = annotation(&request.old_object, ABORT).and_then(AbortRequest::parse);
    if old.as_ref() != Some(&new) {
        let text = new.sent_by(&request.user, sender).text();
        put(promotion, &["metadata", "annotations", ABORT], json!(text));
    }
}

/// What the validating webhook says; `access` answers [`promote_review`].
///
/// # Errors
/// 404 outside a Project; 500 without `promote` on create and update, 403 on delete; 422 when the Freight is not
/// available or the spec changes.
pub fn validate_promotion(request: &AdmissionRequest, world: &World, access: Access) -> Result<(), Denial> {
    let promotion = request.subject();
    match request.operation {
        Operation::Create => {
            require_project(world, &request.namespace)?;
            internal(authorize(request, access, "create"))?;
            super::check_promotion(promotion).map_err(|_| {
                invalid_spec(promotion, "exactly one of spec.freight or spec.origin must be set")
            })?;
            require_available(request, world)
        }
        Operation::Update => {
            internal(authorize(request, access, "update"))?;
            match request.object.get("spec") == request.old_object.get("spec") {
                true => Ok(()),
                false => Err(invalid_spec(promotion, "spec is immutable")),
            }
        }
        Operation::Delete => authorize(request, access, "delete"),
    }
}

fn require_available(request: &AdmissionRequest, world: &World) -> Result<(), Denial> {
    let promotion = &request.object;
    let wanted = text(promotion, &["spec", "freight"]);
    let stage = world.get(Kind::Stage, &request.namespace, text(promotion, &["spec", "stage"]));
    let freight = world.get(Kind::Freight, &request.namespace, wanted);
    match stage {
        Some(stage) if freight::is_available(Stage(stage), freight, world.now) => Ok(()),
        _ => {
            let problem = "Freight is not available to this Stage".to_owned();
            Err(invalid(promotion, "spec.freight", wanted, problem))
        }
    }
}

pub(super) fn require_project(world: &World, namespace: &str) -> Result<(), Denial> {
    let found = world.get(Kind::Namespace, "", namespace);
    match found.and_then(|found| label(found, PROJECT)) {
        Some("true") => Ok(()),
        _ => Err(Denial::NotFound { kind: "Namespace", group: "", name: namespace.to_owned() }),
    }
}

fn authorize(request: &AdmissionRequest, access: Access, action: &str) -> Result<(), Denial> {
    let promotion = request.subject();
    match access {
        Access::Allowed => Ok(()),
        Access::Denied => {
            let (user, stage) = (&request.user.name, text(promotion, &["spec", "stage"]));
            let problem =
                format!("subject {user:?} is not permitted to {action} Promotions for Stage {stage:?}");
            Err(Denial::Forbidden { kind: "Promotion", name: name(promotion).to_owned(), problem })
        }
    }
}

/// On create and update Kargo wraps the refusal, which turns 403 into 500 (`webhook.go:544,683`).
fn internal(answer: Result<(), Denial>) -> Result<(), Denial> {
    answer.map_err(|denial| Denial::Internal { problem: denial.message() })
}

fn invalid(promotion: &Value, field: &str, value: &str, problem: String) -> Denial {
    Denial::invalid("Promotion", name(promotion), Fault::quoting(field, value, problem))
}

fn invalid_spec(promotion: &Value, problem: &str) -> Denial {
    let fault = Fault { field: "spec".to_owned(), value: spec_text(promotion), problem: problem.to_owned() };
    Denial::invalid("Promotion", name(promotion), fault)
}

/// The spec as Go prints it.
fn spec_text(promotion: &Value) -> String {
    const SPEC: [&str; 5] = ["stage", "freight", "origin", "vars", "steps"];
    const STEP: [&str; 8] = ["uses", "task", "as", "if", "continueOnError", "retry", "vars", "config"];
    let spec = promotion.get("spec").cloned().unwrap_or_default();
    let text = printed::in_order(&spec, &SPEC, |key, value| match key {
        "steps" if value.is_array() => printed::structs(&spec, "steps", &STEP),
        _ => value.to_string(),
    });
    printed::escaped(&text)
}
