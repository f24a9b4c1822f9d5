//! Delivers: rehearse, claim, create, count, attach. The only file that creates Promotions.
//!
//! In: a delivery that is due. Out: one Promotion per attempt, whatever crashes, repeats or gets lost in between.
//! - Everything is checked again first, against a scene read just now.
//! - A dry run comes before the claim: it stores nothing and is a complete answer, so a refusal spends no budget.
//! - The claim is one guarded update of the Incident that spends the budget; the create follows within
//!   [`crate::host::ClaimTiming::send_within`], or not at all.
//! - A create without an answer is never repeated before everybody who might still send it has given up; then a list
//!   by attempt label says what became of it.
//! - A double is told and never repaired: an abort could lose a deployment's record (kargo-live.md 0.2).

use std::time::Duration;

use policy_api::adapter::v1_11::{self as kargo, Claim, Withheld};
use policy_api::adapter::{Advice, Request};
use policy_core::context::Outcome;
use policy_core::decision::ActionKind;
use policy_core::incident::{Attempt, Pending, Resolution};
use policy_core::name::PromotionName;
use policy_core::time::Timestamp;
use policy_core::write::Write;
use tokio::time::Instant;

use crate::access::Access;
use crate::case::{Case, Ending};
use crate::doubles::{self, Double};
use crate::events::Loudness;
use crate::host::{Host, Next};
use crate::metrics::in_project;
use crate::policies::Ruling;
use crate::queue::StageKey;
use crate::rehearse::{No, no_of, rehearse};
use crate::requests::RequestError;
use crate::scene::{self, Scene};
use crate::second_look::{Checked, GIVE_UP_SECONDS, check_again};
use crate::steps::Step;
use crate::tell;
use crate::visit::{VisitError, at, close};

/// How long a refusal that may pass is waited for before another try: half of the time that it has lasted, within
/// these bounds.
const TRY_AGAIN_SECONDS: u32 = 10;
const TRY_AGAIN_CAP_SECONDS: u32 = 60;
/// People are told once such a refusal has lasted this long: an upgrade of Kargo takes less.
const TELL_SECONDS: u32 = 600;
/// Pause before a scene is read again that grew old while rights and the dry run were answered.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// What a visit does after a step: go on at once, or come back later.
type Stepped = Result<Option<Next>, VisitError>;

/// One Promotion that is to be created.
pub struct Delivery {
    /// As it will be claimed.
    pub attempt: Attempt,
    /// The attempt's identity, as the label on its Promotion has it.
    pub claim: Claim,
    /// The create.
    pub create: Request,
    /// Whether its verification must run afresh.
    pub freshen: bool,
}

/// Carries out a delivery that was decided on, once it is due.
pub async fn when_due(
    host: &Host,
    key: &StageKey,
    ruling: &Ruling,
    case: &mut Case,
    scene: &Scene,
    pending: &Pending,
) -> Stepped {
    if pending.at > host.clock.now() {
        return Ok(Some(at(host, pending.at)));
    }
    let writes = match check_again(host, key, ruling, case, scene, pending).await? {
        Checked::Go(writes) => writes,
        Checked::Later(until) => {
            if let Some(pending) = case.state.pending.as_mut() {
                pending.at = until;
            }
            case.save(host, key).await.map_err(|error| VisitError::Case(key.clone(), error))?;
            return Ok(Some(at(host, until)));
        }
        Checked::Decide => {
            case.state.pending = None;
            case.save(host, key).await.map_err(|error| VisitError::Case(key.clone(), error))?;
            return Ok(None);
        }
        Checked::End(ending) => return close(host, key, case, &scene.stage, ending).await.map(Some),
    };
    let planned = delivery(case, scene, pending, &writes, None);
    deliver(host, key, case, scene, planned).await
}

/// Rehearses, claims and sends.
async fn deliver(
    host: &Host,
    key: &StageKey,
    case: &mut Case,
    scene: &Scene,
    delivery: Option<Delivery>,
) -> Stepped {
    let Some(delivery) = delivery else {
        let ending =
            Ending::new(Resolution::Exhausted, "NothingToDeliver", "the plan holds no Promotion any more");
        return close(host, key, case, &scene.stage, ending).await.map(Some);
    };
    if let Err(refusal) = rehearse(host, key, &delivery).await {
        return refused(host, key, case, scene, refusal).await;
    }
    host.checkpoints.passed(Step::Rehearsed);
    // What was read is good for as long as a claim is. A person may have promoted since.
    let send_before = scene.read_at + host.timing.send_within;
    if Instant::now() >= send_before {
        return Ok(Some(Next::After(READ_AGAIN)));
    }
    claim(host, key, case, &delivery).await?;
    host.checkpoints.passed(Step::Claimed);
    send(host, key, case, scene, &delivery, send_before).await
}

/// The delivery that a plan comes to; `claimed` is its attempt when it was claimed before.
fn delivery(
    case: &Case,
    scene: &Scene,
    pending: &Pending,
    writes: &[Write],
    claimed: Option<&Attempt>,
) -> Option<Delivery> {
    let planned = writes.iter().find(|write| matches!(write, Write::CreatePromotion { .. }))?;
    let Write::CreatePromotion { freight, origin, kind, expect, .. } = planned else { return None };
    let attempt = Attempt {
        number: claimed.map_or_else(|| next_number(case, scene), |claimed| claimed.number),
        kind: kind.clone(),
        freight: Some(freight.clone()),
        origin: origin.clone(),
        claimed: Timestamp::default(),
        promotion: None,
        reason: policy_core::redact::shown(&pending.action.reason, 1024),
        record: pending.record.clone(),
        send_before: Timestamp::default(),
        n_claims: claimed.map_or(0, |claimed| claimed.n_claims),
        expect: *expect,
        outcome: Outcome::Pending,
    };
    prepared(case, scene, attempt)
}

/// The number of the next attempt: one whose label no Promotion carries, and that the Stage does not remember. Attempts of an
/// Incident that was deleted left their Promotions behind, and the next Incident of the same name must neither take them for
/// its own nor be counted as them.
fn next_number(case: &Case, scene: &Scene) -> u32 {
    let is_taken = |number: u32| {
        let id = policy_api::names::attempt_id(case.name(), number);
        let mut remembered = scene.memory.deliveries.iter();
        remembered.any(|one| one.incident == *case.name() && one.attempt == number)
            || scene.promotions.iter().any(|one| one.labels.get(policy_api::names::ATTEMPT) == Some(&id))
    };
    let first = case.state.attempts.last().map_or(1, |last| last.number.saturating_add(1));
    (first..u32::MAX).find(|number| !is_taken(*number)).unwrap_or(u32::MAX)
}

/// The requests of an attempt; `None` when it names no Freight.
fn prepared(case: &Case, scene: &Scene, attempt: Attempt) -> Option<Delivery> {
    let claim = Claim {
        incident: case.name().clone(),
        attempt_id: policy_api::names::attempt_id(case.name(), attempt.number),
        decision_record: attempt.record.clone(),
    };
    let write = Write::CreatePromotion {
        stage: scene.stage.name.clone(),
        freight: attempt.freight.clone()?,
        origin: attempt.origin.clone(),
        kind: attempt.kind.clone(),
        not_before: attempt.claimed,
        expect: attempt.expect,
    };
    let create = kargo::request(&write, &scene.stage, &claim).ok()?;
    let freshen = attempt.kind == ActionKind::Rollback && scene.stage.verifies;
    Some(Delivery { attempt, claim, create, freshen })
}

async fn claim(host: &Host, key: &StageKey, case: &mut Case, delivery: &Delivery) -> Result<(), VisitError> {
    let now = host.clock.now();
    let within = u32::try_from(host.timing.send_within.as_secs()).unwrap_or(u32::MAX);
    let mut attempt = delivery.attempt.clone();
    attempt.claimed = now;
    attempt.send_before = now.plus(within);
    attempt.n_claims = attempt.n_claims.saturating_add(1);
    // `pending` stays until the Promotion is known: whoever takes the claim up has to check it again.
    match case.state.attempts.iter_mut().find(|known| known.number == attempt.number) {
        Some(known) => *known = attempt,
        None => case.state.attempts.push(attempt),
    }
    case.save(host, key).await.map_err(|error| VisitError::Case(key.clone(), error))
}

/// Nothing was claimed and nothing was sent: what may pass is waited for, what will not ends the incident.
async fn refused(host: &Host, key: &StageKey, case: &mut Case, scene: &Scene, no: No) -> Stepped {
    tracing::info!(stage = %key, why = no.sentence, "Kargo would not take the Promotion");
    let waited = case.state.pending.as_ref().map_or(0, |pending| host.clock.now().since(pending.at));
    let may_pass = matches!(no.advice, Advice::Repeat | Advice::ReadAgain);
    if may_pass && waited < GIVE_UP_SECONDS {
        if waited >= TELL_SECONDS {
            waits(host, key, case, scene, &no.sentence).await?;
        }
        let pause = (waited / 2).clamp(TRY_AGAIN_SECONDS, TRY_AGAIN_CAP_SECONDS);
        return Ok(Some(Next::After(Duration::from_secs(u64::from(pause)))));
    }
    // A claim that was taken up again and is refused now.
    if let Some(number) = case.open_attempt().map(|attempt| attempt.number) {
        case.with_attempt(number, |attempt| attempt.outcome = Outcome::Refused("Kargo".to_owned()));
    }
    let resolution = match &no.access {
        Some(Access::ControlPlane) => {
            host.accesses.is_control_plane(&key.project);
            host.policies_changed.notify_one();
            Resolution::Observed
        }
        Some(Access::Full | Access::Lacking(_) | Access::UnknownKargo(_)) | None => Resolution::Exhausted,
    };
    close(host, key, case, &scene.stage, Ending::new(resolution, no.reason, no.sentence)).await.map(Some)
}

/// Says once that a delivery has waited for a while.
async fn waits(
    host: &Host,
    key: &StageKey,
    case: &mut Case,
    scene: &Scene,
    why: &str,
) -> Result<(), VisitError> {
    let text = format!(
        "incident `{}`: what was decided waits, and is tried again until a day is over: {why}",
        case.name(),
    );
    let once = format!("{}:waits:{}", case.name(), case.state.n_decisions);
    let (reason, loudness) = ("DeliveryWaits", Loudness::Warning);
    let said = tell::Said { key: &once, reason, loudness, text: &text, channel: None };
    tell::once(host, key, case, &scene.stage, &said).await
}

/// Everything after the claim: freshen, create, count, attach.
async fn send(
    host: &Host,
    key: &StageKey,
    case: &mut Case,
    scene: &Scene,
    delivery: &Delivery,
    send_before: Instant,
) -> Stepped {
    if delivery.freshen
        && let Err(error) = freshen(host, key, scene, delivery).await
    {
        return unanswered(host, key, case, scene, delivery.attempt.number, &error).await;
    }
    host.checkpoints.passed(Step::Freshened);
    if Instant::now() >= send_before {
        return Ok(Some(Next::After(host.timing.watch_for)));
    }
    let answer = host.requests.send_as_project(&key.project, "create", &delivery.create).await;
    host.checkpoints.passed(Step::Created);
    host.metrics.deliveries.get_or_create(&in_project(&key.project, delivery.attempt.kind.text())).inc();
    match answer {
        Ok(answer) => {
            let made = kargo::stamped(&answer).map(|stamped| stamped.name);
            found(host, key, case, scene, delivery.attempt.number, made).await
        }
        Err(error) => unanswered(host, key, case, scene, delivery.attempt.number, &error).await,
    }
}

/// Marks the Stage so that its next first verification runs afresh (kargo-live.md 5). A person's own request that is
/// still pending is left alone: it has the same effect.
async fn freshen(
    host: &Host,
    key: &StageKey,
    scene: &Scene,
    delivery: &Delivery,
) -> Result<(), RequestError> {
    let request = match kargo::reverify(&scene.stage, &delivery.claim.attempt_id) {
        Ok(request) => request,
        Err(Withheld::ReverifyPending { .. } | Withheld::AlreadyFresh { .. } | Withheld::NotKargo) => {
            return Ok(());
        }
    };
    host.requests.send_as_project(&key.project, "patch", &request).await.map(drop)
}

/// A write of a claim was answered with an error: a clear no ends the attempt, anything else leaves the claim open,
/// because the Promotion may exist all the same.
async fn unanswered(
    host: &Host,
    key: &StageKey,
    case: &mut Case,
    scene: &Scene,
    number: u32,
    error: &RequestError,
) -> Stepped {
    let no = no_of(error);
    tracing::warn!(stage = %key, why = no.sentence, "Promotion not created");
    match no.advice {
        Advice::Repeat | Advice::ReadAgain => Ok(Some(Next::After(host.timing.watch_for))),
        Advice::Configuration | Advice::Permanent => {
            case.with_attempt(number, |attempt| attempt.outcome = Outcome::Refused("Kargo".to_owned()));
            close(host, key, case, &scene.stage, Ending::new(Resolution::Exhausted, no.reason, no.sentence))
                .await
                .map(Some)
        }
    }
}

/// Counts what carries the attempt's label, and attaches the one that is found. `made` is the one that was just made.
async fn found(
    host: &Host,
    key: &StageKey,
    case: &mut Case,
    scene: &Scene,
    number: u32,
    made: Option<PromotionName>,
) -> Stepped {
    match (count(host, key, case, number).await?.as_slice(), made) {
        ([], None) => Ok(Some(Next::After(host.timing.watch_for))),
        // Somebody deleted it at once, and does not want another one.
        ([], Some(name)) => attach(host, key, case, number, name).await,
        ([name], _) => attach(host, key, case, number, name.clone()).await,
        (names, _) => {
            let double = Double { number, promotions: names.to_vec() };
            doubles::tell(host, key, case, scene, &double).await.map(Some)
        }
    }
}

async fn count(
    host: &Host,
    key: &StageKey,
    case: &Case,
    number: u32,
) -> Result<Vec<PromotionName>, VisitError> {
    let attempt_id = policy_api::names::attempt_id(case.name(), number);
    let list: Result<Vec<policy_api::kargo::Promotion>, _> =
        host.requests.promotions_of_attempt(&key.project, policy_api::names::ATTEMPT, &attempt_id).await;
    let list = list.map_err(|source| {
        VisitError::Scene(key.clone(), crate::scene::SceneError::Read { key: key.clone(), source })
    })?;
    host.checkpoints.passed(Step::Counted);
    let mut names: Vec<_> = list
        .iter()
        .filter(|one| scene::may_be_ours(host, one))
        .filter_map(|one| one.metadata.name.clone())
        .map(PromotionName::new)
        .collect();
    names.sort();
    Ok(names)
}

async fn attach(host: &Host, key: &StageKey, case: &mut Case, number: u32, name: PromotionName) -> Stepped {
    case.with_attempt(number, |attempt| attempt.promotion = Some(name));
    case.state.pending = None;
    case.save(host, key).await.map_err(|error| VisitError::Case(key.clone(), error))?;
    host.checkpoints.passed(Step::Attached);
    Ok(None)
}

/// Takes up a claim whose outcome nobody knows: waits until nobody can still send it, then looks, adopts what it
/// finds, or checks the delivery anew and claims again: who died may have been gone for an hour, in which a person has
/// promoted, held or switched something off.
pub async fn resume(
    host: &Host,
    key: &StageKey,
    ruling: &Ruling,
    case: &mut Case,
    scene: &Scene,
    number: u32,
) -> Stepped {
    let Some(attempt) = case.state.attempts.iter().find(|attempt| attempt.number == number).cloned() else {
        return Ok(None);
    };
    let since = host.memory.watching_since(&key.project, case.name(), number, attempt.n_claims);
    let watched = since.elapsed();
    if watched < host.timing.watch_for {
        return Ok(Some(Next::After(host.timing.watch_for.saturating_sub(watched))));
    }
    let names = count(host, key, case, number).await?;
    if !names.is_empty() {
        return found(host, key, case, scene, number, None).await;
    }
    let Some(pending) = case.state.pending.clone() else {
        let text = "a claim without outcome does not say what it was for; nothing was created";
        let ending = Ending::new(Resolution::HandedOff, "ClaimLost", text);
        return close(host, key, case, &scene.stage, ending).await.map(Some);
    };
    if host.clock.now().since(pending.at) >= TELL_SECONDS {
        let sentence = "the API server has not answered it clearly".to_owned();
        waits(host, key, case, scene, &sentence).await?;
    }
    // The claim itself must not stand in its own way.
    let mut unclaimed = case.clone();
    unclaimed.state.attempts.retain(|other| other.number != number);
    let writes = match check_again(host, key, ruling, &unclaimed, scene, &pending).await? {
        Checked::Go(writes) => writes,
        Checked::Later(until) => return Ok(Some(at(host, until))),
        Checked::Decide => {
            case.with_attempt(number, |attempt| attempt.outcome = Outcome::Superseded);
            case.state.pending = None;
            case.save(host, key).await.map_err(|error| VisitError::Case(key.clone(), error))?;
            return Ok(None);
        }
        Checked::End(ending) => {
            case.with_attempt(number, |attempt| attempt.outcome = Outcome::Superseded);
            return close(host, key, case, &scene.stage, ending).await.map(Some);
        }
    };
    let again = delivery(case, scene, &pending, &writes, Some(&attempt));
    deliver(host, key, case, scene, again).await
}
