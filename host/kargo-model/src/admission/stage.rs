//! Kargo's webhooks for Stages: requests in annotations get their sender's name, the shard becomes a label.
//! In go the request and the world, out comes the object to store or the refusal. Limit: of the checks of a Stage's
//! spec none is repeated; the model takes well-formed Stages.
//! Source: `pkg/webhook/kubernetes/stage/webhook.go`; captures `e/abort`, `e/reverify`, `e/forced-fresh-run-on-rollback`.

use serde_json::{Value, json};

use super::promotion::require_project;
use super::request::{Sender, VerificationRequest};
use super::{AdmissionRequest, Denial, Operation};
use crate::names::{ABORT, REVERIFY, SHARD};
use crate::object::{annotation, put, put_or_remove, text};
use crate::world::World;

/// The Stage as the mutating webhook leaves it.
///
/// # Errors
/// None at present; the answer has the form of all webhooks.
pub fn mutate_stage(request: &AdmissionRequest, world: &World) -> Result<Value, Denial> {
    let mut stage = request.object.clone();
    let shard = text(&stage, &["spec", "shard"]).to_owned();
    match shard.is_empty() {
        true => crate::object::remove(&mut stage, &["metadata", "labels", SHARD]),
        false => put_or_remove(&mut stage, &["metadata", "labels", SHARD], Some(json!(shard))),
    }
    let sender = world.control_plane.sender(&request.user);
    for key in [REVERIFY, ABORT] {
        stamp(request, &mut stage, key, sender);
    }
    Ok(stage)
}

fn stamp(request: &AdmissionRequest, stage: &mut Value, key: &str, sender: Sender) {
    let Some(new) = annotation(stage, key).and_then(VerificationRequest::parse) else { return };
    let old = annotation(&request.old_object, key).and_then(VerificationRequest::parse);
    if old.as_ref() != Some(&new) {
        let text = new.sent_by(&request.user, sender).text();
        put(stage, &["metadata", "annotations", key], json!(text));
    }
}

/// What the validating webhook says.
///
/// # Errors
/// 404 for a new Stage outside a Project.
pub fn validate_stage(request: &AdmissionRequest, world: &World) -> Result<(), Denial> {
    match request.operation {
        Operation::Create => require_project(world, &request.namespace),
        Operation::Update | Operation::Delete => Ok(()),
    }
}
