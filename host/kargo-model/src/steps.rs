//! One run over a Promotion's steps: which ran, how each ended, what the Promotion's status says then.
//! In go the steps, the script and what was recorded before; out comes the recorded state after. All steps that do
//! not wait run in one go, so that an abort can't come between them (capture `a/abort-during-step`).
//! Sources: `pkg/promotion/local_orchestrator.go`, `pkg/promotion/orchestrator.go:30-61`, captures `a/*`, `b/*`.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::expression::{Failure, Scope, Skip, fill, should_skip};
use crate::object::{at, flag, list, put, text};
use crate::promotion::Phase;
use crate::script::Outcome;
use crate::time::stamp_value;

/// What a run needs to know.
pub struct Run<'a> {
    /// The Promotion's steps.
    pub steps: &'a [Value],
    /// What `stepExecutionMetadata` said before.
    pub earlier: &'a [Value],
    /// What expressions may refer to.
    pub scope: Scope,
    /// The scripted outcome of a step, by alias.
    pub outcome: &'a dyn Fn(&str) -> Option<Outcome>,
    /// The moment.
    pub now: Timestamp,
}

/// What the steps left behind.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Running while a step waits, else terminal.
    pub phase: Phase,
    /// The message of the worst step.
    pub message: String,
    /// Index of the waiting step, or of the last one.
    pub current_step: usize,
    /// `stepExecutionMetadata`.
    pub metadata: Vec<Value>,
    /// `state`.
    pub state: Map<String, Value>,
}

/// How one step stands after it was tried.
struct Tried {
    status: &'static str,
    message: String,
    error_count: Option<u32>,
    output: Option<Value>,
    end: End,
}

#[derive(PartialEq)]
enum End {
    /// Done, `finishedAt` is set.
    Finished,
    /// Not done: the Promotion stays Running here.
    Open,
}

/// Runs the steps from the first one. What they do is scripted, so running a finished one again changes nothing:
/// times recorded before are kept.
pub fn run(mut run: Run<'_>) -> Progress {
    let mut progress = Progress {
        phase: Phase::Running,
        message: String::new(),
        current_step: run.steps.len().saturating_sub(1),
        metadata: Vec::new(),
        state: Map::new(),
    };
    for (index, step) in run.steps.iter().enumerate() {
        let alias = text(step, &["as"]).to_owned();
        match should_skip(text(step, &["if"]), &run.scope) {
            Ok(Skip::Yes) => progress.metadata.push(json!({ "alias": alias, "status": "Skipped" })),
            Err(problem) => {
                let message = format!("error checking if step {alias:?} should be skipped: {problem}");
                progress.metadata.push(json!({ "alias": alias, "status": "Errored", "message": message }));
            }
            Ok(Skip::No) => {
                let tried = attempt(&run, step, &alias);
                let open = tried.end == End::Open;
                record(&mut progress, &run, step, tried);
                if open {
                    progress.current_step = index;
                    return progress;
                }
            }
        }
        remember(&mut run.scope, &progress, step);
    }
    (progress.phase, progress.message) = final_phase(run.steps, &progress.metadata);
    progress
}

fn attempt(run: &Run<'_>, step: &Value, alias: &str) -> Tried {
    let kind = text(step, &["uses"]);
    let mut scope = run.scope.clone();
    for var in list(step, &["vars"]) {
        let value = fill(var.get("value").unwrap_or(&Value::Null), &scope);
        scope.vars.insert(text(var, &["name"]).to_owned(), value);
    }
    let config = fill(step.get("config").unwrap_or(&Value::Null), &scope);
    match (run.outcome)(alias) {
        Some(outcome) => scripted(outcome, step, alias),
        None if kind == "fail" => match text(&config, &["message"]) {
            "" => terminal(
                "Failed",
                format!(
                    "step {alias:?}: invalid fail config: (root): Invalid type. Expected: object, given: null"
                ),
            ),
            message => terminal("Failed", format!("step {alias:?}: failed: {message}")),
        },
        None if kind == "compose-output" => succeeded(config),
        None => succeeded(json!({})),
    }
}

fn scripted(outcome: Outcome, step: &Value, alias: &str) -> Tried {
    match outcome {
        Outcome::Succeed(output) => succeeded(Value::Object(output)),
        Outcome::Fail(message) => match text(step, &["uses"]) {
            "fail" => terminal("Failed", format!("step {alias:?}: failed: {message}")),
            _ => terminal("Failed", format!("step {alias:?}: {message}")),
        },
        Outcome::Error(message) => {
            let threshold =
                at(step, &["retry", "errorThreshold"]).and_then(Value::as_u64).unwrap_or_default();
            let threshold = u32::try_from(threshold).unwrap_or_default().max(1);
            let message = format!(
                "step {alias:?} met error threshold of {threshold}: error running step {alias:?}: {message}"
            );
            Tried { error_count: Some(threshold), ..terminal("Errored", message) }
        }
        Outcome::TimeOut(limit) => terminal("Errored", format!("step {alias:?} timed out after {limit}")),
        Outcome::Verbatim { status, message, error_count } => {
            let status = if status == "Failed" { "Failed" } else { "Errored" };
            Tried { error_count, ..terminal(status, message) }
        }
        Outcome::Wait => open("Running"),
        Outcome::Stall => open("Failed"),
    }
}

fn succeeded(output: Value) -> Tried {
    Tried {
        status: "Succeeded",
        message: String::new(),
        error_count: None,
        output: Some(output),
        end: End::Finished,
    }
}

fn terminal(status: &'static str, message: String) -> Tried {
    Tried { status, message, error_count: None, output: None, end: End::Finished }
}

fn open(status: &'static str) -> Tried {
    Tried { status, message: String::new(), error_count: None, output: None, end: End::Open }
}

fn record(progress: &mut Progress, run: &Run<'_>, step: &Value, tried: Tried) {
    let alias = text(step, &["as"]);
    let earlier = run.earlier.iter().find(|entry| text(entry, &["alias"]) == alias);
    let time = |field: &str| {
        earlier.and_then(|entry| entry.get(field).cloned()).unwrap_or_else(|| stamp_value(run.now))
    };
    let mut entry = json!({ "alias": alias, "status": tried.status, "startedAt": time("startedAt") });
    if tried.end == End::Finished {
        put(&mut entry, &["finishedAt"], time("finishedAt"));
    }
    if !tried.message.is_empty() {
        put(&mut entry, &["message"], Value::String(tried.message));
    }
    if let Some(count) = tried.error_count {
        put(&mut entry, &["errorCount"], json!(count));
    }
    if flag(step, &["continueOnError"]) {
        put(&mut entry, &["continueOnError"], Value::Bool(true));
    }
    progress.metadata.push(entry);
    if let Some(output) = tried.output {
        propagate(&mut progress.state, step, output);
    }
}

/// Stores a step's output under its alias; of a `compose-output` step inside a task also under the task's alias
/// (captures `a/task-steps`, `a/task-failure-hint`).
fn propagate(state: &mut Map<String, Value>, step: &Value, output: Value) {
    let alias = text(step, &["as"]);
    let task = alias.split_once("::").filter(|_| text(step, &["uses"]) == "compose-output");
    if let (Some((task, _)), Some(fields)) = (task, output.as_object()) {
        let merged = state.entry(task.to_owned()).or_insert_with(|| json!({}));
        if let Some(merged) = merged.as_object_mut() {
            merged.extend(fields.clone());
        }
    }
    state.insert(alias.to_owned(), output);
}

fn remember(scope: &mut Scope, progress: &Progress, step: &Value) {
    let Some(entry) = progress.metadata.last() else { return };
    let status = text(entry, &["status"]);
    scope.statuses.insert(text(entry, &["alias"]).to_owned(), status.to_owned());
    if matches!(status, "Failed" | "Errored") && !flag(step, &["continueOnError"]) {
        scope.failure = Failure::Earlier;
    }
}

/// The worst status of the steps without `continueOnError` and the message of the first step that has it.
fn final_phase(steps: &[Value], metadata: &[Value]) -> (Phase, String) {
    let mut worst = (0, "");
    for (step, entry) in steps.iter().zip(metadata) {
        let severity = severity(text(entry, &["status"]));
        if !flag(step, &["continueOnError"]) && severity > worst.0 {
            worst = (severity, text(entry, &["message"]));
        }
    }
    let phase = match worst.0 {
        0 | 1 => Phase::Succeeded,
        3 => Phase::Aborted,
        4 => Phase::Failed,
        _ => Phase::Errored,
    };
    (phase, worst.1.to_owned())
}

fn severity(status: &str) -> u8 {
    match status {
        "Succeeded" => 0,
        "Skipped" => 1,
        "Running" => 2,
        "Aborted" => 3,
        "Failed" => 4,
        _ => 5,
    }
}
