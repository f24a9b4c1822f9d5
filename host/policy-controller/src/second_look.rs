//! A second look at a delivery that was decided on, right before it is carried out.
//!
//! In: the delivery as it was decided, and a scene read just now. Out: go, wait, ask the policies again, or end. Mode,
//! rights, guardrails and the plan are asked once more, because between a decision and its time a person may have
//! promoted, held, switched off or been on leave. Nothing here writes.

use policy_core::context::Mode;
use policy_core::decision::Decision;
use policy_core::guardrails::{self, Input};
use policy_core::incident::{Pending, Resolution};
use policy_core::plan;
use policy_core::time::Timestamp;
use policy_core::write::Write;

use crate::access;
use crate::case::{Case, Ending};
use crate::host::Host;
use crate::policies::Ruling;
use crate::queue::StageKey;
use crate::records;
use crate::scene::Scene;
use crate::visit::VisitError;

/// After this long nothing more is tried.
pub const GIVE_UP_SECONDS: u32 = 86_400;

/// What a second look at a delivery says.
pub enum Checked {
    /// It may go on.
    Go(Vec<Write>),
    /// Not before this time.
    Later(Timestamp),
    /// The facts have moved: settle and ask the policy again.
    Decide,
    /// The incident ends with this.
    End(Ending),
}

/// Checks a delivery again.
///
/// # Errors
/// When rights cannot be found out, or the record cannot be read.
pub async fn check_again(
    host: &Host,
    key: &StageKey,
    ruling: &Ruling,
    case: &Case,
    scene: &Scene,
    pending: &Pending,
) -> Result<Checked, VisitError> {
    if is_too_late(host, ruling, pending) {
        let text = "it was due while nobody could act, and is too late now";
        return Ok(Checked::End(Ending::new(Resolution::Expired, "TooLate", text)));
    }
    if ruling.rules.mode != Mode::Enforce {
        let ending = Ending::new(Resolution::Observed, "NotEnforced", "the policy no longer enforces");
        return Ok(Checked::End(ending));
    }
    let access = access::ask(host, key).await;
    let access =
        access.map_err(|error| VisitError::Decide(key.clone(), crate::decide::DecideError::Rights(error)))?;
    if let Some(why) = access.obstacle() {
        return Ok(Checked::End(Ending::new(Resolution::Observed, access.reason(), why)));
    }
    let context = match records::context(host, key, &pending.record).await {
        Ok(context) => context,
        Err(error) if error.is_final() => {
            return Ok(Checked::End(Ending::new(Resolution::HandedOff, "RecordGone", error.to_string())));
        }
        Err(error) => {
            return Err(VisitError::Decide(key.clone(), crate::decide::DecideError::Record(error)));
        }
    };
    let now = host.clock.now();
    let deliveries = scene.deliveries(&case.state, now);
    let input = Input {
        now,
        context: &context,
        incident: &case.state,
        rules: &ruling.rules,
        project: &scene.project,
        stage: &scene.stage,
        seen: &pending.seen,
        promotions: &scene.promotions,
        freight: &scene.freight,
        deliveries: &deliveries,
        stopped: host.stopped,
        enterprise_rollback: guardrails::g26_two_engines::rolls_back_by_itself(&scene.project, &scene.stage),
    };
    let decision = Decision { actions: vec![pending.action.clone()], ..Decision::default() };
    let verdicts = guardrails::check(&decision, &input);
    Ok(next_step(plan::plan(&decision, &verdicts, &input), now))
}

/// Whether a delivery comes too late: a day after it was due, or later than failures may be acted upon when it became due
/// while nobody led.
fn is_too_late(host: &Host, ruling: &Ruling, pending: &Pending) -> bool {
    let late = host.clock.now().since(pending.at);
    let was_down =
        host.previous_leader.is_some_and(|seen| pending.at > seen) && pending.at < host.leading_since;
    late >= GIVE_UP_SECONDS || (was_down && late > ruling.rules.max_age_seconds)
}

fn next_step(writes: Vec<Write>, now: Timestamp) -> Checked {
    for write in &writes {
        match write {
            Write::CreatePromotion { not_before, .. } if *not_before > now => {
                return Checked::Later(*not_before);
            }
            Write::CreatePromotion { .. } => return Checked::Go(writes),
            Write::Close { resolution, reason, message } => {
                return Checked::End(Ending::new(*resolution, reason.clone(), message.clone()));
            }
            Write::ForceFreshVerification { .. }
            | Write::Refresh { .. }
            | Write::Timer { .. }
            | Write::Send { .. }
            | Write::Event { .. }
            | Write::Keep { .. } => {}
        }
    }
    Checked::Decide
}
