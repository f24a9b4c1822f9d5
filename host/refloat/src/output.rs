//! The documents that `--output json` and `--output yaml` write. Their fields are stable: scripts read them.
//!
//! In: values of the core and the engine. Out: types with one documented field each, written once here.
//! Fields may be added; none is renamed or removed without a line in the changelog.

use policy_core::chain::{End, Word};
use policy_core::decision::Decision;
use policy_core::failure::{Class, Classification, Effect, Failure, FaultDomain, Retryability, StepHint};
use policy_core::hints::{Found, RefusedHint};
use policy_core::manifest::Manifest;
use serde::Serialize;
use serde_json::Value;

use crate::args::Output;
use crate::exit::CannotRun;
use crate::printer::Printer;

/// What `classify` says. The first seven are null when nothing failed; then the exit code is 1.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Classified {
    /// What kind of failure.
    pub(crate) class: Option<Class>,
    /// Whether the same thing may work again.
    pub(crate) retryability: Option<Retryability>,
    /// Who or what is to blame.
    pub(crate) fault_domain: Option<FaultDomain>,
    /// What had been changed already.
    pub(crate) effect: Option<Effect>,
    /// The row that decided, or `unknown`.
    pub(crate) rule: Option<String>,
    /// How sure, 0 to 100.
    pub(crate) confidence: Option<u8>,
    /// Alias of the step that failed first; null for plain texts as well.
    pub(crate) step: Option<String>,
    /// The text that was read, unwrapped and redacted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
    /// The failure, when a Promotion was given and it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<Failure>,
    /// What steps say about their failures.
    pub(crate) hints: Vec<StepHint>,
    /// What they say that is not heard, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) refused_hints: Vec<RefusedHint>,
}

impl Classified {
    pub(crate) fn new(failure: Option<Failure>, read: Option<&Classification>, hints: Found) -> Self {
        Self {
            class: read.map(|read| read.class),
            retryability: read.map(|read| read.retryability),
            fault_domain: read.map(|read| read.fault_domain),
            effect: read.map(|read| read.effect),
            rule: read.map(|read| read.rule.clone()),
            confidence: read.map(|read| read.confidence_percent),
            step: read.and_then(|read| read.step.clone()),
            text: read.map(|read| read.text.clone()),
            failure,
            hints: hints.accepted,
            refused_hints: hints.refused,
        }
    }
}

/// Writes `document` for machines, or asks `human` for sentences.
///
/// # Errors
/// When the document cannot be written as text, which no input should be able to cause.
pub(crate) fn show<T: Serialize>(
    output: Output,
    document: &T,
    printer: &mut Printer,
    human: impl FnOnce(&T) -> String,
) -> Result<(), CannotRun> {
    let text = match output {
        Output::Human => human(document),
        Output::Json => serde_json::to_string_pretty(document)
            .map_err(|error| CannotRun::from_error(&error, "please report this"))?,
        Output::Yaml => serde_saphyr::to_string(document)
            .map_err(|error| CannotRun::from_error(&error, "please report this"))?,
    };
    printer.answer(&text);
    Ok(())
}

/// What `decide` says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Decided {
    /// What each module said, in order.
    pub(crate) modules: Vec<Answered>,
    /// What the chain came to: `decided` with the decision, `no-opinion`, or `fault`.
    pub(crate) end: End,
}

/// What one module said.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Answered {
    /// As it was named.
    pub(crate) module: String,
    /// Name and version from its manifest.
    pub(crate) policy: String,
    /// SHA-256 of its bytes.
    pub(crate) digest: String,
    /// `decided`, `pass`, `fault` or `skipped`.
    pub(crate) word: Word,
    /// How much fuel the call used; absent when it was not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fuel: Option<u64>,
    /// What it logged.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) log: Vec<String>,
}

/// What `inspect` says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Inspected {
    /// As it was named.
    pub(crate) module: String,
    /// SHA-256 of its bytes.
    pub(crate) digest: String,
    /// How many bytes it has.
    pub(crate) bytes: usize,
    /// The track of the contract that it speaks.
    pub(crate) track: String,
    /// Interfaces that it imports.
    pub(crate) imports: Vec<String>,
    /// Interfaces that it exports.
    pub(crate) exports: Vec<String>,
    /// What it says about itself.
    pub(crate) manifest: Manifest,
    /// The first level of its settings.
    pub(crate) settings: Vec<Setting>,
    /// How long loading took: compiling the first time, reading the cache afterwards.
    pub(crate) load_milliseconds: u64,
}

/// One setting of a policy.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Setting {
    /// Its name.
    pub(crate) name: String,
    /// Its default, as it is written in YAML.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) default: Option<Value>,
    /// Whether it must be given.
    pub(crate) required: bool,
    /// What it is for.
    pub(crate) description: String,
}

/// What `replay` says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Replayed {
    /// Whether everything was the same, byte for byte.
    pub(crate) same: bool,
    /// What differs.
    pub(crate) differences: Vec<Difference>,
    /// What each module said now.
    pub(crate) modules: Vec<Answered>,
    /// What the chain came to now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) decision: Option<Decision>,
}

/// One thing that differs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Difference {
    /// Which thing.
    pub(crate) what: String,
    /// As the record has it.
    pub(crate) recorded: String,
    /// As it is now.
    pub(crate) now: String,
}

/// What `simulate` says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Simulated<'a> {
    /// The scenario's title.
    pub(crate) title: &'a str,
    /// The seed.
    pub(crate) seed: u64,
    /// Virtual seconds from beginning to end.
    pub(crate) lasted_seconds: u64,
    /// What an onlooker saw.
    pub(crate) timeline: &'a [simulator::Entry],
    /// What stands at the end.
    pub(crate) facts: &'a simulator::expect::Facts,
    /// What is not as expected; empty when everything is.
    pub(crate) differences: &'a [simulator::Difference],
    /// Requests since the beginning.
    pub(crate) requests: usize,
    /// One hash over all requests and answers.
    pub(crate) hash: &'a str,
}

impl<'a> Simulated<'a> {
    pub(crate) fn of(title: &'a str, seed: u64, played: &'a simulator::Played) -> Self {
        Self {
            title,
            seed,
            lasted_seconds: played.lasted.as_secs(),
            timeline: &played.timeline,
            facts: &played.facts,
            differences: &played.differences,
            requests: played.requests.len(),
            hash: played.hash.as_deref().unwrap_or_default(),
        }
    }
}

/// What `explain` says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Explained {
    /// Whether anything failed.
    pub(crate) has_failed: bool,
    /// What; null when nothing did.
    pub(crate) failure: Option<Failure>,
    /// How it is read.
    pub(crate) classification: Option<Classification>,
    /// Its Incident, when there is one.
    pub(crate) incident: Option<String>,
    /// The story, in order.
    pub(crate) story: Vec<Told>,
    /// Lists of the context that were cut, see `docs/context.md`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) truncated: Vec<String>,
    /// What could not be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) left_out: Vec<String>,
}

/// One line of a story.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Told {
    /// What it is about; empty for the headline.
    pub(crate) about: &'static str,
    /// One sentence.
    pub(crate) text: String,
}
