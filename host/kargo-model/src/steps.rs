//! One run over a Promotion's steps: which ran, how each ended, what the Promotion's status says then.
//! In go the steps, the script and what was recorded before; out comes the recorded state after. All steps that do
//! not wait run in one go, so that an abort can't come between them (capture `a/abort-during-step`).
//! Sources: `pkg/promotion/local_orchestrator.go`, `pkg/promotion/orchestrator.go:30-61`, captures `a/*`, `b/*`, `m/*`.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use crate::attempt::{End, Tried, attempt};
use crate::expression::{Failure, Scope, Skip, should_skip};
use crate::object::{at, flag, list, map, put, text};
use crate::promotion::Phase;
use crate::script::Outcome;
use crate::time::stamp_value;

/// What a run needs to know.
pub(crate) struct Run<'a> {
    /// The Promotion's steps.
    pub(crate) steps: &'a [Value],
    /// The Promotion's status before.
    pub(crate) status: &'a Value,
    /// Whether the work directory is there; without it everything but `state` starts again (capture `m/restart-wiped`).
    pub(crate) work_dir: WorkDir,
    /// What expressions may refer to.
    pub(crate) scope: Scope,
    /// The scripted outcome of a step, by alias.
    pub(crate) outcome: &'a dyn Fn(&str) -> Option<Outcome>,
    /// The moment.
    pub(crate) now: Timestamp,
}

/// What is left of a Promotion's work directory on the controller's disk (`promotions.go:608-618`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WorkDir {
    /// All of it.
    #[default]
    Kept,
    /// Nothing, as after the loss of the controller's disk; the steps begin again at that moment.
    Lost(Timestamp),
}

/// What the steps left behind.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Progress {
    /// Running while a step waits, else terminal.
    pub(crate) phase: Phase,
    /// The message of the worst step, or of an error that will be retried.
    pub(crate) message: String,
    /// Index of the waiting step, or of the last one.
    pub(crate) current_step: usize,
    /// `stepExecutionMetadata`.
    pub(crate) metadata: Vec<Value>,
    /// `state`.
    pub(crate) state: Map<String, Value>,
    /// When a step goes on by itself, and what shows until then.
    pub(crate) until: Option<(Timestamp, Shows)>,
    /// How long Kargo's reconcile hung in requests.
    pub(crate) blocked: SignedDuration,
    /// What `set-metadata` steps of this run want: kind, name, values, and the moment.
    pub(crate) updates: Vec<Update>,
}

/// Whether this run is already to be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shows {
    /// It is: the status can be written.
    Already,
    /// Kargo still hangs in a request and has written nothing.
    NotYet,
}

/// One update of a `set-metadata` step.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Update {
    /// `{kind, name, values}`.
    pub(crate) what: Value,
    /// When.
    pub(crate) at: Timestamp,
}

/// Runs the steps from where they stood.
pub(crate) fn run(mut run: Run<'_>) -> Progress {
    let (start, mut clock) = resume(&mut run);
    let mut progress = Progress {
        phase: Phase::Running,
        message: String::new(),
        current_step: run.steps.len().saturating_sub(1),
        metadata: kept(&run, start).to_vec(),
        state: map(run.status, &["state"]).cloned().unwrap_or_default(),
        until: None,
        blocked: SignedDuration::ZERO,
        updates: Vec::new(),
    };
    for (step, entry) in run.steps.iter().zip(kept(&run, start)) {
        remember(&mut run.scope, entry, step);
    }
    for (index, step) in run.steps.iter().enumerate().skip(start) {
        let open = match stands_back(&run, step, index == start) {
            Some(entry) => {
                progress.metadata.push(entry);
                false
            }
            None => take(&run, &mut progress, step, &mut clock),
        };
        if open {
            progress.current_step = index;
            return progress;
        }
        if let Some(entry) = progress.metadata.last() {
            remember(&mut run.scope, entry, step);
        }
    }
    (progress.phase, progress.message) = final_phase(run.steps, &progress.metadata);
    progress
}

/// The step to begin with and the moment at which this run over the steps began.
fn resume(run: &mut Run<'_>) -> (usize, Timestamp) {
    let started = crate::time::parse(text(run.status, &["startedAt"])).unwrap_or(run.now);
    let current = at(run.status, &["currentStep"]).and_then(Value::as_u64).unwrap_or_default();
    match run.work_dir {
        WorkDir::Lost(since) => (0, since),
        WorkDir::Kept if list(run.status, &["stepExecutionMetadata"]).is_empty() => (0, started),
        WorkDir::Kept => (usize::try_from(current).unwrap_or_default(), run.now),
    }
}

fn kept<'a>(run: &Run<'a>, start: usize) -> &'a [Value] {
    let entries = list(run.status, &["stepExecutionMetadata"]);
    entries.get(..start).unwrap_or(entries)
}

/// The entry of the step that was under way, if this is it.
fn under_way<'a>(run: &Run<'a>, alias: &str) -> Option<&'a Value> {
    let entries = list(run.status, &["stepExecutionMetadata"]);
    let found = entries.iter().find(|entry| text(entry, &["alias"]) == alias);
    found.filter(|_| run.work_dir == WorkDir::Kept)
}

/// The entry of a step that does not even begin: skipped, an `if` that can't be evaluated, a kind that does not exist.
/// The `if` of a step that has begun is not asked again (`local_orchestrator.go:112-118`).
fn stands_back(run: &Run<'_>, step: &Value, may_be_under_way: bool) -> Option<Value> {
    let alias = text(step, &["as"]);
    if may_be_under_way && under_way(run, alias).is_some_and(|entry| entry.get("startedAt").is_some()) {
        return None;
    }
    let scripted = (run.outcome)(alias);
    let condition = match &scripted {
        Some(Outcome::BadCondition(problem)) => Err(problem.clone()),
        _ => should_skip(text(step, &["if"]), &run.scope),
    };
    let (status, message) = match condition {
        Ok(Skip::Yes) => ("Skipped", None),
        Err(problem) => {
            ("Errored", Some(format!("error checking if step {alias:?} should be skipped: {problem}")))
        }
        Ok(Skip::No) => {
            let kind = text(step, &["uses"]);
            if scripted.is_some() || crate::attempt::KINDS.contains(&kind) {
                return None;
            }
            let message = format!(
                "step kind {kind:?} is not registered; verify the kind is correct; if you are a Kargo Enterprise user, you \
                 may need to enable the promotion controller"
            );
            ("Errored", Some(message))
        }
    };
    let mut entry = json!({ "alias": alias, "status": status });
    if let Some(message) = message {
        put(&mut entry, &["message"], json!(message));
    }
    Some(marked(entry, step))
}

fn marked(mut entry: Value, step: &Value) -> Value {
    if flag(step, &["continueOnError"]) {
        put(&mut entry, &["continueOnError"], Value::Bool(true));
    }
    entry
}

/// Lets one step run, and says whether it is not over.
fn take(run: &Run<'_>, progress: &mut Progress, step: &Value, clock: &mut Timestamp) -> bool {
    let before = under_way(run, text(step, &["as"]));
    let tried = attempt(run, step, before, *clock);
    progress.blocked += tried.blocked;
    *clock = tried.at;
    let open = tried.end == End::Open;
    if open {
        progress.until = tried.until;
        progress.message = tried.retries.clone();
    }
    record(progress, step, tried);
    open
}

fn record(progress: &mut Progress, step: &Value, tried: Tried) {
    let alias = text(step, &["as"]);
    let mut entry =
        json!({ "alias": alias, "status": tried.status, "startedAt": stamp_value(tried.started) });
    if tried.end == End::Finished {
        put(&mut entry, &["finishedAt"], stamp_value(tried.at));
    }
    if !tried.message.is_empty() {
        put(&mut entry, &["message"], Value::String(tried.message));
    }
    if tried.error_count > 0 {
        put(&mut entry, &["errorCount"], json!(tried.error_count));
    }
    progress.metadata.push(marked(entry, step));
    progress.updates.extend(tried.updates.into_iter().map(|what| Update { what, at: tried.at }));
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

fn remember(scope: &mut Scope, entry: &Value, step: &Value) {
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
