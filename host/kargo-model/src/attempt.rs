//! One try of one step: how it ends, when, and what its entry says. In go the step, its entry so far and the script; out
//! comes a [`Tried`]. It must not decide whether the step runs at all: that is `steps`'.
//! Sources: `pkg/promotion/local_orchestrator.go:246-345` (completion), `pkg/promotion/runner/builtin/*.go` (kinds).

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::expression::fill;
use crate::object::{at, list, text};
use crate::script::{After, Outcome, Pace, Rejection, Verbatim};
use crate::steps::{Run, Shows};
use crate::time::{format_duration, parse, parse_duration};

/// The kinds of steps that open-source Kargo v1.11.2 registers.
pub(crate) const KINDS: [&str; 34] = [
    "argocd-update",
    "argocd-wait",
    "compose-output",
    "copy",
    "delete",
    "fail",
    "file-write",
    "git-clear",
    "git-clone",
    "git-commit",
    "git-merge-pr",
    "git-open-pr",
    "git-push",
    "git-tag",
    "git-wait-for-pr",
    "github-push",
    "helm-template",
    "helm-update-chart",
    "http",
    "http-download",
    "json-parse",
    "json-update",
    "kustomize-build",
    "kustomize-set-image",
    "oci-download",
    "oci-push",
    "set-freight-alias",
    "set-metadata",
    "toml-parse",
    "toml-update",
    "untar",
    "yaml-merge",
    "yaml-parse",
    "yaml-update",
];

/// The first delay of the queue that retries errors, doubled each time (controller-runtime's default).
const FIRST_RETRY: SignedDuration = SignedDuration::from_millis(5);
/// Its longest delay.
const LONGEST_RETRY: SignedDuration = SignedDuration::from_secs(1000);

/// How one step stands after it was tried.
pub(crate) struct Tried {
    pub(crate) status: &'static str,
    pub(crate) message: String,
    pub(crate) error_count: u32,
    pub(crate) output: Option<Value>,
    pub(crate) end: End,
    pub(crate) started: Timestamp,
    /// When it stood so.
    pub(crate) at: Timestamp,
    /// When it goes on by itself.
    pub(crate) until: Option<(Timestamp, Shows)>,
    /// How long the reconcile hung in it.
    pub(crate) blocked: SignedDuration,
    /// The Promotion's message while an error is retried; else empty.
    pub(crate) retries: String,
    /// What a `set-metadata` step wants.
    pub(crate) updates: Vec<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Done, `finishedAt` is set.
    Finished,
    /// Done, without an end time.
    Undated,
    /// Not done: the Promotion stays Running here.
    Open,
}

struct Try<'a> {
    run: &'a Run<'a>,
    step: &'a Value,
    alias: &'a str,
    /// The errors so far.
    errors: u32,
    started: Timestamp,
    /// The moment in this run over the steps.
    clock: Timestamp,
    blocked: SignedDuration,
}

/// Tries `step`; `before` is its entry if it was under way, `clock` the moment at which its turn came.
pub(crate) fn attempt<'a>(
    run: &'a Run<'a>,
    step: &'a Value,
    before: Option<&Value>,
    clock: Timestamp,
) -> Tried {
    let errors = before.and_then(|entry| at(entry, &["errorCount"])).and_then(Value::as_u64);
    let one = Try {
        run,
        step,
        alias: text(step, &["as"]),
        errors: errors.and_then(|count| u32::try_from(count).ok()).unwrap_or_default(),
        started: before.and_then(|entry| parse(text(entry, &["startedAt"]))).unwrap_or(clock),
        clock,
        blocked: SignedDuration::ZERO,
    };
    let due = one.started.saturating_add(retries_after(one.errors)).unwrap_or(one.started);
    match before {
        // Not its turn to be retried: it stands as it stood.
        Some(before) if one.errors > 0 && run.now < due => {
            let message = text(before, &["message"]).to_owned();
            let retries = text(run.status, &["message"]).to_owned();
            Tried { message, retries, until: Some((due, Shows::Already)), ..one.stands("Errored", End::Open) }
        }
        _ => match (run.outcome)(one.alias) {
            Some(outcome) => one.scripted(outcome),
            None => one.by_kind(),
        },
    }
}

/// How long after its beginning a step is tried again that erred `errors` times.
pub(crate) fn retries_after(errors: u32) -> SignedDuration {
    let delay = |nth: u32| FIRST_RETRY.saturating_mul(1_i32 << nth.min(20)).min(LONGEST_RETRY);
    (0..errors.min(10_000)).fold(SignedDuration::ZERO, |sum, nth| sum.saturating_add(delay(nth)))
}

impl Try<'_> {
    fn stands(&self, status: &'static str, end: End) -> Tried {
        Tried {
            status,
            message: String::new(),
            error_count: self.errors,
            output: None,
            end,
            started: self.started,
            at: self.clock,
            until: None,
            blocked: self.blocked,
            retries: String::new(),
            updates: Vec::new(),
        }
    }

    fn ends(&self, status: &'static str, message: String) -> Tried {
        Tried { message, ..self.stands(status, End::Finished) }
    }

    fn succeeds(&self, output: Value) -> Tried {
        Tried { output: Some(output), ..self.stands("Succeeded", End::Finished) }
    }

    /// What a step does that the script does not mention.
    fn by_kind(&self) -> Tried {
        let mut scope = self.run.scope.clone();
        for var in list(self.step, &["vars"]) {
            let value = fill(var.get("value").unwrap_or(&Value::Null), &scope);
            scope.vars.insert(text(var, &["name"]).to_owned(), value);
        }
        let config = fill(self.step.get("config").unwrap_or(&Value::Null), &scope);
        let alias = self.alias;
        match (text(self.step, &["uses"]), text(&config, &["message"])) {
            ("fail", "") => self.ends(
                "Failed",
                format!(
                    "step {alias:?}: invalid fail config: (root): Invalid type. Expected: object, given: null"
                ),
            ),
            ("fail", message) => self.ends("Failed", format!("step {alias:?}: failed: {message}")),
            ("compose-output", _) => self.succeeds(config),
            ("set-metadata", _) => {
                let updates = list(&config, &["updates"]).to_vec();
                Tried { updates, ..self.stands("Succeeded", End::Finished) }
            }
            _ => self.succeeds(json!({})),
        }
    }

    fn scripted(mut self, outcome: Outcome) -> Tried {
        let alias = self.alias;
        match outcome {
            Outcome::Succeed(output) => self.succeeds(Value::Object(output)),
            Outcome::Fail(message) => match text(self.step, &["uses"]) {
                "fail" => self.ends("Failed", format!("step {alias:?}: failed: {message}")),
                _ => self.ends("Failed", format!("step {alias:?}: {message}")),
            },
            Outcome::Reject(Rejection { code, message }) => {
                // Rust quotes as Go's %q does, but for characters that can't be printed.
                let why = if message.is_empty() { String::new() } else { format!(": {message:?}") };
                self.ends(
                    "Failed",
                    format!("step {alias:?}: HTTP ({code}) response met failure criteria{why}"),
                )
            }
            Outcome::Error(message) => self.errs(&message),
            Outcome::ErrorFirst(first) if self.errors < first.times => self.errs(&first.message),
            Outcome::ErrorFirst(first) => self.scripted(*first.then),
            Outcome::Unrecoverable(message) => self.ends(
                "Errored",
                format!("an unrecoverable error occurred: error running step {alias:?}: {message}"),
            ),
            Outcome::Misconfigured(message) => Tried {
                message: format!("failed to build step context: {message}"),
                ..self.stands("Errored", End::Undated)
            },
            Outcome::BadCondition(message) => self.errs(&message),
            Outcome::Verbatim(Verbatim { status, message, error_count }) => {
                self.errors = error_count.unwrap_or_default();
                self.ends(if status == "Failed" { "Failed" } else { "Errored" }, message)
            }
            Outcome::Captured(folder) => self.errs(&format!("capture {folder:?} was not looked up")),
            Outcome::Wait => self.waits(None, Pace::Polling, None),
            Outcome::Stall => self.waits(None, Pace::Stalling, None),
            Outcome::After(after) => self.takes(*after),
        }
    }

    fn takes(mut self, after: After) -> Tried {
        let length = after.duration();
        if after.pace != Pace::Request {
            return self.waits(Some(length), after.pace, Some(after.then));
        }
        let end = self.clock.saturating_add(length).unwrap_or(self.clock);
        self.blocked += length;
        if end > self.run.now {
            return Tried { until: Some((end, Shows::NotYet)), ..self.stands("Running", End::Open) };
        }
        self.clock = end;
        self.scripted(after.then)
    }

    /// Waits for `length`, or for ever, and then ends as `then` says; the step's timeout ends it before.
    fn waits(mut self, length: Option<SignedDuration>, pace: Pace, then: Option<Outcome>) -> Tried {
        let after = |length: SignedDuration| self.started.saturating_add(length).ok();
        let (end, limit) = (length.and_then(after), self.timeout());
        let deadline = limit.and_then(after);
        if let Some(deadline) = deadline.filter(|deadline| end.is_none_or(|end| *deadline < end)) {
            if self.run.now >= deadline {
                self.clock = deadline;
                let limit = limit.map(format_duration).unwrap_or_default();
                return self.ends("Errored", format!("step {:?} timed out after {limit}", self.alias));
            }
        } else if let (Some(end), Some(then)) = (end.filter(|end| self.run.now >= *end), then) {
            self.clock = end;
            return self.scripted(then);
        }
        let status = if pace == Pace::Stalling { "Failed" } else { "Running" };
        let next = [end, deadline].into_iter().flatten().min();
        Tried { until: next.map(|next| (next, Shows::Already)), ..self.stands(status, End::Open) }
    }

    /// Unlimited unless set, but for the two steps that wait for Argo CD (`argocd_updater.go:45`, `argocd_waiter.go:45`).
    /// An explicit zero is unlimited too.
    fn timeout(&self) -> Option<SignedDuration> {
        let limit = match text(self.step, &["retry", "timeout"]) {
            "" => match text(self.step, &["uses"]) {
                "argocd-update" | "argocd-wait" => Some(SignedDuration::from_mins(5)),
                _ => None,
            },
            limit => parse_duration(limit),
        };
        limit.filter(|limit| limit.is_positive())
    }

    fn errs(mut self, message: &str) -> Tried {
        let threshold = at(self.step, &["retry", "errorThreshold"]).and_then(Value::as_u64);
        let threshold =
            threshold.and_then(|threshold| u32::try_from(threshold).ok()).unwrap_or_default().max(1);
        let problem = format!("error running step {:?}: {message}", self.alias);
        self.errors = self.errors.saturating_add(1);
        if self.errors >= threshold {
            let message = format!("step {:?} met error threshold of {threshold}: {problem}", self.alias);
            return self.ends("Errored", message);
        }
        let due = self.started.saturating_add(retries_after(self.errors)).ok();
        Tried {
            message: format!("{problem}; step will be retried"),
            retries: problem,
            until: due.map(|due| (due, Shows::Already)),
            ..self.stands("Errored", End::Open)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_wait_longer_each_time() {
        let after = |errors| retries_after(errors).as_millis();
        assert_eq!([after(0), after(1), after(2), after(3), after(10)], [0, 5, 15, 35, 5_115]);
        assert_eq!(retries_after(30) - retries_after(29), LONGEST_RETRY);
    }
}
