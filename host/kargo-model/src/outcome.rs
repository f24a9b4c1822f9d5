//! How one step of a Promotion ends, as a script says it. In go words of a script or a captured Promotion, out comes an
//! [`Outcome`]. It must not read files: whoever has the captures looks them up for it.
//! Sources of the messages: `pkg/promotion/local_orchestrator.go`, `pkg/promotion/local_executor.go:85-96`.

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::object::{at, flag, list, map, text};

/// How one step ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// It succeeds with this output.
    Succeed(Map<String, Value>),
    /// It is Failed: `step "a": <text>`, or `step "a": failed: <text>` when it is a `fail` step (captures `a/fail-step`,
    /// `a/invalid-step-config`). Not retried.
    Fail(String),
    /// An `http` step whose `failureExpression` is met: Failed with `HTTP (<code>) response met failure criteria`, and
    /// with what its `errorExpression` gave, quoted as Go does (captures `a/http-failure-expression`, `a/hint-quoting`).
    Reject(Rejection),
    /// It errs until its threshold: `step "a" met error threshold of N: error running step "a": <text>` (captures
    /// `a/http-connection-refused`, `a/retry-threshold-3`). Before that the step shows Errored in a Running Promotion.
    Error(String),
    /// It errs that many times, and then it ends otherwise; unless its threshold is met before.
    ErrorFirst(ErrorFirst),
    /// It errs with what no retry can change: `an unrecoverable error occurred: error running step "a": <text>`.
    Unrecoverable(String),
    /// Its config or variables can't be evaluated: `failed to build step context: <text>`, without an end time (capture
    /// `a/config-expression-error`).
    Misconfigured(String),
    /// Its `if` can't be evaluated: `error checking if step "a" should be skipped: <text>`, without times (capture
    /// `a/if-expression-error`).
    BadCondition(String),
    /// Exactly what a capture shows.
    Verbatim(Verbatim),
    /// What the Promotion in this folder of captured step failures shows, such as `git-push/server-503`. The caller
    /// replaces it by [`Outcome::of_capture`] through [`crate::Script::resolve`]; left in place it is an error of the step.
    Captured(String),
    /// It keeps running until the script changes (captures `a/queued`, `a/abort-running`), or its `retry.timeout` ends it.
    Wait,
    /// It failed without a message and Kargo tries again every five minutes: Running for ever (capture `b/http-stall`).
    Stall,
    /// It takes its time first.
    After(Box<After>),
}

/// See [`Outcome::Reject`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rejection {
    /// HTTP status code.
    pub code: u16,
    /// What `errorExpression` gives; empty without one, or when it gives no text (capture `a/http-failure-html`).
    #[serde(default)]
    pub message: String,
}

/// See [`Outcome::ErrorFirst`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ErrorFirst {
    /// How many times it errs.
    pub times: u32,
    /// The error's text.
    pub message: String,
    /// How it ends after that.
    pub then: Box<Outcome>,
}

/// See [`Outcome::Verbatim`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Verbatim {
    /// `Failed` or `Errored`.
    pub status: String,
    /// The step's whole message.
    pub message: String,
    /// `errorCount`, for errors that met the threshold.
    #[serde(default)]
    pub error_count: Option<u32>,
}

/// See [`Outcome::After`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct After {
    /// How long, as Go writes durations: `90s`, `1h30m`. Text that is none counts as no time at all.
    pub takes: String,
    /// What shows meanwhile.
    #[serde(default)]
    pub pace: Pace,
    /// How it ends after that.
    pub then: Outcome,
}

impl After {
    /// How long it takes.
    pub fn duration(&self) -> SignedDuration {
        crate::time::parse_duration(&self.takes).unwrap_or(SignedDuration::ZERO)
    }
}

/// What shows of a step that takes its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Pace {
    /// It polls: the step is Running, and the Promotion can be aborted. Kargo polls every ten seconds to five minutes
    /// (`promotions.go:839-890`), which has to be part of the duration.
    #[default]
    Polling,
    /// One long request: Kargo's reconcile hangs in it, so that nothing shows and an abort is not seen before it and all
    /// quick steps after it are done (capture `a/abort-during-step`).
    Request,
    /// It fails without a message and is tried again: the step is Failed, the Promotion Running (capture `b/http-stall`).
    Stalling,
}

impl Outcome {
    /// What a captured Promotion shows: the end of its first failed step without `continueOnError`, with `alias` in place
    /// of the captured step's own; success with the last step's output when none failed. One that still runs gives a step
    /// that waits or stalls. `None` when it shows no step.
    pub fn of_capture(promotion: &Value, alias: &str) -> Option<Self> {
        let entries = list(promotion, &["status", "stepExecutionMetadata"]);
        if at(promotion, &["status", "finishedAt"]).is_none() {
            let stalls = text(entries.last()?, &["status"]) == "Failed";
            return Some(if stalls { Self::Stall } else { Self::Wait });
        }
        let failed = entries.iter().find(|entry| {
            matches!(text(entry, &["status"]), "Failed" | "Errored") && !flag(entry, &["continueOnError"])
        });
        let Some(failed) = failed else {
            let last = entries.last().map(|entry| text(entry, &["alias"])).unwrap_or_default();
            return Some(Self::Succeed(
                map(promotion, &["status", "state", last]).cloned().unwrap_or_default(),
            ));
        };
        let own = format!("step {:?}", text(failed, &["alias"]));
        let count = at(failed, &["errorCount"]).and_then(Value::as_u64);
        Some(Self::Verbatim(Verbatim {
            status: text(failed, &["status"]).to_owned(),
            message: text(failed, &["message"]).replace(&own, &format!("step {alias:?}")),
            error_count: count.and_then(|count| u32::try_from(count).ok()),
        }))
    }

    /// Replaces every [`Outcome::Captured`] in it by what `find` knows of that folder for a step called `alias`.
    ///
    /// # Errors
    /// The first folder that `find` does not know.
    pub fn resolve(
        &mut self,
        alias: &str,
        find: &mut dyn FnMut(&str, &str) -> Option<Self>,
    ) -> Result<(), UnknownCapture> {
        match self {
            Self::Captured(folder) => {
                *self = find(folder, alias).ok_or_else(|| UnknownCapture(folder.clone()))?;
                Ok(())
            }
            Self::ErrorFirst(first) => first.then.resolve(alias, find),
            Self::After(after) => after.then.resolve(alias, find),
            _ => Ok(()),
        }
    }
}

/// A folder of captures that a script names and nobody has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no capture `{0}`")]
pub struct UnknownCapture(pub String);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_capture_gives_the_end_of_its_first_failed_step_under_another_name() {
        let entries = json!([
            {"alias": "optional", "status": "Errored", "message": "no", "continueOnError": true},
            {"alias": "push", "status": "Errored", "errorCount": 1,
             "message": "step \"push\" met error threshold of 1: error running step \"push\": refused"},
            {"alias": "after", "status": "Skipped"},
        ]);
        let capture =
            json!({"status": {"finishedAt": "2026-11-23T07:46:54Z", "stepExecutionMetadata": entries}});
        let mut outcome = Outcome::Captured("git-push/refused".to_owned());
        let mut find = |folder: &str, alias: &str| match folder {
            "git-push/refused" => Outcome::of_capture(&capture, alias),
            _ => None,
        };
        outcome.resolve("deploy", &mut find).unwrap();
        let Outcome::Verbatim(verbatim) = outcome else { panic!("{outcome:?}") };
        assert_eq!(
            (verbatim.status.as_str(), verbatim.message.as_str(), verbatim.error_count),
            (
                "Errored",
                "step \"deploy\" met error threshold of 1: error running step \"deploy\": refused",
                Some(1)
            )
        );
        let unknown = Outcome::Captured("git-push/nope".to_owned()).resolve("deploy", &mut find);
        assert_eq!(unknown, Err(UnknownCapture("git-push/nope".to_owned())));
        assert_eq!(Outcome::of_capture(&json!({"status": {"phase": "Running"}}), "deploy"), None);
    }
}
