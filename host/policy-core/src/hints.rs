//! What steps say about their own failure, through channels that work with unmodified Kargo.
//!
//! In: a Promotion. Out: checked and clamped [`StepHint`]s, most trusted first, and for every bad one a
//! [`RefusedHint`] that says why. A hint is data from an untrusted source: it may only narrow what is allowed, and
//! nothing here lets it do more. Two channels: the output of a `failure-hint` step, and an envelope in the text of
//! the step that failed.

mod envelope;
mod fields;

use serde_json::Value;

use crate::detect::first_failed_step;
use crate::failure::StepHint;
use crate::redact;
use crate::snapshot::{PromotionSnapshot, StepSnapshot};

pub use envelope::unquote;

/// A hint that says nothing, and why.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RefusedHint {
    /// Alias of the step.
    pub step: String,
    /// How it reached the host.
    pub channel: String,
    /// Why it is not heard, redacted.
    pub because: String,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Good ones, most trusted first: a `failure-hint` step is written by the template's author, an envelope may
    /// repeat what a server answered.
    pub accepted: Vec<StepHint>,
    /// Bad ones.
    pub refused: Vec<RefusedHint>,
}

/// The good hints of a failed Promotion, most trusted first.
pub fn read(promotion: &PromotionSnapshot) -> Vec<StepHint> {
    examine(promotion).accepted
}

/// All hints of a failed Promotion, the refused ones with their reasons.
pub fn examine(promotion: &PromotionSnapshot) -> Found {
    let mut found = Found::default();
    let Some(failed) = first_failed_step(promotion) else { return found };
    for step in promotion.steps.iter().filter(|step| is_hint_step(&step.alias)) {
        if let Some(output) = &step.output {
            let hint = of_output(output, promotion, failed);
            found.add(hint, &step.alias, "output");
        }
    }
    for outcome in envelope::read(failed) {
        let hint = outcome.and_then(|pairs| fields::hint(&pairs, failed.finished.or(promotion.finished)));
        let is_good = hint.is_ok();
        let hint =
            hint.map(|hint| StepHint { step: failed.alias.clone(), channel: "envelope".to_owned(), ..hint });
        found.add(hint, &failed.alias, "envelope");
        if is_good {
            break;
        }
    }
    found
}

/// The first good envelope in one message: for `fail` steps it is the author's own word for the failure.
pub(crate) fn in_message(kind: &str, message: &str) -> Option<StepHint> {
    let step = StepSnapshot { kind: kind.to_owned(), message: message.to_owned(), ..StepSnapshot::default() };
    envelope::read(&step).into_iter().flatten().find_map(|pairs| fields::hint(&pairs, None).ok())
}

impl Found {
    fn add(&mut self, hint: Result<StepHint, String>, step: &str, channel: &str) {
        match hint {
            Ok(hint) => self.accepted.push(hint),
            Err(because) => self.refused.push(RefusedHint {
                step: step.to_owned(),
                channel: channel.to_owned(),
                because: redact::shown(&because, 200),
            }),
        }
    }
}

/// `failure-hint`, or `<task>::failure-hint` for one inside of a task.
fn is_hint_step(alias: &str) -> bool {
    alias == "failure-hint" || alias.ends_with("::failure-hint")
}

/// Longest output that is read.
const MAX_OUTPUT_BYTES: usize = 4 * 1024;

fn of_output(output: &str, promotion: &PromotionSnapshot, failed: &StepSnapshot) -> Result<StepHint, String> {
    if output.len() > MAX_OUTPUT_BYTES {
        return Err(format!("the output is longer than {MAX_OUTPUT_BYTES} bytes"));
    }
    let value: Value = serde_json::from_str(output).map_err(|_| "the output is no JSON".to_owned())?;
    let Value::Object(members) = value else { return Err("the output is no object".to_owned()) };
    let mut pairs = Vec::new();
    let mut about = None;
    for (key, member) in members {
        let text = match member {
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            Value::Null => continue,
            Value::Array(_) | Value::Object(_) => continue,
        };
        if key == "step" { about = Some(text) } else { pairs.push((fields::kebab(&key), text)) }
    }
    // The author says which step it is about; without a word it is about the one that failed.
    let about = about.filter(|about| promotion.steps.iter().any(|step| step.alias == *about));
    let hint = fields::hint(&pairs, failed.finished.or(promotion.finished))?;
    Ok(StepHint { step: about.unwrap_or_else(|| failed.alias.clone()), channel: "output".to_owned(), ..hint })
}
