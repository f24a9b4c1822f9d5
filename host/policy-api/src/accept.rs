//! Whether a policy can be put in force, and if not, why: each problem with the field that has it.
//!
//! In: a body, the platform's caps, and what is known about the modules that it names. Out: every [`Problem`], in the
//! order of the fields. No problems means that it is acceptable.
//! Structure (names, ranges, exactly one of) is the API server's job; here is what no schema can say.

use std::sync::Arc;

use policy_core::deadlines::Deadlines;
use policy_core::decision::ActionKind;
use policy_core::failure::Trigger;
use policy_core::manifest::Manifest;
use policy_core::time::{format_duration, parse_duration};
use policy_core::{name::Digest, settings};
use serde_json::Value;

use crate::convert::case_of;
use crate::crd::cluster_failure_policy::Caps;
use crate::crd::condition::{Statement, reasons, types};
use crate::crd::policy_body::{ChainEntry, ModuleKind, PolicyBody};
use crate::crd::selector::Selector;
use crate::select;

/// Something that keeps a policy from being accepted.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// JSON Pointer into the spec.
    pub path: String,
    /// For programs, one of [`reasons`].
    pub reason: &'static str,
    /// What is wrong and what would be right, without a final dot.
    pub message: String,
}

/// Who wrote the body: a Project may not use modules of its own unless the platform says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    /// A FailurePolicy.
    Project,
    /// A ClusterFailurePolicy, which has no namespace to find a PolicyModule in.
    Platform,
}

/// What is known about the module of a chain entry.
#[derive(Clone, Debug)]
pub enum Module {
    /// It can be used.
    Ready {
        /// Digest of its bytes.
        digest: Digest,
        /// What it says about itself.
        manifest: Arc<Manifest>,
        /// Its settings schema.
        schema: Arc<settings::Schema>,
    },
    /// There is an object, and it cannot be used; the text says why.
    NotReady(String),
    /// There is no such object or built-in policy. The names of those that there are, for advice.
    Missing(Vec<String>),
}

impl Module {
    /// A module that can be used.
    pub fn ready(digest: Digest, manifest: Manifest) -> Self {
        let schema = Arc::new(settings::Schema::read(&manifest.settings_schema));
        Self::Ready { digest, manifest: Arc::new(manifest), schema }
    }
}

/// Every problem of `body`. `module` says what is known about an entry's module; it is asked once per entry.
pub fn problems(
    body: &PolicyBody,
    author: Author,
    caps: &Caps,
    module: impl Fn(&ChainEntry) -> Module,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    problems.extend(trigger_problems(body));
    for (index, entry) in body.chain.iter().enumerate() {
        let path = format!("/chain/{index}");
        match forbidden(entry, author, caps, &path) {
            Some(problem) => problems.push(problem),
            None => problems.extend(entry_problems(body, caps, entry, &module(entry), &path)),
        }
    }
    problems.extend(action_problems(body, caps));
    problems.extend(limit_problems(body));
    problems.extend(deadline_problems(body));
    problems.extend(channel_problems(body));
    problems
}

fn problem(path: impl Into<String>, reason: &'static str, message: impl Into<String>) -> Problem {
    Problem { path: path.into(), reason, message: message.into() }
}

fn trigger_problems(body: &PolicyBody) -> impl Iterator<Item = Problem> {
    body.triggers.iter().enumerate().filter_map(|(index, name)| {
        let why = match case_of::<Trigger>(name) {
            Some(trigger) => trigger.unsupported()?,
            None if OF_ENTERPRISE.contains(&name.as_str()) => {
                "happens in Kargo Enterprise only, which is not supported here"
            }
            None => "is no trigger that is known here",
        };
        Some(problem(format!("/triggers/{index}"), reasons::INVALID_SPEC, format!("`{name}` {why}")))
    })
}

/// Triggers that open-source Kargo never shows: Promotions discarded by a closed window, and failed PromotionRequests.
const OF_ENTERPRISE: [&str; 2] = ["promotion-discarded", "request-failed"];

fn forbidden(entry: &ChainEntry, author: Author, caps: &Caps, path: &str) -> Option<Problem> {
    let module = entry.module.as_ref().filter(|module| module.kind == ModuleKind::PolicyModule)?;
    let path = format!("{path}/module");
    match author {
        Author::Platform => {
            let message = "a ClusterFailurePolicy can name a ClusterPolicyModule or a built-in policy only";
            Some(problem(path, reasons::INVALID_SPEC, message))
        }
        Author::Project if select::may_bring_modules(caps) => None,
        Author::Project => {
            let message = format!(
                "PolicyModule `{}` may not be used: the platform does not let this Project bring modules",
                module.name
            );
            Some(problem(path, reasons::PROJECT_MODULES_FORBIDDEN, message))
        }
    }
}

fn entry_problems(
    body: &PolicyBody,
    caps: &Caps,
    entry: &ChainEntry,
    module: &Module,
    path: &str,
) -> Vec<Problem> {
    let field = if entry.builtin.is_some() { "builtin" } else { "module" };
    let source = PolicyBody::source_text(entry);
    match module {
        Module::Missing(known) => {
            let known = if known.is_empty() {
                "there are none".to_owned()
            } else {
                format!("there are {}", known.join(", "))
            };
            vec![problem(
                format!("{path}/{field}"),
                reasons::MODULE_NOT_FOUND,
                format!("`{source}` does not exist; {known}"),
            )]
        }
        Module::NotReady(why) => {
            let message = format!("`{source}` cannot be used: {why}");
            vec![problem(format!("{path}/{field}"), reasons::MODULE_NOT_READY, message)]
        }
        Module::Ready { manifest, schema, .. } => {
            let mut problems = undeclared(body, caps, manifest, &format!("{path}/{field}"));
            problems.extend(setting_problems(entry, schema, path));
            problems
        }
    }
}

/// A module whose manifest names an action that is not allowed is refused as a whole: it would fail at the worst time.
fn undeclared(body: &PolicyBody, caps: &Caps, manifest: &Manifest, path: &str) -> Vec<Problem> {
    let allowed = select::rules(body, caps).actions;
    let names: Vec<String> = manifest
        .actions
        .iter()
        .filter(|action| !allowed.contains(action))
        .map(|kind| format!("`{}`", kind.text()))
        .collect();
    if names.is_empty() {
        return Vec::new();
    }
    let message = format!(
        "policy `{}` may answer {}, which `allowedActions` within the platform's caps does not allow",
        manifest.name,
        names.join(", ")
    );
    vec![problem(path, reasons::ACTION_NOT_ALLOWED, message)]
}

fn setting_problems(entry: &ChainEntry, schema: &settings::Schema, path: &str) -> Vec<Problem> {
    let Err(found) = schema.accept(entry.settings.as_ref().unwrap_or(&Value::Null)) else {
        return Vec::new();
    };
    let place = |found: settings::Problem| {
        problem(format!("{path}/settings{}", found.path), reasons::INVALID_SETTINGS, found.message)
    };
    found.into_iter().map(place).collect()
}

fn action_problems(body: &PolicyBody, caps: &Caps) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, name) in body.allowed_actions.iter().flatten().enumerate() {
        let path = format!("/allowedActions/{index}");
        if ActionKind::parse(name).is_none() {
            problems.push(problem(
                path,
                reasons::INVALID_SPEC,
                format!("`{name}` is no action that is known here"),
            ));
        } else if caps.actions.as_ref().is_some_and(|allowed| !allowed.contains(name)) {
            problems.push(problem(
                path,
                reasons::ACTION_NOT_ALLOWED,
                format!("the platform does not allow `{name}`"),
            ));
        }
    }
    problems
}

fn limit_problems(body: &PolicyBody) -> Vec<Problem> {
    let Some(limits) = &body.limits else { return Vec::new() };
    let durations = [
        ("backoff", &limits.backoff),
        ("backoffCap", &limits.backoff_cap),
        ("cooldown", &limits.cooldown),
        ("maxFailureAge", &limits.max_failure_age),
    ];
    let unreadable = |(field, text): (&str, &Option<String>)| {
        let text = text.as_ref().filter(|text| parse_duration(text).is_none())?;
        let message = format!("`{text}` is no duration; write `90s`, `5m`, `2h30m` or `1d`");
        Some(problem(format!("/limits/{field}"), reasons::INVALID_SPEC, message))
    };
    durations.into_iter().filter_map(unreadable).collect()
}

/// What is wrong with a FailurePolicy's selector: a pattern that cannot be read, and so would match nothing for ever.
pub fn selector_problem(selector: Option<&Selector>) -> Option<Problem> {
    let name = selector?.name.as_deref()?;
    let why = policy_core::target::unreadable_pattern(name)?;
    let message = format!("`{name}` is no pattern: {why}");
    Some(problem("/stageSelector/name", reasons::INVALID_SPEC, message))
}

/// Every problem of a platform's caps.
pub fn cap_problems(caps: &Caps) -> Vec<Problem> {
    let unreadable = caps.max_failure_age.as_deref().filter(|text| parse_duration(text).is_none());
    let message = |text: &str| format!("`{text}` is no duration; write `90s`, `5m`, `2h30m` or `1d`");
    unreadable
        .map(|text| problem("/caps/maxFailureAge", reasons::INVALID_SPEC, message(text)))
        .into_iter()
        .collect()
}

fn deadline_problems(body: &PolicyBody) -> Vec<Problem> {
    let (least, most) = (Deadlines::MIN_SECONDS, Deadlines::MAX_SECONDS);
    let wrong = |(field, text): (String, String)| {
        let message = match parse_duration(&text) {
            None => format!("`{text}` is no duration; write `90s`, `5m`, `2h30m` or `1d`"),
            Some(seconds) if (least..=most).contains(&seconds) => return None,
            Some(_) => {
                let (least, most) = (format_duration(least), format_duration(most));
                format!("`{text}` is not from {least} to {most}")
            }
        };
        Some(problem(format!("/deadlines/{field}"), reasons::INVALID_SPEC, message))
    };
    body.deadlines.iter().flat_map(|given| given.given()).filter_map(wrong).collect()
}

fn channel_problems(body: &PolicyBody) -> Vec<Problem> {
    let Some(on_guest_fault) = &body.on_guest_fault else { return Vec::new() };
    let unknown = |(index, name): (usize, &String)| {
        let known = body.channels.iter().any(|channel| channel.name == *name);
        let message = format!("`{name}` is not one of `channels`");
        (!known).then(|| problem(format!("/onGuestFault/notify/{index}"), reasons::UNKNOWN_CHANNEL, message))
    };
    on_guest_fault.notify.iter().enumerate().filter_map(unknown).collect()
}

/// The condition Accepted for these problems. The message names at most three of them, each with its path.
pub fn statement(problems: &[Problem]) -> Statement {
    let Some(first) = problems.first() else {
        return Statement::yes(types::ACCEPTED, reasons::ACCEPTED, "in force");
    };
    let lines: Vec<String> =
        problems.iter().take(3).map(|problem| format!("{}: {}", problem.path, problem.message)).collect();
    let mut message = lines.join("; ");
    if problems.len() > 3 {
        message.push_str(&format!("; and {} more", problems.len() - 3));
    }
    Statement::no(types::ACCEPTED, first.reason, message)
}
