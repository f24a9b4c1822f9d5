//! The one rule of the Promotion CRD that the model repeats: exactly one of `freight` and `origin`.
//! In go a Promotion after mutation, out comes a refusal. On a real API server the CRD itself does this.

use serde_json::Value;

use super::{Denial, Fault};
use crate::object::{at, name, text};

/// Checks what the CRD's CEL rule checks, between the mutating and the validating webhook.
///
/// # Errors
/// 422 on `spec`, as the API server words it, without a webhook's name in front.
pub fn check_promotion(promotion: &Value) -> Result<(), Denial> {
    let freight = !text(promotion, &["spec", "freight"]).is_empty();
    let origin = at(promotion, &["spec", "origin"]).is_some_and(Value::is_object);
    if freight != origin {
        return Ok(());
    }
    let problem = "exactly one of freight or origin must be set".to_owned();
    Err(Denial::invalid("Promotion", name(promotion), Fault::quoting("spec", "object", problem)))
}
