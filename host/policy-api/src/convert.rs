//! Incidents to and from the core's state, and the texts and times that conversions share.
//!
//! In: an Incident, or the core's state. Out: the other one, without loss in either direction: what only the object
//! knows (claims, timers, conditions) stays when the state is written back.
//! Nothing here decides anything.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use policy_core::context::{Outcome, PastDecision};
use policy_core::decision::ActionKind;
use policy_core::failure::{Failure, UserAbort};
use policy_core::guardrails::Seen;
use policy_core::incident::{AskedRefresh, Attempt, Closed, IncidentState, Pending, Resolution, Timer};
use policy_core::name::IncidentName;
use policy_core::time::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::crd::incident::{
    ActionSummary, AttemptRecord, ChainState, ClosedRecord, DecisionSummary, FailureRecord, Incident,
    IncidentPhase, IncidentSpec, IncidentStatus, PendingRecord, PolicyRef, RefreshRecord, SeenRecord, Spent,
    Timer as TimerRecord, UserAbortRecord,
};

/// An object says something that this version cannot read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{object}` says `{value}` in `{path}`, which this version does not know")]
pub struct ConvertError {
    /// The object, as `Incident namespace/name`.
    pub object: String,
    /// The field.
    pub path: String,
    /// What it says.
    pub value: String,
}

/// A point in time as Kubernetes writes it.
pub fn time(at: Timestamp) -> Time {
    // Every u32 is a second that jiff knows.
    Time(jiff::Timestamp::from_second(i64::from(at.0)).unwrap_or_default())
}

/// A point in time as the core counts it; times before 1970 and after 2106 become the nearest one.
pub fn timestamp(time: &Time) -> Timestamp {
    Timestamp(u32::try_from(time.0.as_second().max(0)).unwrap_or(u32::MAX))
}

/// The first `n` characters of `text`.
pub fn cut(text: &str, n: usize) -> String {
    text.chars().take(n).collect()
}

/// The name of a case as YAML has it, such as `promotion-failed`. For enums without fields only.
pub fn text_of<T: Serialize>(case: &T) -> String {
    match serde_json::to_value(case) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(_) | Err(_) => String::new(),
    }
}

/// The case of that name, the inverse of [`text_of`].
pub fn case_of<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).ok()
}

/// An outcome as one word, with the guardrail's id after a colon where there is one.
pub fn outcome_text(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Pending => "pending".to_owned(),
        Outcome::Succeeded => "succeeded".to_owned(),
        Outcome::Failed => "failed".to_owned(),
        Outcome::Aborted => "aborted".to_owned(),
        Outcome::Refused(by) => format!("refused:{by}"),
        Outcome::Postponed(by) => format!("postponed:{by}"),
        Outcome::Superseded => "superseded".to_owned(),
        Outcome::Observed => "observed".to_owned(),
    }
}

/// The inverse of [`outcome_text`].
pub fn outcome(text: &str) -> Option<Outcome> {
    Some(match text.split_once(':') {
        Some(("refused", by)) => Outcome::Refused(by.to_owned()),
        Some(("postponed", by)) => Outcome::Postponed(by.to_owned()),
        Some(_) => return None,
        None => match text {
            "pending" => Outcome::Pending,
            "succeeded" => Outcome::Succeeded,
            "failed" => Outcome::Failed,
            "aborted" => Outcome::Aborted,
            "superseded" => Outcome::Superseded,
            "observed" => Outcome::Observed,
            _ => return None,
        },
    })
}

impl FailureRecord {
    /// A failure as an object says it.
    pub fn of(failure: &Failure) -> Self {
        let text = |name: Option<&str>| name.map(str::to_owned);
        Self {
            id: failure.id.as_str().to_owned(),
            trigger: text_of(&failure.trigger),
            project: failure.project.as_str().to_owned(),
            stage: failure.stage.as_str().to_owned(),
            stage_uid: text(failure.stage_uid.as_ref().map(|uid| uid.as_str())),
            promotion: text(failure.promotion.as_ref().map(|name| name.as_str())),
            promotion_uid: text(failure.promotion_uid.as_ref().map(|uid| uid.as_str())),
            verification: text(failure.verification.as_ref().map(|id| id.as_str())),
            at: Some(time(failure.at)),
            user_abort: failure
                .user_abort
                .as_ref()
                .map(|abort| UserAbortRecord { actor: abort.actor.clone() }),
            summary: cut(&failure.summary, 2048),
        }
    }

    fn read(&self, reader: &Reader) -> Result<Failure, ConvertError> {
        Ok(Failure {
            id: self.id.as_str().into(),
            trigger: reader.case("failure.trigger", &self.trigger)?,
            project: self.project.as_str().into(),
            stage: self.stage.as_str().into(),
            stage_uid: self.stage_uid.as_deref().map(Into::into),
            promotion: self.promotion.as_deref().map(Into::into),
            promotion_uid: self.promotion_uid.as_deref().map(Into::into),
            verification: self.verification.as_deref().map(Into::into),
            at: self.at.as_ref().map(timestamp).unwrap_or_default(),
            user_abort: self.user_abort.as_ref().map(|abort| UserAbort { actor: abort.actor.clone() }),
            summary: self.summary.clone(),
        })
    }
}

/// The object of an incident that has just been opened. Its namespace and labels are set; the status is not part of a
/// create and has to be written after it.
pub fn incident(state: &IncidentState, policy: Option<PolicyRef>) -> Incident {
    let mut incident =
        Incident::new(state.name.as_str(), IncidentSpec { failure: FailureRecord::of(&state.root), policy });
    incident.metadata.namespace = Some(state.root.project.as_str().to_owned());
    let stage = crate::names::label_value(state.root.stage.as_str());
    incident.labels_mut().insert(crate::names::STAGE.to_owned(), stage);
    let mut status = IncidentStatus::default();
    apply(&mut status, state);
    incident.status = Some(status);
    incident
}

/// The core's view of an Incident. One that has no status yet is open and untouched.
///
/// # Errors
/// When it was written by a newer version that knows cases which this one does not; the path says where.
pub fn incident_state(incident: &Incident) -> Result<IncidentState, ConvertError> {
    let reader = Reader::new(incident);
    let root = incident.spec.failure.read(&reader)?;
    let name = IncidentName::new(incident.name_any());
    let created = incident.metadata.creation_timestamp.as_ref().map(timestamp).unwrap_or(root.at);
    let mut state = IncidentState::open(name, root, created);
    let Some(status) = &incident.status else { return Ok(state) };
    if let Some(opened) = &status.opened_at {
        state.opened = timestamp(opened);
    }
    if let Some(current) = &status.current {
        state.current = current.read(&reader)?;
    }
    state.attempts =
        status.attempts.iter().map(|attempt| reader.attempt(attempt)).collect::<Result<_, _>>()?;
    state.decisions = status.decisions.iter().map(|past| reader.decision(past)).collect::<Result<_, _>>()?;
    state.sent.clone_from(&status.sent);
    state.states = status.chain_states.iter().map(|entry| entry.state.clone()).collect();
    state.decided = status.decided.as_deref().map(Into::into);
    state.rule.clone_from(&status.rule);
    state.n_decisions = status.decisions_total;
    state.pending = status.pending.as_ref().map(|pending| reader.pending(pending)).transpose()?;
    state.timer = status.timer.as_ref().map(|TimerRecord { next_at, cause, by_policy }| Timer {
        at: timestamp(next_at),
        cause: cause.clone(),
        by_policy: *by_policy,
    });
    state.refresh = status
        .refresh
        .as_ref()
        .map(|asked| AskedRefresh { at: timestamp(&asked.at), token: asked.token.clone() });
    state.closed = status.closed.as_ref().map(|closed| reader.closed(closed)).transpose()?;
    Ok(state)
}

/// Writes the core's view into `status`. Claims, timers, the accepted policy and conditions stay as they are; what an
/// attempt knows beyond the core stays with the attempt of the same number.
pub fn apply(status: &mut IncidentStatus, state: &IncidentState) {
    status.opened_at = Some(time(state.opened));
    status.current = Some(FailureRecord::of(&state.current));
    let old = std::mem::take(&mut status.attempts);
    status.attempts =
        state.attempts.iter().map(|attempt| attempt_record(&state.name, attempt, &old)).collect();
    status.spent = spent(state);
    status.sent.clone_from(&state.sent);
    status.chain_states = state.states.iter().map(|state| ChainState { state: state.clone() }).collect();
    status.decisions = state.decisions.iter().map(decision_summary).collect();
    status.decisions_total = state.n_decisions;
    status.decided = state.decided.as_ref().map(|id| id.as_str().to_owned());
    status.rule = state.rule.as_deref().map(|rule| cut(rule, 128));
    status.pending = state.pending.as_ref().map(pending_record);
    status.timer = state.timer.as_ref().map(|Timer { at, cause, by_policy }| TimerRecord {
        next_at: time(*at),
        cause: cut(cause, 1024),
        by_policy: *by_policy,
    });
    status.refresh = state
        .refresh
        .as_ref()
        .map(|asked| RefreshRecord { at: time(asked.at), token: cut(&asked.token, 128) });
    status.closed = state.closed.as_ref().map(closed_record);
    status.state = phase(state);
}

fn phase(state: &IncidentState) -> IncidentPhase {
    if state.closed.is_some() {
        IncidentPhase::Closed
    } else if state.attempts.iter().any(|attempt| attempt.outcome == Outcome::Pending) {
        IncidentPhase::Delivering
    } else if state.pending.is_some() || state.timer.is_some() {
        IncidentPhase::Waiting
    } else {
        IncidentPhase::Open
    }
}

fn pending_record(pending: &Pending) -> PendingRecord {
    PendingRecord {
        at: time(pending.at),
        action: serde_json::to_value(&pending.action).unwrap_or_default(),
        decision_record: pending.record.clone(),
        seen: SeenRecord {
            last_promotion: pending.seen.last_promotion.as_ref().map(|name| name.as_str().to_owned()),
            collection: pending.seen.collection.clone(),
            verification: pending.seen.verification.as_ref().map(|id| id.as_str().to_owned()),
        },
    }
}

fn spent(state: &IncidentState) -> Spent {
    let deliveries = state.attempts.iter().filter(|attempt| attempt.kind.is_delivery()).count();
    Spent {
        retries: state.n_attempts(&ActionKind::Retry),
        rollbacks: state.n_attempts(&ActionKind::Rollback),
        deliveries: u32::try_from(deliveries).unwrap_or(u32::MAX),
    }
}

fn attempt_record(incident: &IncidentName, attempt: &Attempt, old: &[AttemptRecord]) -> AttemptRecord {
    let old = old.iter().find(|old| old.number == attempt.number);
    AttemptRecord {
        number: attempt.number,
        kind: attempt.kind.text(),
        freight: attempt.freight.as_ref().map(|name| name.as_str().to_owned()),
        origin: attempt.origin.as_ref().map(|name| name.as_str().to_owned()),
        claimed_at: time(attempt.claimed),
        send_before: Some(time(attempt.send_before)),
        attempt_id: crate::names::attempt_id(incident, attempt.number),
        decision_record: Some(attempt.record.clone()).filter(|record| !record.is_empty()),
        claims: attempt.n_claims,
        expect: text_of(&attempt.expect),
        promotion: attempt.promotion.as_ref().map(|name| name.as_str().to_owned()),
        reason: cut(&attempt.reason, 1024),
        outcome: outcome_text(&attempt.outcome),
        message: old.map(|old| old.message.clone()).unwrap_or_default(),
    }
}

fn decision_summary(past: &PastDecision) -> DecisionSummary {
    let action = |(kind, outcome): &(ActionKind, Outcome)| ActionSummary {
        kind: kind.text(),
        outcome: outcome_text(outcome),
    };
    DecisionSummary {
        at: time(past.at_unix_seconds),
        trigger: text_of(&past.trigger),
        class: text_of(&past.class),
        actions: past.actions.iter().map(action).collect(),
    }
}

fn closed_record(closed: &Closed) -> ClosedRecord {
    ClosedRecord {
        at: time(closed.at),
        resolution: closed.resolution.text().to_owned(),
        reason: cut(&closed.reason, 63),
        message: cut(&closed.message, 2048),
    }
}

/// Reads an Incident's texts, knowing which object to name in errors.
struct Reader {
    object: String,
}

impl Reader {
    fn new(incident: &Incident) -> Self {
        let namespace = incident.namespace().unwrap_or_default();
        Self { object: format!("Incident {namespace}/{}", incident.name_any()) }
    }

    fn known<T>(&self, path: &str, value: &str, read: Option<T>) -> Result<T, ConvertError> {
        let error =
            || ConvertError { object: self.object.clone(), path: path.to_owned(), value: cut(value, 128) };
        read.ok_or_else(error)
    }

    fn case<T: DeserializeOwned>(&self, path: &str, value: &str) -> Result<T, ConvertError> {
        self.known(path, value, case_of(value))
    }

    fn attempt(&self, record: &AttemptRecord) -> Result<Attempt, ConvertError> {
        Ok(Attempt {
            number: record.number,
            kind: self.known("status.attempts.kind", &record.kind, ActionKind::parse(&record.kind))?,
            freight: record.freight.as_deref().map(Into::into),
            origin: record.origin.as_deref().map(Into::into),
            claimed: timestamp(&record.claimed_at),
            promotion: record.promotion.as_deref().map(Into::into),
            reason: record.reason.clone(),
            record: record.decision_record.clone().unwrap_or_default(),
            send_before: record.send_before.as_ref().map(timestamp).unwrap_or_default(),
            n_claims: record.claims,
            expect: case_of(&record.expect).unwrap_or_default(),
            outcome: self.known("status.attempts.outcome", &record.outcome, outcome(&record.outcome))?,
        })
    }

    fn decision(&self, record: &DecisionSummary) -> Result<PastDecision, ConvertError> {
        let action = |summary: &ActionSummary| {
            let kind = ActionKind::parse(&summary.kind);
            let kind = self.known("status.decisions.actions.kind", &summary.kind, kind)?;
            let outcome = outcome(&summary.outcome);
            Ok((kind, self.known("status.decisions.actions.outcome", &summary.outcome, outcome)?))
        };
        Ok(PastDecision {
            at_unix_seconds: timestamp(&record.at),
            trigger: self.case("status.decisions.trigger", &record.trigger)?,
            class: self.case("status.decisions.class", &record.class)?,
            actions: record.actions.iter().map(action).collect::<Result<_, _>>()?,
        })
    }

    fn pending(&self, record: &PendingRecord) -> Result<Pending, ConvertError> {
        let action = serde_json::from_value(record.action.clone()).ok();
        Ok(Pending {
            at: timestamp(&record.at),
            action: self.known("status.pending.action", &record.action.to_string(), action)?,
            record: record.decision_record.clone(),
            seen: Seen {
                last_promotion: record.seen.last_promotion.as_deref().map(Into::into),
                collection: record.seen.collection.clone(),
                verification: record.seen.verification.as_deref().map(Into::into),
            },
        })
    }

    fn closed(&self, record: &ClosedRecord) -> Result<Closed, ConvertError> {
        let resolution: Resolution = self.case("status.closed.resolution", &record.resolution)?;
        Ok(Closed {
            at: timestamp(&record.at),
            resolution,
            reason: record.reason.clone(),
            message: record.message.clone(),
        })
    }
}
