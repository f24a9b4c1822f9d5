//! Kargo objects to core snapshots.
//!
//! In: the structs of [`super`] and a [`Reading`]. Out: snapshots of `policy-core`. Nothing is decided here: what
//! Kargo leaves out stays `None`, and texts are taken over as they are (redaction is the core's).
//! An error means that an object lacks its identity or says a word that this program does not know.

mod freight;
mod promotion;
mod stage;

use policy_core::context::{Measurement, MetricCounts, MetricFacts};
use policy_core::hints;
use policy_core::name::{Origin, ProjectName, Uid};
use policy_core::redact;
use policy_core::snapshot::{AnalysisRunSnapshot, ProjectSnapshot, PromotionPolicy, StageSelector};
use policy_core::time::Timestamp;

use super::stage::{OriginText, StepMetadata};
use super::time::Moment;
use super::{AnalysisRun, MetricResult, ProjectConfig, PromotionPolicyText, SelectorText, keys};
use kube::core::ObjectMeta;

pub use freight::freight;
pub use promotion::promotion;
pub use stage::stage;

/// What is kept of one output, at most: the contract's own limit for a step's output.
pub const MAX_OUTPUT_BYTES: usize = 16 * 1024;

/// Measurements kept per metric, newest first.
const MAX_MEASUREMENTS: usize = 10;

/// What an object said that could not be taken over.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConvertError {
    /// A field has the wrong shape.
    #[error("cannot decode `{object}` at `{path}`: {problem}")]
    Decode {
        /// `Kind namespace/name`.
        object: String,
        /// Where, as a path such as `status.startedAt`.
        path: String,
        /// What is wrong there.
        problem: String,
    },
    /// A field that identifies the object is missing.
    #[error("`{object}` has no `{path}`")]
    Missing {
        /// `Kind namespace/name`.
        object: String,
        /// Where.
        path: &'static str,
    },
    /// A word that this program does not know.
    #[error("`{object}` says `{word}` at `{path}`, which this version does not know")]
    UnknownWord {
        /// `Kind namespace/name`.
        object: String,
        /// Where.
        path: String,
        /// The word.
        word: String,
    },
}

impl ConvertError {
    /// The same about an object of that kind, where it does not say its own: items of a list do not.
    #[must_use]
    pub fn of_kind(self, kind: &str) -> Self {
        match self {
            Self::Decode { object, path, problem } => {
                let object = match object.strip_prefix("object ") {
                    Some(rest) => format!("{kind} {rest}"),
                    None => object,
                };
                Self::Decode { object, path, problem }
            }
            other @ (Self::Missing { .. } | Self::UnknownWord { .. }) => other,
        }
    }
}

/// Longest name or path in an error, bytes: no API server takes a name that this would cut.
pub(super) const MAX_NAME: usize = 320;

/// A text out of an object as it may stand in an error, and so in a log: redacted, on one line, at most about `max`
/// bytes, cut in its middle, because decoders say at the end what they expected.
pub(super) fn quoted(text: &str, max: usize) -> String {
    let clean = redact::text(text);
    let line = clean.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.len() <= max {
        return line;
    }
    let head = line.get(..line.floor_char_boundary(max / 2)).unwrap_or_default();
    let tail = line.get(line.ceil_char_boundary(line.len() - max / 2)..).unwrap_or_default();
    format!("{head} … {tail}")
}

/// A name as it may stand in an error. Every name that an API server takes stays as it is, at no cost.
fn shown_name(name: &str) -> String {
    let is_plain = name.len() <= MAX_NAME && name.bytes().all(|byte| byte.is_ascii_graphic());
    if is_plain { name.to_owned() } else { quoted(name, MAX_NAME) }
}

/// A word that is none of Kargo's, as an error.
fn unknown_word(object: &str, path: impl Into<String>, word: &str) -> ConvertError {
    ConvertError::UnknownWord { object: object.to_owned(), path: path.into(), word: quoted(word, 100) }
}

/// How to read Promotions.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// Name of the ServiceAccount that acts for this program in each Project.
    pub account: &'a str,
    /// Aliases whose outputs may be captured. `failure-hint` always may.
    pub capture: &'a [String],
}

impl Default for Reading<'_> {
    /// The account's usual name, and no outputs.
    fn default() -> Self {
        Self { account: "refloat", capture: &[] }
    }
}

/// Name, namespace and uid of an object, checked to be there.
struct Identity {
    object: String,
    name: String,
    namespace: String,
    uid: Uid,
}

/// # Errors
/// When name, namespace or uid is missing: the object does not come from an API server.
fn identity(kind: &str, metadata: &ObjectMeta) -> Result<Identity, ConvertError> {
    let part = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let name = part(&metadata.name);
    let namespace = part(&metadata.namespace);
    let shown = |part: &Option<String>| part.as_deref().map_or_else(|| "?".to_owned(), shown_name);
    let object = format!("{kind} {}/{}", shown(&namespace), shown(&name));
    let missing = |path| ConvertError::Missing { object: object.clone(), path };
    Ok(Identity {
        name: name.ok_or_else(|| missing("metadata.name"))?,
        namespace: namespace.ok_or_else(|| missing("metadata.namespace"))?,
        uid: Uid::new(part(&metadata.uid).ok_or_else(|| missing("metadata.uid"))?),
        object,
    })
}

/// Converts an AnalysisRun.
///
/// # Errors
/// When it has no name.
pub fn analysis_run(run: &AnalysisRun) -> Result<AnalysisRunSnapshot, ConvertError> {
    let Identity { name, .. } = identity("AnalysisRun", &run.metadata)?;
    let status = run.status.clone().unwrap_or_default();
    Ok(AnalysisRunSnapshot {
        name,
        phase: some(&status.phase),
        message: status.message.clone(),
        started: status.started_at.map(time),
        finished: status.completed_at.map(time),
        metrics: status.metric_results.iter().map(metric).collect(),
    })
}

fn metric(result: &MetricResult) -> MetricFacts {
    let measurements = result.measurements.iter().rev().take(MAX_MEASUREMENTS);
    MetricFacts {
        name: result.name.clone(),
        phase: result.phase.clone(),
        message: result.message.clone(),
        counts: MetricCounts {
            total: result.count,
            successful: result.successful,
            failed: result.failed,
            inconclusive: result.inconclusive,
            error: result.error,
        },
        dry_run: result.dry_run,
        measurements: measurements
            .map(|measurement| Measurement {
                phase: measurement.phase.clone(),
                value: measurement.value.clone(),
                message: measurement.message.clone(),
                finished_unix_seconds: measurement.finished_at.map(time),
            })
            .collect(),
        extra: Vec::new(),
    }
}

/// Converts a Project: its namespace's metadata, and its ProjectConfig; `None` when it has none.
///
/// # Errors
/// When the namespace has no name.
pub fn project(
    namespace: &ObjectMeta,
    config: Option<&ProjectConfig>,
) -> Result<ProjectSnapshot, ConvertError> {
    let missing = || ConvertError::Missing { object: "Namespace ?".to_owned(), path: "metadata.name" };
    let name = namespace.name.clone().ok_or_else(missing)?;
    let policies = config.map(|config| config.spec.promotion_policies.as_slice()).unwrap_or_default();
    let labels = namespace.labels.clone().unwrap_or_default();
    Ok(ProjectSnapshot {
        name: ProjectName::new(name),
        ignored: is_ignored(namespace),
        labels,
        promotion_policies: Some(policies.iter().map(promotion_policy).collect()),
    })
}

fn promotion_policy(policy: &PromotionPolicyText) -> PromotionPolicy {
    // `stage` counts only without a selector (`pkg/api/auto_promotion.go`); empty, it means every Stage.
    let by_name = SelectorText { name: policy.stage.clone(), ..SelectorText::default() };
    PromotionPolicy {
        stages: stage_selector(policy.stage_selector.as_ref().unwrap_or(&by_name)),
        auto_promotion: policy.auto_promotion_enabled,
        auto_rollback: policy.auto_rollback.is_some(),
    }
}

fn stage_selector(selector: &SelectorText) -> StageSelector {
    let expressions = selector.match_expressions.iter();
    StageSelector {
        name: some(&selector.name),
        match_labels: selector.match_labels.clone(),
        match_expressions: expressions
            .map(|expression| {
                (expression.key.clone(), expression.operator.clone(), expression.values.clone())
            })
            .collect(),
    }
}

/// A hint in metadata as JSON; of one that is too long only as much as shows that it is.
fn failure_hint(metadata: &StepMetadata) -> Option<String> {
    let mut text = metadata.failure_hint.as_ref()?.to_string();
    text.truncate(text.floor_char_boundary(hints::MAX_OUTPUT_BYTES + 4));
    Some(text)
}

/// `None` for the empty text, which is what Go writes for "not set".
fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn time(moment: Moment) -> Timestamp {
    moment.0
}

/// `Warehouse/name`, Kargo's canonical key.
fn origin(origin: &OriginText) -> Option<Origin> {
    let kind = if origin.kind.is_empty() { "Warehouse" } else { &origin.kind };
    (!origin.name.is_empty()).then(|| Origin::new(format!("{kind}/{}", origin.name)))
}

fn created(metadata: &ObjectMeta) -> Option<Timestamp> {
    let seconds = metadata.creation_timestamp.as_ref()?.0.as_second();
    u32::try_from(seconds).ok().map(Timestamp)
}

/// A label or, failing that, an annotation `refloat.dev/ignore: "true"`.
fn is_ignored(metadata: &ObjectMeta) -> bool {
    let says_true = |map: &Option<std::collections::BTreeMap<String, String>>| {
        map.as_ref().and_then(|map| map.get(keys::IGNORE)).is_some_and(|value| value == "true")
    };
    says_true(&metadata.labels) || says_true(&metadata.annotations)
}

fn annotation<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    metadata.annotations.as_ref()?.get(key).map(String::as_str).filter(|value| !value.is_empty())
}
