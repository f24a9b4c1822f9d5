//! What steps say about their own failure, through channels that work with unmodified Kargo.
//!
//! In: a Promotion. Out: checked and clamped [`StepHint`]s, most trusted first, and for every bad one a
//! [`RefusedHint`] that says why. A hint is data from an untrusted source: it may only narrow what is allowed, and
//! nothing here lets it do more. Four channels, the most trusted first: the output of a `failure-hint` step, the
//! member `hint` in the output of the step that failed, what a `set-metadata` step wrote about this Promotion, and an
//! envelope in the failed step's text.

mod envelope;
mod fields;

use serde_json::{Map, Value};

use crate::detect::first_failed_step;
use crate::failure::StepHint;
use crate::redact;
use crate::snapshot::{ProjectFreight, PromotionSnapshot, StageSnapshot, StepSnapshot};

pub use envelope::unquote;
pub(crate) use fields::{effect, fault};

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

/// The key of Stages' and Freight's metadata under which a `set-metadata` step writes a hint.
pub const METADATA_KEY: &str = "failure-hint";

/// Where hints about a failed Promotion may stand.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// The Promotion.
    pub promotion: &'a PromotionSnapshot,
    /// What its Freight's metadata holds under [`METADATA_KEY`], as JSON.
    pub freight: Option<&'a str>,
    /// The same of its Stage.
    pub stage: Option<&'a str>,
    /// Aliases of steps whose envelopes are heard also in texts that quote others.
    pub trusted: &'a [String],
}

impl<'a> Places<'a> {
    /// The Promotion alone, with nobody trusted.
    pub fn of(promotion: &'a PromotionSnapshot) -> Self {
        Self { promotion, freight: None, stage: None, trusted: &[] }
    }

    /// A Promotion with its Stage and Freight, where they are among those.
    pub fn among(
        promotion: &'a PromotionSnapshot,
        stages: &'a [StageSnapshot],
        freight: &'a ProjectFreight,
        trusted: &'a [String],
    ) -> Self {
        let stage = stages.iter().find(|stage| stage.name == promotion.stage);
        let piece = freight.get(&promotion.freight);
        Self {
            promotion,
            freight: piece.and_then(|piece| piece.failure_hint.as_deref()),
            stage: stage.and_then(|stage| stage.failure_hint.as_deref()),
            trusted,
        }
    }
}

/// The good hints of a failed Promotion that stand in itself, most trusted first.
pub fn read(promotion: &PromotionSnapshot) -> Vec<StepHint> {
    examine(&Places::of(promotion)).accepted
}

/// All hints of a failed Promotion, the refused ones with their reasons.
pub fn examine(places: &Places<'_>) -> Found {
    let promotion = places.promotion;
    let mut found = Found::default();
    let Some(failed) = first_failed_step(promotion) else { return found };
    for step in promotion.steps.iter().filter(|step| is_hint_step(&step.alias)) {
        if let Some(output) = &step.output {
            let hint = members(output).and_then(|members| of_members(members, promotion, failed));
            found.add(hint, &step.alias, "output");
        }
    }
    if let Some(hint) = failed.output.as_deref().and_then(own_member) {
        found.add(of_members(hint, promotion, failed), &failed.alias, "output");
    }
    for (of, metadata) in [("Freight", places.freight), ("Stage", places.stage)] {
        let heard = metadata.map_or(Ok(None), |text| of_metadata(text, promotion, failed));
        let heard = heard.map_err(|because| format!("metadata of the {of}: {because}"));
        heard.transpose().into_iter().for_each(|hint| found.add(hint, &failed.alias, "metadata"));
    }
    let is_trusted = places.trusted.contains(&failed.alias);
    for outcome in envelope::read(failed, is_trusted) {
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
    envelope::read(&step, false).into_iter().flatten().find_map(|pairs| fields::hint(&pairs, None).ok())
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

/// Longest output or metadata that is read, in bytes.
pub const MAX_OUTPUT_BYTES: usize = 4 * 1024;

fn members(output: &str) -> Result<Map<String, Value>, String> {
    if output.len() > MAX_OUTPUT_BYTES {
        return Err(format!("it is longer than {MAX_OUTPUT_BYTES} bytes"));
    }
    let value: Value = serde_json::from_str(output).map_err(|_| "it is no JSON".to_owned())?;
    let Value::Object(members) = value else { return Err("it is no object".to_owned()) };
    Ok(members)
}

/// `hint` in the output of a step that failed: Kargo keeps outputs whatever the status
/// (`pkg/promotion/local_orchestrator.go`, v1.11.2).
fn own_member(output: &str) -> Option<Map<String, Value>> {
    match serde_json::from_str(output).ok()? {
        Value::Object(mut members) => match members.remove("hint")? {
            Value::Object(hint) => Some(hint),
            _ => None,
        },
        _ => None,
    }
}

/// What a `set-metadata` step wrote. `None` when it is about another Promotion: what is written stays until somebody
/// writes something else, and Freight is shared by all Stages.
fn of_metadata(
    text: &str,
    promotion: &PromotionSnapshot,
    failed: &StepSnapshot,
) -> Result<Option<StepHint>, String> {
    let mut members = members(text)?;
    match members.remove("promotion") {
        Some(Value::String(name)) if name == promotion.name.as_str() => {}
        Some(Value::String(_)) => return Ok(None),
        Some(_) | None => return Err("it does not say which `promotion` it is about".to_owned()),
    }
    let hint = of_members(members, promotion, failed)?;
    Ok(Some(StepHint { channel: "metadata".to_owned(), ..hint }))
}

fn of_members(
    members: Map<String, Value>,
    promotion: &PromotionSnapshot,
    failed: &StepSnapshot,
) -> Result<StepHint, String> {
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

#[cfg(test)]
mod tests;
