//! What the Project's account lacks for Enforce.
//!
//! In: a Stage's key. Out: the missing rights as words, empty when there are none. Asked of the API server, so a missing
//! ServiceAccount binding shows like any other lack. Kargo's own check of `promote` happens again at every create; this
//! one only says early, and in words, what it will say.

use policy_api::rights::{missing_verbs, needed};

use crate::host::Host;
use crate::queue::StageKey;
use crate::requests::RequestError;

/// Rights that the Project's account lacks for this Stage.
///
/// # Errors
/// When the API server does not answer.
pub async fn missing(host: &Host, key: &StageKey) -> Result<Vec<String>, RequestError> {
    let mut answers = Vec::new();
    for one in needed(&key.stage) {
        let allowed = host.requests.may(&key.project, &one).await?;
        answers.push((one, Some(allowed)));
    }
    Ok(missing_verbs(&answers))
}
