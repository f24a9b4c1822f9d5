//! What the Project's account lacks for Enforce.
//!
//! In: a Stage's key. Out: the missing rights as words, empty when there are none. Asked by impersonation, so the
//! answer is the API server's own, and a missing ServiceAccount or RoleBinding shows like any other lack.
//! Kargo's own check of `promote` happens again at every create; this one only says early, and in words, what it will say.

use policy_api::rights;

use crate::host::Host;
use crate::queue::StageKey;
use crate::requests::{RequestError, Right};

/// Rights that the Project's account lacks for this Stage.
///
/// # Errors
/// When the API server does not answer.
pub async fn missing(host: &Host, key: &StageKey) -> Result<Vec<String>, RequestError> {
    let mut missing = Vec::new();
    for need in rights::NEEDED {
        let right = Right {
            resource: need.resource,
            verb: need.verb,
            stage: need.per_stage.then_some(&key.stage),
        };
        match host.requests.may(&key.project, &right).await {
            Ok(true) => {}
            Ok(false) => missing.push(need.to_string()),
            // This process may not impersonate the account: the same lack, seen from the other side.
            Err(error) if error.status().is_some_and(|status| status.code == 403) => missing.push(need.to_string()),
            Err(error) => return Err(error),
        }
    }
    Ok(missing)
}
