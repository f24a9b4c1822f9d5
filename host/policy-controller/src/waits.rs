//! What an open incident waits for, and for how long: a refresh that the host asks for, Kargo that does not go on, and
//! things that went on by themselves.
//!
//! In: a case, its scene and what one look at it found. Out: the next step. Nothing here decides about Freight: the only
//! write on Kargo is the annotation that makes it look at a Stage once more, sent as the Project's own account and kept
//! in the Incident before it is sent.

use std::time::Duration;

use policy_api::adapter::v1_11::{self as kargo, Claim};
use policy_core::context::{Mode, Outcome};
use policy_core::decision::ActionKind;
use policy_core::detect::{self, Found};
use policy_core::failure::{Failure, Trigger};
use policy_core::incident::{Attempt, Resolution};
use policy_core::refresh::{self, Next as Refresh};
use policy_core::settle;
use policy_core::time::{Timestamp, format_duration};
use policy_core::write::Write;

use crate::access::{self, Access};
use crate::case::{Case, Ending};
use crate::events::Loudness;
use crate::host::{Host, Next};
use crate::policies::Ruling;
use crate::queue::StageKey;
use crate::scene::Scene;
use crate::tell;
use crate::visit::{VisitError, at, close, patience};

/// What a visit does after a step: go on at once, or come back later.
type Stepped = Result<Option<Next>, VisitError>;

/// How an incident about something that went on by itself ends. `None` while there is something to do about it.
pub fn went_on(case: &Case, found: &Found) -> Option<Ending> {
    let failure = &case.state.current;
    if found.is_still_true(failure) {
        return None;
    }
    let text = policy_core::explain::failure(failure);
    Some(match case.state.refresh {
        Some(_) => {
            let text = format!("Kargo looked at the Stage again, and it went on: {text}");
            Ending::new(Resolution::Recovered, "Refreshed", text)
        }
        None => Ending::new(Resolution::Superseded, "WentOn", format!("it went on by itself: {text}")),
    })
}

/// The attempt that is followed again because what was wrong with it is over.
pub fn followed_again(case: &Case) -> Option<u32> {
    let promotion = case.state.current.promotion.as_ref()?;
    let mut attempts = case.state.attempts.iter().rev();
    attempts.find(|attempt| attempt.promotion.as_ref() == Some(promotion)).map(|attempt| attempt.number)
}

/// Has Kargo look at the Stage once more, where that may help and the mode allows it. `None`: ask the policies.
///
/// # Errors
/// When rights cannot be found out, or the incident cannot be saved.
pub async fn refreshed(
    host: &Host,
    key: &StageKey,
    ruling: &Ruling,
    case: &mut Case,
    scene: &Scene,
    found: &Found,
    failure: &Failure,
) -> Stepped {
    if !found.refresh.contains(&failure.id) {
        return Ok(None);
    }
    let is_off = host.stopped || scene.project.ignored || scene.stage.ignored;
    let access = access::ask(host, key).await;
    let access =
        access.map_err(|error| VisitError::Decide(key.clone(), crate::decide::DecideError::Rights(error)))?;
    let may_write = !is_off && access == Access::Full;
    let token = policy_api::names::refresh_token(case.name());
    let now = host.clock.now();
    match refresh::next(&case.state, &scene.stage, &token, ruling.rules.mode, may_write, now) {
        Refresh::Policies => {
            if ruling.rules.mode != Mode::Enforce {
                would(host, key, case, scene).await?;
            }
            Ok(None)
        }
        Refresh::Wait(until) => Ok(Some(at(host, until))),
        Refresh::Ask(asked, write) => {
            case.state.refresh = Some(asked);
            case.save(host, key).await.map_err(|error| VisitError::Case(key.clone(), error))?;
            send(host, key, case, scene, &write, &token).await;
            Ok(Some(Next::After(Duration::from_secs(u64::from(refresh::WAIT_SECONDS)))))
        }
        Refresh::AskAgain(write) => {
            send(host, key, case, scene, &write, &token).await;
            Ok(Some(Next::After(AGAIN)))
        }
    }
}

/// Says what would be done under Enforce.
async fn would(host: &Host, key: &StageKey, case: &mut Case, scene: &Scene) -> Result<(), VisitError> {
    let once = format!("{}:would-refresh", case.name());
    let text = "would have Kargo look at the Stage once more: the mode only observes";
    let (reason, loudness) = ("WouldHave", Loudness::Normal);
    let said = tell::Said { key: &once, reason, loudness, text, channel: None };
    tell::once(host, key, case, &scene.stage, &said).await
}

/// Pause before a refresh is sent once more that the Stage does not show.
const AGAIN: Duration = Duration::from_secs(5);

/// Sends the annotation. A refusal is logged and nothing else: either it is sent again, or the policies are asked.
async fn send(host: &Host, key: &StageKey, case: &Case, scene: &Scene, write: &Write, token: &str) {
    let claim =
        Claim { incident: case.name().clone(), attempt_id: token.to_owned(), decision_record: String::new() };
    let Ok(request) = kargo::request(write, &scene.stage, &claim) else { return };
    match host.requests.send_as_project(&key.project, "patch", &request).await {
        Ok(_) => tracing::info!(stage = %key, token, "asked Kargo to look again"),
        Err(error) => {
            tracing::warn!(stage = %key, error = &error as &dyn std::error::Error, "Kargo not asked to look again");
        }
    }
}

/// A failure that Kargo has not settled. People are told once when that takes too long, and in the end they have it.
///
/// # Errors
/// When the incident cannot be closed or people cannot be told.
pub async fn unsettled(
    host: &Host,
    key: &StageKey,
    ruling: &Ruling,
    case: &mut Case,
    scene: &Scene,
    because: &str,
) -> Stepped {
    let deadlines = &ruling.rules.deadlines;
    // What runs or is queued has deadlines of its own; only the record is Kargo's turn alone.
    let limit = match settle::waits_for_record(&case.state.current, &scene.stage) {
        true => deadlines.settling,
        false => deadlines.settling.max(deadlines.verification_stuck),
    };
    let why = match &scene.stage.reconcile_error {
        Some(error) => format!("{because}; Kargo says: {error}"),
        None => because.to_owned(),
    };
    let since = case.state.opened.max(case.state.current.at);
    late(host, key, ruling, case, scene, &Waited { since, limit, why }).await
}

/// An attempt that is not over. What is wrong with it meanwhile is the attempt's failure if it is sick Freight, and is
/// told once if it is anything else.
///
/// # Errors
/// As [`unsettled`].
pub async fn unfollowed(
    host: &Host,
    key: &StageKey,
    ruling: &Ruling,
    case: &mut Case,
    scene: &Scene,
    found: &Found,
    attempt: &Attempt,
) -> Stepped {
    let Some(failure) = failure_of(found, attempt) else { return Ok(Some(patience(host, case))) };
    if let Some(next) = refreshed(host, key, ruling, case, scene, found, &failure).await? {
        return Ok(Some(next));
    }
    if failure.trigger == Trigger::StageUnhealthy {
        let is_rollback = attempt.kind == ActionKind::Rollback;
        let trigger = if is_rollback { Trigger::RollbackFailed } else { failure.trigger };
        case.with_attempt(attempt.number, |attempt| attempt.outcome = Outcome::Failed);
        case.state.current = Failure { trigger, ..failure };
        case.save(host, key).await.map_err(|error| VisitError::Case(key.clone(), error))?;
        return Ok(None);
    }
    let why = policy_core::explain::failure(&failure);
    late(host, key, ruling, case, scene, &Waited { since: failure.at, limit: 0, why }).await
}

/// What goes on for too long about an attempt's own Promotion.
fn failure_of(found: &Found, attempt: &Attempt) -> Option<Failure> {
    let promotion = attempt.promotion.as_ref()?;
    let own = |failure: &&Failure| failure.promotion.as_ref() == Some(promotion);
    let mut ongoing = found.failures.iter().filter(own).filter(|one| detect::is_about_now(one.trigger));
    ongoing.next().cloned()
}

/// A wait for Kargo.
struct Waited {
    since: Timestamp,
    /// How long it may take before people are told, seconds.
    limit: u32,
    why: String,
}

async fn late(
    host: &Host,
    key: &StageKey,
    ruling: &Ruling,
    case: &mut Case,
    scene: &Scene,
    waited: &Waited,
) -> Stepped {
    let so_far = host.clock.now().since(waited.since);
    if so_far < waited.limit {
        tracing::debug!(stage = %key, because = waited.why, "not settled");
        return Ok(Some(patience(host, case).or_sooner(at(host, waited.since.plus(waited.limit)))));
    }
    let give_up = ruling.rules.deadlines.give_up;
    let last = give_up.max(waited.limit);
    if so_far >= last {
        let text = format!("nothing came within {}: {}", format_duration(give_up), waited.why);
        let ending = Ending::new(Resolution::HandedOff, "NotSettled", text);
        if let Some(number) = case.open_attempt().map(|attempt| attempt.number) {
            case.with_attempt(number, |attempt| attempt.outcome = Outcome::Superseded);
        }
        return close(host, key, case, &scene.stage, ending).await.map(Some);
    }
    let text = format!("still waiting: {}", waited.why);
    let once = format!("{}:waits:{}", case.name(), case.state.current.id);
    let (reason, loudness) = ("RefloatMessage", Loudness::Warning);
    let said = tell::Said { key: &once, reason, loudness, text: &text, channel: None };
    tell::once(host, key, case, &scene.stage, &said).await?;
    Ok(Some(patience(host, case).or_sooner(at(host, waited.since.plus(last)))))
}
