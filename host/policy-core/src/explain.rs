//! Says each thing in one sentence: the same one in record, Event, message and terminal.
//!
//! In: values of this crate. Out: one line each, without a final dot. Words of a guest are always introduced by the
//! module's name, redacted and capped, so that nobody takes them for the host's.

use serde::Serialize;

use crate::chain::{End, Said, Skip, Word};
use crate::deadlines::Deadlines;
use crate::decision::{Action, Operation, RollbackSelector};
use crate::detect::{first_failed_step, is_silent};
use crate::failure::{Classification, Failure, Trigger};
use crate::guest_fault::{GuestFault, GuestFaultKind};
use crate::incident::Closed;
use crate::snapshot::PromotionSnapshot;
use crate::time::{Timestamp, format_duration};
use crate::write::{ActionVerdict, HoldExpectation, Verdict, Write};

/// Longest quotation of a guest's words, in bytes.
pub const MAX_QUOTE_BYTES: usize = 400;

/// What failed: `Promotion p1 in Stage prod errored: ...`.
pub fn failure(failure: &Failure) -> String {
    let what = what_happened(failure.trigger);
    let subject = match (&failure.verification, &failure.promotion) {
        (Some(verification), _) => format!("Verification `{verification}` in Stage `{}`", failure.stage),
        (None, Some(promotion)) => format!("Promotion `{promotion}` in Stage `{}`", failure.stage),
        (None, None) => format!("Stage `{}`", failure.stage),
    };
    let by = match &failure.user_abort {
        Some(abort) => {
            let actor = abort.actor.as_deref().unwrap_or("somebody");
            let is_said = matches!(failure.trigger, Trigger::PromotionAborted | Trigger::VerificationAborted);
            if is_said { format!(" by {actor}") } else { format!(", aborted by {actor}") }
        }
        None => String::new(),
    };
    if failure.summary.is_empty() {
        format!("{subject} {what}{by}")
    } else {
        format!("{subject} {what}{by}: {}", line(&failure.summary))
    }
}

/// What can be said of a Promotion that has not ended: a step of it may have failed already. `None` once it has ended. That
/// something goes on for too long is for [`crate::detect::look`] to say, which knows the time.
pub fn unended(promotion: &PromotionSnapshot) -> Option<String> {
    let name = &promotion.name;
    let Some(phase) = promotion.phase else {
        return Some(format!(
            "Promotion `{name}` has no phase: no controller has seen it yet, or the export was cut off"
        ));
    };
    if phase.is_terminal() {
        return None;
    }
    let silent = format_duration(Deadlines::default().promotion_silent);
    Some(match first_failed_step(promotion) {
        Some(step) if is_silent(step) => format!(
            "Promotion `{name}` has not ended: step `{}` is Failed without a counted error, and Kargo repeats it for \
             ever; it counts as stalled {silent} after that, unless a FailurePolicy says otherwise",
            step.alias
        ),
        Some(step) => format!("Promotion `{name}` has not ended: step `{}` has failed so far", step.alias),
        None => format!("Promotion `{name}` has not ended: it is {}", phase.text()),
    })
}

/// What a trigger means, as it follows the name of what failed.
pub fn what_happened(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::PromotionFailed => "failed",
        Trigger::PromotionErrored => "errored",
        Trigger::PromotionAborted => "was aborted",
        Trigger::PromotionStalled => "makes no progress",
        Trigger::PromotionPendingStuck => "waits too long",
        Trigger::PromotionDenied => "was denied",
        Trigger::StepFailedTolerated => "had a failed step that was tolerated",
        Trigger::PromotionNotRecorded => "succeeded and was never recorded",
        Trigger::VerificationFailed => "failed",
        Trigger::VerificationError => "could not judge",
        Trigger::VerificationInconclusive => "gave no verdict",
        Trigger::VerificationAborted => "was aborted",
        Trigger::VerificationStuck => "does not end",
        Trigger::VerificationMissing => "will never run",
        Trigger::StageUnhealthy => "turned unhealthy",
        Trigger::StageHealthUnknown => "has had unknown health for too long",
        Trigger::RollbackFailed => "failed as a rollback",
        Trigger::AutoPromotionBlocked => "gets no new Freight by itself any more",
        Trigger::ExternalAlert => "got an alert from outside",
        Trigger::Timer => "is due after a wait",
        Trigger::ActionResult => "had an action refused or failed",
        Trigger::ApprovalResolved => "got an answer",
        Trigger::ApprovalExpired => "got no answer in time",
        Trigger::Manual => "is asked about by a person",
    }
}

/// How the host reads it: `transient (after-delay, environment, effect none), 90 % sure by rule G2 in step push`.
pub fn classification(read: &Classification) -> String {
    let step = match &read.step {
        Some(step) => format!(" in step `{step}`"),
        None => String::new(),
    };
    format!(
        "{} (retryability {}, fault {}, effect {}), {} % sure by rule {}{step}",
        word(&read.class),
        word(&read.retryability),
        word(&read.fault_domain),
        word(&read.effect),
        read.confidence_percent,
        read.rule
    )
}

/// What an action asks for, in the host's words.
pub fn operation(operation: &Operation) -> String {
    match operation {
        Operation::Retry { delay_seconds: 0 } => "retry".to_owned(),
        Operation::Retry { delay_seconds } => format!("retry in {}", format_duration(*delay_seconds)),
        Operation::Rollback { target, origin } => {
            let of = origin.as_ref().map(|origin| format!(" of {}", line(origin))).unwrap_or_default();
            match target {
                RollbackSelector::LastVerified => format!("roll back to the last good Freight{of}"),
                RollbackSelector::Previous => format!("roll back to what ran before{of}"),
                RollbackSelector::Exact(name) => format!("roll back to Freight `{}`{of}", line(name)),
                RollbackSelector::Other(name) => format!("roll back to `{}`{of}", line(name)),
            }
        }
        Operation::Wait { seconds, cause } => {
            format!("wait {} for {}", format_duration(*seconds), line(cause))
        }
        Operation::Notify(message) => format!("tell people: {}", line(&message.title)),
        Operation::EmitEvent { reason, .. } => format!("write Event {}", line(reason)),
        Operation::Accept { .. } => "do nothing, on purpose".to_owned(),
        Operation::Escalate { title, .. } => format!("page somebody: {}", line(title)),
        Operation::HandOff { to, .. } => format!("hand off to {}", line(to)),
        Operation::Record(facts) => format!("record {} facts", facts.len()),
        Operation::RequestApproval(request) => format!("ask a person: {}", line(&request.question)),
        Operation::AbortPromotion { name: Some(name) } => format!("abort Promotion `{}`", line(name)),
        Operation::AbortPromotion { name: None } => "abort the Promotion".to_owned(),
        Operation::Hold { .. } => "hold the Stage's Freight in place".to_owned(),
        Operation::RunRecovery { name, .. } => format!("run recovery `{}`", line(name)),
        Operation::Custom { kind, .. } => format!("do `{}`", line(kind)),
    }
}

/// What an action asks for and what came of it; `now` turns times into "in 30s". What only the mode holds back reads
/// `would ...`.
pub fn action(action: &Action, verdict: &ActionVerdict, now: Timestamp) -> String {
    let asks = operation(&action.operation);
    match &verdict.verdict {
        Verdict::Refuse { because } if is_held_back_by_mode(verdict) => format!("would {asks}: {because}"),
        Verdict::Allow | Verdict::Postpone { .. } | Verdict::Refuse { .. } => {
            format!("{asks}: {}", verdict_text(verdict, now))
        }
    }
}

/// Whether nothing but the mode (G24) refuses it.
pub fn is_held_back_by_mode(verdict: &ActionVerdict) -> bool {
    let mut refusals = verdict.by.iter().filter(|(_, one)| matches!(one, Verdict::Refuse { .. })).peekable();
    refusals.peek().is_some() && refusals.all(|(id, _)| id == "G24")
}

/// What guardrails say: `allowed`, `refused by G1: ...`, `put off by G5 for 10m: ...`.
pub fn verdict_text(verdict: &ActionVerdict, now: Timestamp) -> String {
    let ids = |refused: bool| {
        let matching = verdict.by.iter().filter(|(_, one)| matches!(one, Verdict::Refuse { .. }) == refused);
        matching.map(|(id, _)| id.as_str()).collect::<Vec<_>>().join(", ")
    };
    match &verdict.verdict {
        Verdict::Allow => "allowed".to_owned(),
        Verdict::Postpone { until, because } => {
            format!("put off by {} for {}: {because}", ids(false), format_duration(until.since(now)))
        }
        Verdict::Refuse { because } => format!("refused by {}: {because}", ids(true)),
    }
}

/// What would be written.
pub fn write(write: &Write, now: Timestamp) -> String {
    match write {
        Write::ForceFreshVerification { stage } => {
            format!("annotate Stage `{stage}` so that its next verification runs afresh")
        }
        Write::CreatePromotion { stage, freight, kind, not_before, expect, .. } => {
            let when = match not_before.since(now) {
                0 => "now".to_owned(),
                pause => format!("in {}", format_duration(pause)),
            };
            let expect = match expect {
                HoldExpectation::MustHold => ", expecting a hold",
                HoldExpectation::MustNotResume => ", expecting that no hold is lifted",
                HoldExpectation::Any => "",
            };
            format!(
                "create a Promotion of Freight `{freight}` to Stage `{stage}` {when} ({}{expect})",
                kind.text()
            )
        }
        Write::Refresh { stage } => format!("refresh Stage `{stage}`"),
        Write::Timer { at, cause, .. } => format!("ask again in {}: {cause}", format_duration(at.since(now))),
        Write::Send { message } => format!("send ({}): {}", word(&message.severity), message.title),
        Write::Event { reason, note } => format!("Event {reason}: {note}"),
        Write::Keep { facts } => format!("keep {} facts in the record", facts.len()),
        Write::Close { resolution, reason, message } => match reason.as_str() {
            "" => format!("close as {}: {message}", resolution.text()),
            reason => format!("close as {}/{reason}: {message}", resolution.text()),
        },
    }
}

/// How an incident ended.
pub fn closed(closed: &Closed) -> String {
    match closed.reason.as_str() {
        "" => format!("{}: {}", closed.resolution.text(), closed.message),
        reason => format!("{} ({reason}): {}", closed.resolution.text(), closed.message),
    }
}

/// Whose fault it is that there is no answer. `module` is the name that the FailurePolicy gives.
pub fn fault(module: &str, fault: &GuestFault) -> String {
    let what = match fault.kind {
        GuestFaultKind::OutOfFuel => "used up its fuel",
        GuestFaultKind::Deadline => "ran into the deadline",
        GuestFaultKind::Memory => "wanted more memory than it may have",
        GuestFaultKind::Table => "wanted larger tables than it may have",
        GuestFaultKind::StackOverflow => "recursed too deeply",
        GuestFaultKind::Trap => "ended itself",
        GuestFaultKind::TooLarge => "answered or logged more than it may",
        GuestFaultKind::Malformed => "answered something that is not of the contract",
        GuestFaultKind::ContractViolation => "broke a rule of the contract",
        GuestFaultKind::PolicyError => "answered with an error of its own",
        GuestFaultKind::Instantiation => "could not be started within the limits",
        GuestFaultKind::Disabled => "is disabled and was not asked",
        GuestFaultKind::NotLoaded => "cannot be asked",
    };
    match line(&fault.message).as_str() {
        "" => format!("policy `{module}` {what}"),
        message => format!("policy `{module}` {what}: {message}"),
    }
}

/// Words of a guest, introduced by its module's name.
pub fn guest(module: &str, text: &str) -> String {
    match line(text).as_str() {
        "" => format!("`{module}` gives no reason"),
        text => format!("`{module}` says: {text}"),
    }
}

/// What an entry of a chain said.
pub fn said(module: &str, said: &Said) -> String {
    match &said.word {
        Word::Decided(decision) if decision.actions.is_empty() => format!("`{module}` decided on no action"),
        Word::Decided(decision) => guest(module, &decision.explanation),
        Word::Pass => format!("`{module}` has no opinion"),
        Word::Fault(what) => fault(module, what),
        Word::Skipped(Skip::OtherTriggers) => {
            format!("`{module}` was not asked: it does not want this trigger")
        }
        Word::Skipped(Skip::AlreadyDecided) => {
            format!("`{module}` was not asked: an entry before it decided")
        }
        Word::Skipped(Skip::Disabled) => {
            format!("`{module}` was not asked: an entry of the chain is disabled")
        }
        Word::Skipped(Skip::AfterFault) => format!("`{module}` was not asked: an entry before it failed"),
    }
}

/// How a chain ended; `modules` are the names of its entries in order.
pub fn end(modules: &[&str], end: &End) -> String {
    match end {
        End::Decided(decision) => {
            let kinds: Vec<String> =
                decision.actions.iter().map(|action| action.operation.kind().text()).collect();
            if kinds.is_empty() {
                "decided: no action".to_owned()
            } else {
                format!("decided: {}", kinds.join(", "))
            }
        }
        End::NoOpinion => "no policy had an opinion".to_owned(),
        End::Fault { entry, fault: what } => fault(modules.get(*entry).copied().unwrap_or("unknown"), what),
    }
}

/// The name of a value of ours as it stands in YAML.
pub fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}

/// One line: redacted, capped, without line breaks and final dots.
pub fn line(text: &str) -> String {
    let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let capped = crate::redact::shown(&joined, MAX_QUOTE_BYTES);
    capped.trim_end_matches(['.', ' ']).to_owned()
}
