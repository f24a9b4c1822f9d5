//! Results of track 0.1 to core values, checked against the contract's rules.
//!
//! In: what a guest answered: untrusted. Out: core values with clean and capped texts, or what is [`Broken`].
//! Cases that this host does not know become the most careful one that it does.

use policy_core::decision as ours;
use policy_core::decision::{ActionKind, Answer, Decision, Operation};
use policy_core::failure;
use policy_core::guest_fault::GuestFaultKind;
use policy_core::manifest::{Manifest, Role};
use policy_core::settings::Problem;

use super::bindings::exports::refloat::failure_policy::policy as wit;
use super::cases::{known_class, known_trigger};
use crate::guest_fault::Broken;
use crate::sandbox::clean;

/// Actions in one decision.
const ACTIONS: usize = 16;
/// A chain entry's state.
const STATE_BYTES: usize = 4 << 10;
/// A name, a title, a reason: one line.
const LINE_BYTES: usize = 1 << 10;
/// A text for people.
const TEXT_BYTES: usize = 4 << 10;
/// A settings schema, and the JSON of a custom action.
const DOCUMENT_BYTES: usize = 64 << 10;
/// Problems, options, parameters, facts: entries of any other list.
const ENTRIES: usize = 64;

type Lifted<T> = Result<T, Broken>;

fn too_large(what: &str, amount: usize, limit: usize) -> Broken {
    Broken::new(GuestFaultKind::TooLarge, format!("the guest answered {amount} {what}, {limit} is the most"))
}

fn bounded<T>(list: Vec<T>, limit: usize, what: &str) -> Lifted<Vec<T>> {
    if list.len() > limit {
        return Err(too_large(what, list.len(), limit));
    }
    Ok(list)
}

/// One line for people.
fn line(text: &str) -> String {
    clean(text, LINE_BYTES)
}

fn maybe_line(text: Option<String>) -> Option<String> {
    text.map(|text| line(&text))
}

/// Text for people: line breaks stay, what else controls a terminal does not.
fn text(text: &str) -> String {
    let mut kept = String::new();
    for (index, part) in text.lines().enumerate() {
        if index > 0 {
            kept.push('\n');
        }
        kept.push_str(&clean(part, TEXT_BYTES.saturating_sub(kept.len())));
        if kept.len() >= TEXT_BYTES {
            break;
        }
    }
    kept
}

/// A document is taken whole or not at all: half of it would mean something else.
fn document(text: String, limit: usize, what: &str) -> Lifted<String> {
    if text.len() > limit {
        return Err(too_large(what, text.len(), limit));
    }
    Ok(text)
}

fn pairs(list: Vec<(String, String)>, what: &str) -> Lifted<Vec<(String, String)>> {
    let list = bounded(list, ENTRIES, what)?;
    Ok(list.into_iter().map(|(key, value)| (line(&key), line(&value))).collect())
}

pub(super) fn manifest(manifest: wit::Manifest) -> Lifted<Manifest> {
    let wit::Manifest { name, version, description, role, settings_schema, triggers, actions } = manifest;
    if !is_name(&name) {
        let name = clean(&name, 80);
        return Err(Broken::contract(format!(
            "`{name}` is no name: lower-case words joined by `-`, at most 63"
        )));
    }
    let role = match role {
        wit::Role::Decider => Role::Decider,
        wit::Role::Modifier => Role::Modifier,
        wit::Role::Other(role) => {
            return Err(Broken::contract(format!("the role `{}` is newer than this host", clean(&role, 80))));
        }
    };
    let settings_schema = document(settings_schema, DOCUMENT_BYTES, "bytes of settings schema")?;
    let is_object =
        serde_json::from_str::<serde_json::Value>(&settings_schema).is_ok_and(|it| it.is_object());
    if !is_object {
        return Err(Broken::contract("`settings-schema` is not a JSON object"));
    }
    Ok(Manifest {
        name,
        version: line(&version),
        description: line(&description),
        role,
        settings_schema,
        triggers: bounded(triggers, ENTRIES, "triggers")?.iter().filter_map(known_trigger).collect(),
        actions: bounded(actions, ENTRIES, "action kinds")?.into_iter().map(action_kind).collect(),
    })
}

fn is_name(name: &str) -> bool {
    let word = |part: &str| {
        !part.is_empty()
            && part.chars().all(|character| character.is_ascii_lowercase() || character.is_ascii_digit())
    };
    name.len() <= 63 && name.split('-').all(word)
}

fn action_kind(kind: wit::ActionKindResult) -> ActionKind {
    use wit::ActionKindResult as Wit;
    match kind {
        Wit::Retry => ActionKind::Retry,
        Wit::Rollback => ActionKind::Rollback,
        Wit::Wait => ActionKind::Wait,
        Wit::Notify => ActionKind::Notify,
        Wit::EmitEvent => ActionKind::EmitEvent,
        Wit::Accept => ActionKind::Accept,
        Wit::Escalate => ActionKind::Escalate,
        Wit::HandOff => ActionKind::HandOff,
        Wit::Record => ActionKind::Record,
        Wit::RequestApproval => ActionKind::RequestApproval,
        Wit::AbortPromotion => ActionKind::AbortPromotion,
        Wit::Hold => ActionKind::Hold,
        Wit::RunRecovery => ActionKind::RunRecovery,
        Wit::Custom(kind) => ActionKind::Custom(line(&kind)),
    }
}

pub(super) fn problems(checked: Result<(), Vec<wit::Problem>>) -> Lifted<Vec<Problem>> {
    match checked {
        Ok(()) => Ok(Vec::new()),
        Err(problems) => Ok(bounded(problems, ENTRIES, "problems")?.into_iter().map(problem).collect()),
    }
}

fn problem(problem: wit::Problem) -> Problem {
    Problem { path: line(&problem.path), message: line(&problem.message) }
}

pub(super) fn answer(
    answer: Result<wit::Answer, wit::PolicyError>,
    declared: &[ActionKind],
) -> Lifted<Answer> {
    match answer {
        Ok(wit::Answer::Pass) => Ok(Answer::Pass),
        Ok(wit::Answer::Decide(answer)) => Ok(Answer::Decide(decision(answer, declared)?)),
        Err(error) => Err(Broken::new(GuestFaultKind::PolicyError, policy_error(error))),
    }
}

fn policy_error(error: wit::PolicyError) -> String {
    match error {
        wit::PolicyError::InvalidSettings(problems) => {
            let problems: Vec<String> = problems
                .iter()
                .take(5)
                .map(|it| format!("`{}`: {}", line(&it.path), line(&it.message)))
                .collect();
            format!("the settings make no sense together: {}", problems.join("; "))
        }
        wit::PolicyError::Unsupported(text) => {
            format!("the policy does not know this failure: {}", line(&text))
        }
        wit::PolicyError::Internal(text) | wit::PolicyError::Other(text) => line(&text),
    }
}

fn decision(decision: wit::DecisionResult, declared: &[ActionKind]) -> Lifted<Decision> {
    let wit::DecisionResult { actions, explanation, state, class } = decision;
    let actions: Vec<ours::Action> =
        bounded(actions, ACTIONS, "actions")?.into_iter().map(action).collect::<Lifted<_>>()?;
    for (index, action) in actions.iter().enumerate() {
        let kind = action.operation.kind();
        if !declared.contains(&kind) {
            let kind = kind.text();
            return Err(Broken::contract(format!(
                "the guest answered `{kind}`, which its manifest does not declare"
            )));
        }
        if action.id.is_empty() || actions.iter().take(index).any(|earlier| earlier.id == action.id) {
            return Err(Broken::contract(format!("action id `{}` is empty or not unique", action.id)));
        }
        if action.reason.is_empty() {
            return Err(Broken::contract(format!("action `{}` has no reason", action.id)));
        }
    }
    Ok(Decision {
        explanation: text(&explanation),
        state: state.map(|state| document(state, STATE_BYTES, "bytes of state")).transpose()?,
        class: class.map(|class| known_class(&class).unwrap_or(failure::Class::Unknown)),
        actions,
    })
}

fn action(action: wit::ActionResult) -> Lifted<ours::Action> {
    Ok(ours::Action {
        id: clean(&action.id, 64),
        reason: line(&action.reason),
        on_error: match action.on_error {
            wit::OnErrorResult::Continue => ours::OnError::Continue,
            wit::OnErrorResult::Stop | wit::OnErrorResult::Other(_) => ours::OnError::Stop,
        },
        operation: operation(action.operation)?,
    })
}

fn operation(operation: wit::OperationResult) -> Lifted<Operation> {
    use wit::OperationResult as Wit;
    Ok(match operation {
        Wit::Retry(it) => Operation::Retry { delay_seconds: it.delay_seconds },
        Wit::Rollback(it) => {
            Operation::Rollback { target: selector(it.target), origin: maybe_line(it.origin) }
        }
        Wit::Wait(it) => Operation::Wait { seconds: it.seconds, cause: line(&it.cause) },
        Wit::Notify(it) => Operation::Notify(message(it)),
        Wit::EmitEvent(it) => Operation::EmitEvent { reason: line(&it.reason), note: line(&it.note) },
        Wit::Accept(it) => Operation::Accept { text: text(&it.text) },
        Wit::Escalate(it) => Operation::Escalate { title: line(&it.title), text: text(&it.text) },
        Wit::HandOff(it) => Operation::HandOff { to: line(&it.to), note: text(&it.note) },
        Wit::Record(facts) => Operation::Record(pairs(facts, "facts")?),
        Wit::RequestApproval(it) => Operation::RequestApproval(ours::ApprovalRequest {
            question: text(&it.question),
            options: bounded(it.options, ENTRIES, "options")?
                .into_iter()
                .map(|option| (line(&option.id), line(&option.label)))
                .collect(),
            timeout_seconds: it.timeout_seconds,
            on_timeout: line(&it.on_timeout),
        }),
        Wit::AbortPromotion(it) => Operation::AbortPromotion { name: maybe_line(it.name) },
        Wit::Hold(it) => {
            Operation::Hold { origin: maybe_line(it.origin), until_unix_seconds: it.until_unix_seconds }
        }
        Wit::RunRecovery(it) => {
            Operation::RunRecovery { name: line(&it.name), parameters: pairs(it.parameters, "parameters")? }
        }
        Wit::Custom(it) => Operation::Custom {
            kind: line(&it.kind),
            json: document(it.json, DOCUMENT_BYTES, "bytes of parameters")?,
        },
    })
}

fn selector(selector: wit::RollbackSelectorResult) -> ours::RollbackSelector {
    match selector {
        wit::RollbackSelectorResult::LastVerified => ours::RollbackSelector::LastVerified,
        wit::RollbackSelectorResult::Previous => ours::RollbackSelector::Previous,
        wit::RollbackSelectorResult::Exact(name) => ours::RollbackSelector::Exact(line(&name)),
        wit::RollbackSelectorResult::Other(name) => ours::RollbackSelector::Other(line(&name)),
    }
}

fn message(message: wit::NotifyResult) -> ours::Message {
    ours::Message {
        channel: maybe_line(message.channel),
        severity: match message.severity {
            wit::SeverityResult::Info => ours::Severity::Info,
            wit::SeverityResult::Warning | wit::SeverityResult::Other(_) => ours::Severity::Warning,
            wit::SeverityResult::Critical => ours::Severity::Critical,
        },
        title: line(&message.title),
        text: text(&message.text),
        dedupe_key: maybe_line(message.dedupe_key),
    }
}
