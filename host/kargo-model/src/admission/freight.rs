//! Kargo's validating webhook for Freight. In go the request and the world, out comes the refusal. Limit: of its checks
//! only the one on delete is repeated; the model takes well-formed Freight.
//! Source: `pkg/webhook/kubernetes/freight/webhook.go:318-348`.

use serde_json::Value;

use super::{AdmissionRequest, Denial, Operation};
use crate::garbage::is_in_use;
use crate::object::name;
use crate::world::{Kind, World};

/// What the validating webhook says.
///
/// # Errors
/// 403 for the deletion of Freight that a Stage has.
pub fn validate_freight(request: &AdmissionRequest, world: &World) -> Result<(), Denial> {
    let freight = name(request.subject());
    let users: Vec<String> = world
        .list(Kind::Stage, &request.namespace)
        .filter(|stage: &&Value| is_in_use(&[stage], freight))
        .map(|stage| format!("{:?}", name(stage)))
        .collect();
    if request.operation != Operation::Delete || users.is_empty() {
        return Ok(());
    }
    let problem = format!("freight is in-use by stages ({})", users.join(", "));
    Err(Denial::Forbidden { kind: "Freight", name: freight.to_owned(), problem })
}
