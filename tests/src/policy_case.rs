//! Reads a policy case and compares what a policy answers with what the case expects.
//!
//! In: a YAML file under `tests/cases/policies/NAME/` and a [`Subject`], which is the policy by whatever runs it.
//! Out: nothing, or the difference in lines. With `BLESS=1` the expectation is rewritten instead.
//! Nothing here knows how a policy is loaded.
//!
//! A case has `settings` (as in a FailurePolicy), `context` (what differs from `policy_case/base.yaml`; objects are
//! merged, everything else is replaced, `null` removes), `proposed` (a decision, for modifiers) and, last, `expect`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use policy_core::context::Context;
use policy_core::decision::{Action, Answer, Decision, Message, OnError, Operation};
use policy_core::settings::{self, Problem, Settings};
use policy_core::time::format_duration;
use serde::Deserialize;
use serde_json::Value;

const BASE: &str = include_str!("policy_case/base.yaml");

/// A policy, by whatever runs it.
pub struct Subject<'a> {
    /// The settings schema of its manifest.
    pub settings_schema: &'a str,
    /// Its `validate`.
    pub validate: &'a dyn Fn(&Settings) -> Result<(), Vec<Problem>>,
    /// Its `decide`; `Err` is a guest fault or the policy's own error, as text.
    pub decide: &'a dyn Fn(&Context, Option<&Decision>) -> Result<Answer, String>,
}

/// One case.
#[derive(Debug)]
pub struct PolicyCase {
    /// Name of the policy: the folder that the case lies in.
    pub policy: String,
    path: PathBuf,
    text: String,
    content: Content,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    #[serde(default)]
    settings: Value,
    #[serde(default)]
    context: Value,
    #[serde(default)]
    proposed: Option<Decision>,
    expect: String,
}

impl PolicyCase {
    /// Reads a case.
    ///
    /// # Errors
    /// When the file cannot be read or is no case; the text names it.
    pub fn read(path: &Path) -> Result<Self, String> {
        let blame = |problem: String| format!("{}: {problem}", path.display());
        let text = std::fs::read_to_string(path).map_err(|e| blame(e.to_string()))?;
        if !text.starts_with('#') {
            return Err(blame("the first line must be a comment that says why this case exists".to_owned()));
        }
        let content = serde_saphyr::from_str(&text).map_err(|e| blame(e.to_string()))?;
        let policy = path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { policy, path: path.to_owned(), text, content })
    }

    /// Asks `subject` and compares.
    ///
    /// # Errors
    /// When the answer differs; the text shows both and names the file.
    pub fn check(&self, subject: &Subject<'_>) -> Result<(), String> {
        let got = self.answer(subject)?;
        let expected = self.content.expect.trim_end();
        if got == expected {
            return Ok(());
        }
        if std::env::var_os("BLESS").is_some() {
            return self.bless(&got);
        }
        let diff = similar::TextDiff::from_lines(expected, got.as_str()).unified_diff().to_string();
        Err(format!("{} expects something else (BLESS=1 rewrites it)\n{diff}", self.path.display()))
    }

    /// What the policy says, in lines.
    fn answer(&self, subject: &Subject<'_>) -> Result<String, String> {
        let blame = |problem: String| format!("{}: {problem}", self.path.display());
        let settings = match settings::accept(&self.content.settings, subject.settings_schema) {
            Ok(settings) => settings,
            Err(problems) => return Ok(lines(&problems, |problem| format!("schema refuses `{}`", problem.path))),
        };
        if let Err(problems) = (subject.validate)(&settings) {
            return Ok(lines(&problems, |problem| format!("policy refuses `{}`: {}", problem.path, problem.message)));
        }
        let mut value: Value = serde_saphyr::from_str(BASE).map_err(|e| blame(e.to_string()))?;
        merge(&mut value, &self.content.context);
        value["settings"] = serde_json::to_value(&settings).map_err(|e| blame(e.to_string()))?;
        let context: Context = serde_json::from_value(value).map_err(|e| blame(e.to_string()))?;
        let ask = || (subject.decide)(&context, self.content.proposed.as_ref());
        let (first, second) = (ask().map_err(blame)?, ask().map_err(blame)?);
        if first != second {
            return Err(blame("two equal questions got different answers".to_owned()));
        }
        Ok(rendered(&first))
    }

    fn bless(&self, got: &str) -> Result<(), String> {
        let start = self.text.rfind("\nexpect:").ok_or("`expect` must be the last key of a case")?;
        let mut text = self.text[..start].to_owned();
        text.push_str("\nexpect: |\n");
        for line in got.lines() {
            let _ = writeln!(text, "{}", format!("  {line}").trim_end());
        }
        std::fs::write(&self.path, text).map_err(|e| format!("{}: {e}", self.path.display()))
    }
}

fn lines<T>(items: &[T], line: impl Fn(&T) -> String) -> String {
    items.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Merges objects key by key; `null` removes, anything else replaces.
fn merge(base: &mut Value, change: &Value) {
    match (base, change) {
        (Value::Object(base), Value::Object(change)) => {
            for (key, value) in change {
                if value.is_null() {
                    base.remove(key);
                } else {
                    merge(base.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (_, Value::Null) => {}
        (base, change) => base.clone_from(change),
    }
}

/// `pass`, or a line per action, the text of messages indented below.
fn rendered(answer: &Answer) -> String {
    match answer {
        Answer::Pass => "pass".to_owned(),
        Answer::Decide(decision) if decision.actions.is_empty() => format!("nothing: {}", decision.explanation),
        Answer::Decide(decision) => lines(&decision.actions, rendered_action),
    }
}

fn rendered_action(action: &Action) -> String {
    let details = match &action.operation {
        Operation::Retry { delay_seconds } => format!(" in {}", format_duration(*delay_seconds)),
        Operation::Rollback { target, origin } => {
            format!(" to {target:?}{}", origin.as_ref().map_or_else(String::new, |origin| format!(" of {origin}")))
        }
        Operation::Wait { seconds, cause } => format!(" {} for {cause}", format_duration(*seconds)),
        Operation::Record(facts) => format!(" {facts:?}"),
        Operation::Notify(Message { channel, severity, dedupe_key, .. }) => {
            let channel = channel.as_deref().unwrap_or("all channels");
            let key = dedupe_key.as_ref().map_or_else(String::new, |key| format!(" once for {key}"));
            format!(" {severity:?} to {channel}{key}")
        }
        Operation::Accept { text } => format!(" {text}"),
        Operation::Escalate { .. }
        | Operation::EmitEvent { .. }
        | Operation::HandOff { .. }
        | Operation::RequestApproval(_)
        | Operation::AbortPromotion { .. }
        | Operation::Hold { .. }
        | Operation::RunRecovery { .. }
        | Operation::Custom { .. } => String::new(),
    };
    let goes_on = match action.on_error {
        OnError::Stop => "",
        OnError::Continue => ", then go on",
    };
    let mut text = format!("{}{details}{goes_on}: {}", action.operation.kind().text(), action.reason);
    if let Operation::Notify(Message { title, text: body, .. }) | Operation::Escalate { title, text: body } =
        &action.operation
    {
        let _ = write!(text, "\n  {title}");
        body.lines().for_each(|line| text.push_str(&format!("\n  | {line}")));
    }
    text
}
