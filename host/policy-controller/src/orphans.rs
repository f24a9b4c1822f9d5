//! What becomes of incidents whose Stage is gone, or that no policy rules any more.
//!
//! In: a Stage's key. Out: its incidents closed, and when to come back. Nothing here asks a policy: there is none.

use std::time::Duration;

use policy_core::incident::Resolution;
use policy_core::snapshot::StageSnapshot;

use crate::case::{Case, Ending};
use crate::host::{Host, Next};
use crate::queue::StageKey;
use crate::scene::SceneError;
use crate::visit::{LOOK_AGAIN, VisitError, close, count_closed, last_of, open_case, open_incidents};

/// How long a Stage with open incidents may be without a policy before they are handed over: an edit or a replacement of
/// the policy takes less.
const ORPHANED_FOR: Duration = Duration::from_secs(60);

/// Closes what is open in a Stage that is gone, or that no policy rules any more.
///
/// # Errors
/// When one of them cannot be read or closed; all others are.
pub async fn close_all(host: &Host, key: &StageKey) -> Result<Next, VisitError> {
    let open = open_incidents(host, key);
    if open.is_empty() {
        return Ok(Next::Await);
    }
    let stage = host.stores.with(|known| known.stages.get(key).cloned());
    if stage.is_none() && exists(host, key).await? {
        tracing::warn!(stage = %key, "its incidents wait: the Stage is there and cannot be understood");
        return Ok(Next::After(LOOK_AGAIN));
    }
    if stage.is_some() && host.memory.orphaned_for(key) < ORPHANED_FOR {
        return Ok(Next::After(ORPHANED_FOR));
    }
    let mut failed = Vec::new();
    for name in open {
        failed.extend(close_one(host, key, &name, stage.as_deref()).await.err());
    }
    last_of(key, failed).map_or(Ok(Next::Await), Err)
}

async fn close_one(
    host: &Host,
    key: &StageKey,
    name: &str,
    stage: Option<&StageSnapshot>,
) -> Result<(), VisitError> {
    let Some(mut case) = open_case(host, key, name).await? else { return Ok(()) };
    match stage {
        Some(stage) => {
            let message = "no policy rules this Stage any more";
            let ending = Ending::new(Resolution::HandedOff, "NoPolicy", message);
            close(host, key, &mut case, stage, ending).await?;
        }
        None => {
            stage_gone(host, key, &mut case).await?;
        }
    }
    Ok(())
}

/// Whether the Stage exists, whether or not it can be understood.
async fn exists(host: &Host, key: &StageKey) -> Result<bool, VisitError> {
    match host.requests.stage::<serde_json::Value>(key).await {
        Ok(_) => Ok(true),
        Err(error) if error.is_not_found() => Ok(false),
        Err(source) => Err(VisitError::Scene(key.clone(), SceneError::Read { key: key.clone(), source })),
    }
}

/// Closes an incident whose Stage is gone.
///
/// # Errors
/// When it cannot be saved.
pub async fn stage_gone(host: &Host, key: &StageKey, case: &mut Case) -> Result<Next, VisitError> {
    case.close(Ending::new(Resolution::StageGone, "", "the Stage does not exist any more"), host.clock.now());
    case.save(host, key).await.map_err(|error| VisitError::Case(key.clone(), error))?;
    count_closed(host, key, Resolution::StageGone);
    Ok(Next::Await)
}
