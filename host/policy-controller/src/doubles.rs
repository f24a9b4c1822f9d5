//! Two Promotions of one attempt: the one thing that the claim protocol cannot rule out, only find.
//!
//! In: a case and its scene. Out: a double, told loudly. It is repaired by nobody: an abort could lose a deployment's
//! record (kargo-live.md 0.2). Nothing further is delivered for that incident.

use policy_core::context::{ActorKind, Outcome};
use policy_core::incident::Resolution;
use policy_core::name::PromotionName;

use crate::case::{Case, Ending};
use crate::events::Loudness;
use crate::host::{Host, Next};
use crate::queue::StageKey;
use crate::scene::Scene;
use crate::tell::{self, Said};
use crate::visit::{VisitError, close};

/// An attempt with several Promotions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Double {
    /// The attempt.
    pub number: u32,
    /// Its Promotions, in the order of their names.
    pub promotions: Vec<PromotionName>,
}

/// The first attempt with several Promotions. A second one may appear after the first was counted, and after it failed.
pub fn find(case: &Case, scene: &Scene) -> Option<Double> {
    case.state.attempts.iter().find_map(|attempt| {
        let id = policy_api::names::attempt_id(case.name(), attempt.number);
        let ours = scene.promotions.iter().filter(|one| one.actor_kind == ActorKind::Refloat);
        let carriers = ours.filter(|one| one.labels.get(policy_api::names::ATTEMPT) == Some(&id));
        let promotions: Vec<_> = carriers.map(|one| one.name.clone()).collect();
        (promotions.len() > 1).then_some(Double { number: attempt.number, promotions })
    })
}

/// Tells people, and closes the incident.
///
/// # Errors
/// When people could not be told, or the Incident could not be saved.
pub async fn tell(
    host: &Host,
    key: &StageKey,
    case: &mut Case,
    scene: &Scene,
    double: &Double,
) -> Result<Next, VisitError> {
    let Double { number, promotions } = double;
    let list: Vec<_> = promotions.iter().map(|name| format!("`{name}`")).collect();
    let text =
        format!("attempt {number} has {} Promotions: {}; look at the Stage", list.len(), list.join(", "));
    let once = format!("{}:double:{number}", case.name());
    let (reason, loudness) = ("DoublePromotion", Loudness::Warning);
    let said = Said { key: &once, reason, loudness, text: &text, channel: None };
    let told = tell::send(host, key, &scene.stage, &said).await;
    told.map_err(|error| VisitError::Tell(key.clone(), error))?;
    case.with_attempt(*number, |attempt| {
        if attempt.promotion.is_none() {
            attempt.promotion = promotions.first().cloned();
        }
        // People have it now, and need not be told how each of the two ends.
        if attempt.outcome == Outcome::Pending {
            attempt.outcome = Outcome::Superseded;
        }
    });
    close(host, key, case, &scene.stage, Ending::new(Resolution::HandedOff, "DoublePromotion", text)).await
}
