//! Turns a decision and its verdicts into planned writes.
//!
//! In: what was decided, what guardrails say, the facts. Out: writes in the order in which they are made. Every plan
//! says how the incident goes on: it creates one Promotion, or asks again at a time, or closes. Nothing here executes,
//! and nothing here allows what a guardrail did not.

use crate::chain::{End, Run};
use crate::context::Mode;
use crate::decision::{Action, ActionKind, Decision, Message, Operation, Severity};
use crate::explain;
use crate::guardrails::target::Target;
use crate::guardrails::{self, Input};
use crate::guest_fault::GuestFault;
use crate::incident::Resolution;
use crate::redact;
use crate::rules::Rules;
use crate::time::Timestamp;
use crate::write::{ActionVerdict, HoldExpectation, Verdict, Write};

/// When facts have moved under a decision, the policy is asked again after this many seconds.
pub const ASK_AGAIN_SECONDS: u32 = 30;

/// A decision that was bounded and planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// One per action.
    pub verdicts: Vec<ActionVerdict>,
    /// In the order in which they are made.
    pub writes: Vec<Write>,
}

/// Bounds and plans whatever a chain came to. `modules` are the names of its entries in order.
pub fn of_chain(run: &Run, modules: &[&str], input: &Input<'_>) -> Planned {
    match &run.end {
        End::Decided(decision) => {
            let verdicts = guardrails::check(decision, input);
            let writes = plan(decision, &verdicts, input);
            Planned { verdicts, writes }
        }
        End::NoOpinion => {
            let writes = match (&input.rules.held_back, run.said.as_slice()) {
                (Some(why), []) => nobody_asked(why, input),
                (Some(_) | None, _) => no_opinion(input),
            };
            Planned { verdicts: Vec::new(), writes }
        }
        End::Fault { entry, fault: what } => {
            let module = modules.get(*entry).copied().unwrap_or("unknown");
            Planned { verdicts: Vec::new(), writes: fault(module, what, input) }
        }
    }
}

/// Plans a decision. `verdicts` has one entry per action, in the same order.
pub fn plan(decision: &Decision, verdicts: &[ActionVerdict], input: &Input<'_>) -> Vec<Write> {
    if decision.actions.is_empty() {
        return no_opinion(input);
    }
    let mut writes = Vec::new();
    let mut next = None;
    for (action, verdict) in decision.actions.iter().zip(verdicts) {
        let is_too_late = next.is_some() && !action.operation.kind().is_communication();
        match &verdict.verdict {
            Verdict::Allow | Verdict::Postpone { .. } if is_too_late => {}
            Verdict::Allow => next = next.or(allowed(action, input, &mut writes)),
            Verdict::Postpone { until, because } => {
                if is_only_backoff(verdict) {
                    next = next.or(deliver(action, *until, input, &mut writes));
                } else {
                    next = next.or(Some(Next::Write(put_off(*until, because.clone()))));
                }
            }
            Verdict::Refuse { .. } => refused(action, verdict, input, &mut writes),
        }
    }
    if input.rules.mode == Mode::Suggest {
        suggest(decision, verdicts, input, &mut writes);
    }
    match next.unwrap_or_else(|| Next::Write(after_refusals(decision, verdicts, input))) {
        Next::Delivered => {}
        Next::Write(write) => writes.push(closed_as_observed(write, input)),
    }
    for_people(writes, input)
}

/// Plans what follows when nobody had an opinion: tell people, and leave it alone. The incident closes as Accepted
/// with the reason `NoOpinion` unless there were attempts, so that "did nothing" is never confused with "did not run".
pub fn no_opinion(input: &Input<'_>) -> Vec<Write> {
    let text = explain::failure(&input.incident.current);
    let mut writes = vec![event("NoOpinion", &format!("no policy had an opinion on it: {text}"))];
    if input.rules.mode != Mode::Observe {
        writes.push(Write::Send { message: message(Severity::Warning, "No policy had an opinion", &text) });
    }
    // With attempts behind it an incident that nobody wants to go on with is no accepted one.
    let close = match input.incident.attempts.as_slice() {
        [] => close(Resolution::Accepted, "NoOpinion", "no policy had an opinion".to_owned()),
        [_, ..] => only_communications(&Decision::default(), input),
    };
    writes.push(closed_as_observed(close, input));
    for_people(writes, input)
}

/// Plans what follows when there was nobody to ask, because several policies claim the Stage: it is only observed, and
/// people learn which policies keep each other from it.
fn nobody_asked(why: &str, input: &Input<'_>) -> Vec<Write> {
    let text = explain::failure(&input.incident.current);
    let note = format!("no policy was asked about it ({why}): {text}");
    vec![
        event("Conflict", &note),
        close(Resolution::Observed, "Conflict", format!("no policy was asked: {}", explain::line(why))),
    ]
}

/// Plans what follows a guest fault (G23): nothing is written to Kargo, and the people that `onGuestFault` of the
/// FailurePolicy names, or else everybody, learn whose fault it is, in every mode.
pub fn fault(module: &str, fault: &GuestFault, input: &Input<'_>) -> Vec<Write> {
    let whose = explain::fault(module, fault);
    let text = format!("{whose}; nothing was done about: {}", explain::failure(&input.incident.current));
    let title = format!("Policy `{module}` gave no answer");
    let everybody = message(Severity::Critical, &title, &text);
    let mut writes: Vec<Write> = match input.rules.fault_channels.as_slice() {
        [] => vec![Write::Send { message: everybody }],
        named => {
            let to = |channel: &String| Message { channel: Some(channel.clone()), ..everybody.clone() };
            named.iter().map(|channel| Write::Send { message: to(channel) }).collect()
        }
    };
    writes.push(event("GuestFault", &whose));
    writes.push(close(Resolution::HandedOff, "GuestFault", whose));
    for_people(writes, input)
}

/// The same writes with Freight under its alias wherever people read it. A Promotion keeps the name.
fn for_people(mut writes: Vec<Write>, input: &Input<'_>) -> Vec<Write> {
    for write in &mut writes {
        match write {
            Write::Send { message } => {
                message.title = input.for_people(&message.title);
                message.text = redact::shown(&input.for_people(&message.text), MAX_TEXT_BYTES);
            }
            Write::Event { note, .. } => *note = redact::shown(&input.for_people(note), MAX_NOTE_BYTES),
            Write::Timer { cause, .. } => *cause = input.for_people(cause),
            Write::Close { message, .. } => *message = input.for_people(message),
            Write::ForceFreshVerification { .. }
            | Write::CreatePromotion { .. }
            | Write::Refresh { .. }
            | Write::Keep { .. } => {}
        }
    }
    writes
}

/// How the incident goes on.
enum Next {
    /// A Promotion is created; the attempt is followed.
    Delivered,
    /// Asked again, or closed.
    Write(Write),
}

fn allowed(action: &Action, input: &Input<'_>, writes: &mut Vec<Write>) -> Option<Next> {
    match &action.operation {
        Operation::Retry { .. } | Operation::Rollback { .. } => deliver(action, input.now, input, writes),
        Operation::Wait { seconds, cause } => {
            let pause = (*seconds).clamp(Rules::MIN_BACKOFF_SECONDS, Rules::MAX_WAIT_SECONDS);
            let (at, cause) = (input.now.plus(pause), explain::line(cause));
            Some(Next::Write(Write::Timer { at, cause, by_policy: true }))
        }
        Operation::Notify(text) => {
            send(text.clone(), input, writes);
            None
        }
        Operation::EmitEvent { reason, note } => {
            writes.push(event(&camel_case(reason), note));
            None
        }
        Operation::Accept { text } => Some(Next::Write(close(Resolution::Accepted, "", explain::line(text)))),
        Operation::Escalate { title, text } => {
            let mut page = message(Severity::Critical, title, text);
            page.dedupe_key = Some(format!("escalate:{}", page.title));
            send(page, input, writes);
            None
        }
        Operation::HandOff { to, note } => {
            let text = format!("{}: {}", explain::line(to), explain::line(note));
            Some(Next::Write(close(Resolution::HandedOff, "", text)))
        }
        Operation::Record(facts) => {
            let clean = |text: &str| redact::shown(text, MAX_FACT_BYTES);
            let facts = facts.iter().map(|(key, value)| (clean(key), clean(value))).collect();
            writes.push(Write::Keep { facts });
            None
        }
        // Never allowed: `unsupported-here` refuses them.
        Operation::RequestApproval(_)
        | Operation::AbortPromotion { .. }
        | Operation::Hold { .. }
        | Operation::RunRecovery { .. }
        | Operation::Custom { .. } => None,
    }
}

/// Plans the Promotion of a delivery; `None` when there is no Freight for it, which `target` refuses before.
fn deliver(
    action: &Action,
    not_before: Timestamp,
    input: &Input<'_>,
    writes: &mut Vec<Write>,
) -> Option<Next> {
    let target = guardrails::target::of(action, input)?.ok()?;
    let kind = action.operation.kind();
    if kind == ActionKind::Rollback && input.stage.verifies {
        writes.push(Write::ForceFreshVerification { stage: input.stage.name.clone() });
    }
    let expect = expectation(&kind, &target, input);
    writes.push(Write::CreatePromotion {
        stage: input.stage.name.clone(),
        freight: target.freight,
        origin: target.origin,
        kind,
        not_before,
        expect,
    });
    Some(Next::Delivered)
}

/// What admission must say. Kargo stamps a hold on a Promotion of anything but the candidate of an auto-promoted
/// Stage, and lifts a hold on a Promotion of the candidate (`pkg/webhook/kubernetes/promotion`, v1.11.2).
fn expectation(kind: &ActionKind, target: &Target, input: &Input<'_>) -> HoldExpectation {
    let stage = &input.context.stage;
    let is_candidate =
        input.context.freight.candidates.iter().any(|piece| piece.name == target.freight.as_str());
    if *kind == ActionKind::Rollback && stage.auto_promotion == Some(true) && !is_candidate {
        return HoldExpectation::MustHold;
    }
    let origin = target.origin.as_ref();
    let holds = guardrails::g15_human_hold::in_force(input);
    let is_held = holds.iter().any(|hold| origin.is_none_or(|origin| origin.as_str() == hold.origin));
    if is_held { HoldExpectation::MustNotResume } else { HoldExpectation::Any }
}

/// A retry that only waits for its backoff is planned with its start; anything else is decided anew.
fn is_only_backoff(verdict: &ActionVerdict) -> bool {
    verdict.by.iter().all(|(id, _)| id == "G4")
}

fn refused(action: &Action, verdict: &ActionVerdict, input: &Input<'_>, writes: &mut Vec<Write>) {
    // A message that nobody gets must not vanish without a word, as with a channel that has a typo in it.
    let is_unsaid = action.operation.kind().is_communication() && !is_by(verdict, "G13");
    if is_unsaid || is_only_list(verdict) {
        return;
    }
    let reason = if explain::is_held_back_by_mode(verdict) { "WouldHave" } else { "ActionRefused" };
    writes.push(event(reason, &explain::action(action, verdict, input.now)));
}

/// In Suggest, one message says what would have been done.
fn suggest(decision: &Decision, verdicts: &[ActionVerdict], input: &Input<'_>, writes: &mut Vec<Write>) {
    let mut actions = decision.actions.iter().zip(verdicts);
    let held_back = actions.find(|(_, verdict)| explain::is_held_back_by_mode(verdict));
    if let Some((action, _)) = held_back {
        let text = format!(
            "{}; would have: {}",
            explain::failure(&input.incident.current),
            explain::operation(&action.operation)
        );
        let title = format!("Suggestion for Stage `{}`", input.stage.name);
        send(message(Severity::Info, &title, &text), input, writes);
    }
}

/// What becomes of an incident when nothing of its decision says how it goes on.
fn after_refusals(decision: &Decision, verdicts: &[ActionVerdict], input: &Input<'_>) -> Write {
    let refused = decision
        .actions
        .iter()
        .zip(verdicts)
        .find(|(action, verdict)| !action.operation.kind().is_communication() && !is_only_list(verdict));
    let Some((action, verdict)) = refused else {
        return only_communications(decision, input);
    };
    let text = explain::action(action, verdict, input.now);
    for (ids, resolution, reason) in ENDS {
        if let Some(id) = ids.iter().find(|id| is_by(verdict, id)) {
            let reason = match (*id, guardrails::target::of(action, input)) {
                ("target", Some(Err(missing))) => missing.reason,
                _ => reason,
            };
            return close(*resolution, reason, text);
        }
    }
    put_off(input.now.plus(ASK_AGAIN_SECONDS), text)
}

/// A delivery waits, and the policies are asked about the failure anew.
fn put_off(at: Timestamp, cause: String) -> Write {
    Write::Timer { at, cause, by_policy: false }
}

/// How a refusal ends an incident, the first row that applies. What is not listed (G7, G8, G9) says that the facts
/// have moved: settling sees by itself whether somebody moved the Stage on, and the policy is asked again.
const ENDS: &[(&[&str], Resolution, &str)] = &[
    (&["G24"], Resolution::Observed, ""),
    (&["G12"], Resolution::HandedOff, "Person"),
    (&["G15"], Resolution::HandedOff, "Person"),
    (&["G25"], Resolution::HandedOff, "Disabled"),
    (&["G26"], Resolution::HandedOff, "EnterpriseRollback"),
    (&["G6"], Resolution::Expired, "TooOld"),
    (&["target"], Resolution::Exhausted, "NoGoodFreight"),
    (&["G1"], Resolution::Exhausted, "RetriesSpent"),
    (&["G2"], Resolution::Exhausted, "RollbackSpent"),
    (&["G3"], Resolution::Exhausted, "DeliveriesSpent"),
    (&["unsupported-here"], Resolution::Exhausted, "Unsupported"),
    (&["G13", "G21", "G36"], Resolution::Exhausted, "NotAllowed"),
];

fn only_communications(decision: &Decision, input: &Input<'_>) -> Write {
    let is_page = decision.actions.iter().any(|action| action.operation.kind() == ActionKind::Escalate);
    if !input.incident.attempts.is_empty() {
        let text = format!("{} attempts did not help, and no other is wanted", input.incident.attempts.len());
        close(Resolution::Exhausted, "AttemptsFailed", text)
    } else if is_page {
        close(
            Resolution::HandedOff,
            "Escalated",
            "people were told, and nothing automatic is wanted".to_owned(),
        )
    } else {
        close(Resolution::Accepted, "NoDelivery", "nothing automatic is wanted".to_owned())
    }
}

/// Without Enforce an incident that closes closes as Observed; what it would have been stays in the reason.
fn closed_as_observed(write: Write, input: &Input<'_>) -> Write {
    match (write, input.rules.mode) {
        (Write::Close { resolution, reason, message }, Mode::Observe | Mode::Suggest) => {
            let would = if resolution == Resolution::Observed {
                reason
            } else {
                format!("{}{reason}", resolution.text())
            };
            Write::Close { resolution: Resolution::Observed, reason: would, message }
        }
        (write, _) => write,
    }
}

fn send(mut text: Message, input: &Input<'_>, writes: &mut Vec<Write>) {
    // What was sent is remembered by the title that people saw.
    text.title = input.for_people(&explain::line(&text.title));
    text.text = redact::shown(&text.text, MAX_TEXT_BYTES);
    let key = text.dedupe_key.clone().unwrap_or_else(|| text.title.clone());
    if !input.incident.sent.contains(&key) {
        writes.push(Write::Send { message: text });
    }
}

/// Longest text of a message, in bytes.
const MAX_TEXT_BYTES: usize = 4 * 1024;
/// Longest note of an Event, in bytes: what the API server accepts.
const MAX_NOTE_BYTES: usize = 1024;
/// Longest key or value of a recorded fact, in bytes.
const MAX_FACT_BYTES: usize = 1024;

fn message(severity: Severity, title: &str, text: &str) -> Message {
    let text = redact::shown(text, MAX_TEXT_BYTES);
    Message { channel: None, severity, title: explain::line(title), text, dedupe_key: None }
}

fn event(reason: &str, note: &str) -> Write {
    Write::Event { reason: reason.to_owned(), note: redact::shown(note, MAX_NOTE_BYTES) }
}

fn close(resolution: Resolution, reason: &str, message: String) -> Write {
    Write::Close { resolution, reason: reason.to_owned(), message }
}

fn is_by(verdict: &ActionVerdict, id: &str) -> bool {
    verdict.by.iter().any(|(by, one)| by == id && matches!(one, Verdict::Refuse { .. }))
}

fn is_only_list(verdict: &ActionVerdict) -> bool {
    !verdict.by.is_empty() && verdict.by.iter().all(|(id, _)| id == guardrails::list::ID)
}

/// Letters and digits of a guest's reason; Kubernetes wants one CamelCase word of at most 128 characters.
fn camel_case(text: &str) -> String {
    let word: String = text.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
    if word.is_empty() { "Policy".to_owned() } else { word }
}
