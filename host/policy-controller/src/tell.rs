//! Tells people: messages and Events of decisions, and how incidents end.
//!
//! In: planned writes that speak, and endings. Out: Kubernetes Events on the Stage, each once per key, so that telling
//! again after a crash tells nobody twice. Sentences come from `policy-core`'s explain; here they only find their way.

use policy_core::decision::{Message, Severity};
use policy_core::incident::{Attempt, Closed, Resolution};
use policy_core::name::PromotionName;
use policy_core::snapshot::StageSnapshot;
use policy_core::write::Write;

use crate::case::{Case, Ending};
use crate::events::{About, EventError, Loudness, Note, write};
use crate::host::Host;
use crate::queue::StageKey;
use crate::visit::VisitError;

/// Things said once that an Incident remembers, the newest.
const MAX_SENT: usize = 16;

/// The reason of incidents whose failure nobody saw in time, because nobody watched.
pub const DOWNTIME: &str = "Downtime";

/// Sends every message and Event among `writes`, in order.
///
/// # Errors
/// When one could not be written; those before it were.
pub async fn decision(
    host: &Host,
    key: &StageKey,
    case: &Case,
    stage: &StageSnapshot,
    writes: &[Write],
) -> Result<(), EventError> {
    for (position, one) in writes.iter().enumerate() {
        match one {
            Write::Send { message } => {
                deliver(host, key, case, stage, message).await?;
            }
            Write::Event { reason, note } => {
                // Not by its text, which may name a time: after a crash the same decision is told again.
                let key_of_event = format!("{}:{}:{position}", case.name(), case.state.n_decisions);
                let loudness = if reason == "GuestFault" { Loudness::Warning } else { Loudness::Normal };
                let said = Said { key: &key_of_event, reason, loudness, text: note, channel: None };
                send(host, key, stage, &said).await?;
            }
            Write::ForceFreshVerification { .. }
            | Write::CreatePromotion { .. }
            | Write::Refresh { .. }
            | Write::Timer { .. }
            | Write::Keep { .. }
            | Write::Close { .. } => {}
        }
    }
    Ok(())
}

/// Says how an incident ended.
///
/// # Errors
/// When the Event could not be written.
pub async fn closed(
    host: &Host,
    key: &StageKey,
    case: &Case,
    stage: &StageSnapshot,
    closed: &Closed,
) -> Result<(), EventError> {
    if closed.reason == DOWNTIME {
        return downtime(host, key).await;
    }
    let loudness = match closed.resolution {
        Resolution::Recovered
        | Resolution::RolledBack
        | Resolution::Accepted
        | Resolution::Observed
        | Resolution::Superseded
        | Resolution::StageGone => Loudness::Normal,
        Resolution::Exhausted | Resolution::HandedOff | Resolution::Expired => Loudness::Warning,
    };
    let text = policy_core::explain::closed(closed);
    let text = format!("incident `{}`: {text}", case.name());
    let reason = format!("Incident{}", closed.resolution.text());
    let once = format!("{}:closed", case.name());
    send(host, key, stage, &Said { key: &once, reason: &reason, loudness, text: &text, channel: None }).await
}

/// Says once per Project that failures were missed: after an outage of ours nobody wants a message per Stage.
async fn downtime(host: &Host, key: &StageKey) -> Result<(), EventError> {
    let previous = host.previous_leader.unwrap_or_default();
    let since = policy_api::convert::time(previous).0;
    let text = format!(
        "failures of this Project were missed while Refloat did not watch, from {since} on, and are too old to act on; \
         their Incidents say Expired"
    );
    host.metrics.request("create", "events");
    let about = About {
        api_version: "kargo.akuity.io/v1alpha1",
        kind: "Project",
        project: Some(&key.project),
        name: key.project.as_str(),
        uid: "",
    };
    let (once, now) = (format!("downtime:{}", previous.0), host.clock.now());
    let (reason, loudness) = ("FailuresMissed", Loudness::Warning);
    let note = Note { about, key: &once, reason, loudness, text: &text, channel: None, now };
    write(host.requests.client(), &note).await
}

/// Sends one message, once per channel and incident.
async fn deliver(
    host: &Host,
    key: &StageKey,
    case: &Case,
    stage: &StageSnapshot,
    message: &Message,
) -> Result<(), EventError> {
    let channel = message.channel.as_deref();
    let once = match channel {
        Some(channel) => format!("{}:{}:{channel}", case.name(), dedupe_key(message)),
        None => format!("{}:{}", case.name(), dedupe_key(message)),
    };
    let (reason, loudness) = (reason(message.severity), loudness(message.severity));
    let text = format!("{}: {}", message.title, message.text);
    send(host, key, stage, &Said { key: &once, reason, loudness, text: &text, channel }).await
}

/// One thing to say about a Stage.
pub struct Said<'a> {
    /// What makes it the same thing, however often it is said.
    pub key: &'a str,
    /// The word that people filter Events by.
    pub reason: &'a str,
    /// How loud.
    pub loudness: Loudness,
    /// The text.
    pub text: &'a str,
    /// The channel that it is a message for; `None` for all of them.
    pub channel: Option<&'a str>,
}

/// Says one thing about the Stage, once per [`Said::key`].
///
/// # Errors
/// When the Event could not be written.
pub async fn send(
    host: &Host,
    key: &StageKey,
    stage: &StageSnapshot,
    said: &Said<'_>,
) -> Result<(), EventError> {
    host.metrics.request("create", "events");
    let about = About {
        api_version: "kargo.akuity.io/v1alpha1",
        kind: "Stage",
        project: Some(&key.project),
        name: key.stage.as_str(),
        uid: stage.uid.as_str(),
    };
    let Said { key: once, reason, loudness, text, channel } = *said;
    // What a plan says does so already; what Kargo says about an attempt may name Freight, too.
    let freight = host.stores.freight(&key.project);
    let text = &policy_core::called::by_alias(text, |name| freight.alias_of(name));
    let now = host.clock.now();
    write(host.requests.client(), &Note { about, key: once, reason, loudness, text, channel, now }).await
}

/// Says a thing once in an incident, however often its Stage is visited: Events are forgotten after an hour, and the
/// Incident remembers.
///
/// # Errors
/// When the Event cannot be written or the Incident cannot be saved.
pub async fn once(
    host: &Host,
    key: &StageKey,
    case: &mut Case,
    stage: &StageSnapshot,
    said: &Said<'_>,
) -> Result<(), VisitError> {
    if case.state.sent.iter().any(|sent| sent == said.key) {
        return Ok(());
    }
    let told = send(host, key, stage, said).await;
    told.map_err(|error| VisitError::Tell(key.clone(), error))?;
    case.state.sent.push(said.key.to_owned());
    let excess = case.state.sent.len().saturating_sub(MAX_SENT);
    case.state.sent.drain(..excess);
    case.save(host, key).await.map_err(|error| VisitError::Case(key.clone(), error))
}

fn dedupe_key(message: &Message) -> &str {
    message.dedupe_key.as_deref().unwrap_or(&message.title)
}

/// The word that people filter Events by: only what somebody must look at now is an escalation.
fn reason(severity: Severity) -> &'static str {
    match severity {
        Severity::Info | Severity::Warning => "RefloatMessage",
        Severity::Critical => "RefloatEscalation",
    }
}

fn loudness(severity: Severity) -> Loudness {
    match severity {
        Severity::Info => Loudness::Normal,
        Severity::Warning | Severity::Critical => Loudness::Warning,
    }
}

/// How an incident ends whose attempt worked.
pub fn success(attempt: &Attempt) -> Ending {
    let promotion = attempt.promotion.as_ref().map_or("", PromotionName::as_str);
    match attempt.kind {
        policy_core::decision::ActionKind::Rollback => Ending::new(
            Resolution::RolledBack,
            "",
            format!("Promotion `{promotion}` brought the Stage back, and a fresh verification agreed"),
        ),
        _ => Ending::new(
            Resolution::Recovered,
            "",
            format!("Promotion `{promotion}` succeeded at attempt {}", attempt.number),
        ),
    }
}

/// How an incident ends whose attempt was not verified afresh.
pub fn unproven(attempt: &Attempt) -> Ending {
    let promotion = attempt.promotion.as_ref().map_or("", PromotionName::as_str);
    let text = format!(
        "Promotion `{promotion}` succeeded, but Kargo took over an older verification of the same Freight"
    );
    Ending::new(Resolution::HandedOff, "NotVerified", text)
}

/// How an incident ends whose attempt a person stopped.
pub fn ended_by_person(attempt: &Attempt, actor: Option<&str>) -> Ending {
    let who = actor.unwrap_or("somebody");
    let text = format!("`{who}` aborted attempt {}; nothing automatic follows", attempt.number);
    Ending::new(Resolution::HandedOff, "Person", text)
}

/// How an incident ends whose attempt's Promotion was deleted.
pub fn gone(attempt: &Attempt) -> Ending {
    let promotion = attempt.promotion.as_ref().map_or("", PromotionName::as_str);
    Ending::new(
        Resolution::HandedOff,
        "PromotionGone",
        format!("Promotion `{promotion}` was deleted before it ended"),
    )
}

/// How an incident ends whose attempt was overtaken.
pub fn overtaken(attempt: &Attempt, by: &PromotionName) -> Ending {
    let text = format!("Promotion `{by}` moved the Stage on during attempt {}", attempt.number);
    Ending::new(Resolution::Superseded, "", text)
}
