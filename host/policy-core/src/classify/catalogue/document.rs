//! The file format of rules: YAML in, rows with compiled patterns out, or what is wrong on which line.
//!
//! The same format holds what is built in and what a platform team adds; `docs/classification.md` explains it.
//! Nothing here knows a single row, and nothing is repaired: one bad row refuses the whole file.

use regex::Regex;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{Answered, Row, Verdict};
use crate::failure::{Class, Effect, FaultDomain, Retryability};

/// Why a file of rules is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct BadRules {
    /// Line of the file, counted from 1.
    pub line: u64,
    /// What is wrong there.
    pub problem: String,
}

/// Longest file that is read, 1 MiB.
const MAX_BYTES: usize = 1024 * 1024;
/// Most rows in one file.
const MAX_ROWS: usize = 1_000;
/// Largest compiled pattern, 1 MiB: some words of alternatives and not more.
const MAX_PATTERN_BYTES: usize = 1024 * 1024;
/// Confidence of a row that does not say its own, 0 to 100.
const CONFIDENCE: u8 = 80;
/// Confidence of a row that says where it happened and no more.
const CONFIDENCE_OF_A_PLACE: u8 = 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    rows: Vec<Spanned<RowDocument>>,
    #[serde(default)]
    nested: Vec<Spanned<RowDocument>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RowDocument {
    id: Spanned<String>,
    #[serde(default)]
    source: String,
    #[serde(default)]
    steps: Vec<String>,
    #[serde(default)]
    begins: Vec<Spanned<String>>,
    #[serde(default)]
    text: Vec<Spanned<String>>,
    #[serde(default)]
    without: Vec<Spanned<String>>,
    #[serde(default)]
    status: Vec<Spanned<Status>>,
    #[serde(default)]
    attempts: Option<Attempts>,
    #[serde(default)]
    behind_kargo: Option<bool>,
    #[serde(default)]
    nested: bool,
    #[serde(default)]
    here: Option<FaultDomain>,
    #[serde(default)]
    class: Option<Class>,
    #[serde(default)]
    retryability: Option<Retryability>,
    #[serde(default)]
    fault_domain: Option<FaultDomain>,
    #[serde(default)]
    confidence: Option<Spanned<u8>>,
    #[serde(default)]
    effect: Option<Effect>,
}

/// How often Kargo must have tried the step, for texts that mean something else the second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Attempts {
    Several,
}

/// `404`, or `500-599` with both ends.
#[derive(Deserialize)]
#[serde(untagged)]
enum Status {
    One(u16),
    Range(String),
}

/// Reads one file: its rows, then its nested rows.
///
/// # Errors
/// The first thing that is wrong, with its line.
pub(super) fn read(text: &str) -> Result<(Vec<Row>, Vec<Row>), BadRules> {
    if text.len() > MAX_BYTES {
        return Err(BadRules { line: 1, problem: format!("more than {MAX_BYTES} bytes") });
    }
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    let document: Document = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let line = error.location().map_or(1, |location| location.line());
        BadRules { line, problem: one_line(&error.to_string()) }
    })?;
    if document.rows.len() + document.nested.len() > MAX_ROWS {
        return Err(BadRules { line: 1, problem: format!("more than {MAX_ROWS} rows") });
    }
    let compiled = |rows: Vec<Spanned<RowDocument>>| rows.into_iter().map(row).collect::<Result<_, _>>();
    let nested = document.nested;
    if let Some(deep) = nested.iter().find(|row| row.value.nested) {
        return Err(at(&deep.value.id, "a nested row cannot be `nested: true` itself"));
    }
    if let Some(row) = document.rows.iter().find(|row| row.value.behind_kargo.is_some()) {
        return Err(at(
            &row.value.id,
            "`behindKargo` is for nested rows: others are about Kargo's own words",
        ));
    }
    Ok((compiled(document.rows)?, compiled(nested)?))
}

fn row(document: Spanned<RowDocument>) -> Result<Row, BadRules> {
    let document = document.value;
    check_id(&document.id)?;
    let is_about_all = document.begins.is_empty() && document.text.is_empty() && document.status.is_empty();
    if is_about_all && document.steps.is_empty() {
        return Err(at(
            &document.id,
            "the row matches everything: give it `begins`, `text`, `status` or `steps`",
        ));
    }
    if document.class.is_none() && !document.nested {
        return Err(at(&document.id, "the row says nothing: give it `class`, or `nested: true`"));
    }
    let confidence = match &document.confidence {
        Some(given) if given.value > 100 => return Err(at(given, "`confidence` is at most 100")),
        Some(given) => given.value,
        None if document.class.is_none() => CONFIDENCE_OF_A_PLACE,
        None => CONFIDENCE,
    };
    let class = document.class.unwrap_or(Class::Unknown);
    let verdict = Verdict {
        class,
        retry: document.retryability.unwrap_or_else(|| super::retryability_of(class)),
        fault: document.fault_domain.unwrap_or_else(|| super::fault_of(class)),
        confidence,
    };
    Ok(Row {
        begins: pattern(&document.begins, r"\A")?,
        text: pattern(&document.text, "")?,
        without: pattern(&document.without, "")?,
        status: document.status.iter().map(range).collect::<Result<_, _>>()?,
        behind_kargo: document.behind_kargo,
        repeated: document.attempts == Some(Attempts::Several),
        answered: if document.nested { Answered::ByNested { here: document.here } } else { Answered::Here },
        line: document.id.referenced.line(),
        id: document.id.value,
        source: document.source,
        steps: document.steps,
        verdict,
        effect: document.effect.unwrap_or(Effect::Unknown),
    })
}

/// Ids stand in records, metrics and messages, joined by `/` and `+`.
fn check_id(id: &Spanned<String>) -> Result<(), BadRules> {
    let is_word = id.value.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.' || c == '_');
    if is_word && (1..=63).contains(&id.value.len()) && id.value != "unknown" {
        return Ok(());
    }
    Err(at(id, "an `id` is up to 63 letters, digits, `-`, `.` and `_`"))
}

/// One pattern out of alternatives; a dot also matches the end of a line, because tools write several.
fn pattern(alternatives: &[Spanned<String>], anchor: &str) -> Result<Option<Regex>, BadRules> {
    let Some(first) = alternatives.first() else { return Ok(None) };
    for one in alternatives {
        // Each alone first, so that the line is that of the bad one.
        Regex::new(&one.value).map_err(|error| at(one, &format!("bad pattern: {}", last_line(&error))))?;
    }
    let all: Vec<String> = alternatives.iter().map(|one| format!("(?:{})", one.value)).collect();
    let whole = format!("(?s){anchor}(?:{})", all.join("|"));
    let built = regex::RegexBuilder::new(&whole).size_limit(MAX_PATTERN_BYTES).build();
    built.map(Some).map_err(|error| at(first, &format!("bad pattern: {}", last_line(&error))))
}

fn range(status: &Spanned<Status>) -> Result<(u16, u16), BadRules> {
    let number = |text: &str| text.trim().parse::<u16>().ok();
    let range = match &status.value {
        Status::One(one) => Some((*one, *one)),
        Status::Range(text) => match text.split_once('-') {
            Some((low, high)) => number(low).zip(number(high)),
            None => number(text).map(|one| (one, one)),
        },
    };
    let is_http = |&(low, high): &(u16, u16)| 100 <= low && low <= high && high <= 599;
    range
        .filter(is_http)
        .ok_or_else(|| at(status, "a `status` is a number like 404 or a range like `500-599`"))
}

fn at<T>(place: &Spanned<T>, problem: &str) -> BadRules {
    BadRules { line: place.referenced.line(), problem: problem.to_owned() }
}

/// The last line says what is wrong, those before show the pattern.
fn last_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    crate::redact::capped(&words.join(" "), 300)
}
