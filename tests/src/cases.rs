//! Case files: every YAML file under `tests/cases/` is one named test, added without Rust.
//!
//! In: a file with a `#` comment that says why it exists, `run:` (which function is asked), its inputs, and `expect:`.
//! Out: pass, or a difference that names the file. `BLESS=1` rewrites `expect` in place and nothing else.
//! A kind of run that nobody answers, a file without a why and a file without `expect` all fail.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{api_case, cli, core_case, guard_case};

/// Runs a case of the given kind: `None` when the kind is not one of its own, `Err` when the case makes no sense.
pub type Runner = fn(kind: &str, case: &Value) -> Option<Result<Value, String>>;

/// Everybody who answers cases. A new area adds one line.
const RUNNERS: &[Runner] = &[core_case::run, guard_case::run, api_case::run, cli::run];

/// Folders with a test of their own, because their files are not of this shape.
const OTHER_SHAPE: &[&str] = &["api", "model", "policies"];

/// One case file.
#[derive(Clone, Debug)]
pub struct Case {
    /// `area/name`, without the extension.
    pub name: String,
    /// The file.
    pub path: PathBuf,
}

/// The folder that all case files are in.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases")
}

/// Every case file, sorted by name.
///
/// # Errors
/// When a folder cannot be listed.
pub fn all() -> anyhow::Result<Vec<Case>> {
    let root = folder();
    let mut cases = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            let relative = path.strip_prefix(&root)?.to_owned();
            if path.is_dir() {
                if !OTHER_SHAPE.iter().any(|other| relative == Path::new(other)) {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                cases.push(Case { name: relative.with_extension("").display().to_string(), path });
            }
        }
    }
    cases.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(cases)
}

/// What to do when reality differs from the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDifference {
    /// Fail, with the difference.
    Fail,
    /// Write what happened into the file.
    Bless,
}

impl OnDifference {
    /// `BLESS=1` blesses, anything else fails.
    #[must_use]
    pub fn from_environment() -> Self {
        if std::env::var_os("BLESS").is_some_and(|value| value == "1") { Self::Bless } else { Self::Fail }
    }
}

/// Runs one case.
///
/// # Errors
/// What differs, or what is wrong with the file, as text for people.
pub fn check(case: &Case, on_difference: OnDifference) -> Result<(), String> {
    let file = case.path.display();
    let text = std::fs::read_to_string(&case.path).map_err(|error| format!("cannot read {file}: {error}"))?;
    if !has_why(&text) {
        return Err(format!(
            "{file}: no comment at the top\nhelp: begin with `# ...` and say why this case exists"
        ));
    }
    let value = parse(&text).map_err(|error| format!("{file}: {error}"))?;
    let got = answer(&value).map_err(|error| format!("{file}: {error}"))?;
    let expected = value.get("expect");
    if expected.is_some_and(|expected| agrees(expected, &got)) {
        return Ok(());
    }
    match on_difference {
        OnDifference::Fail => Err(format!("{file}\n{}", difference(expected, &got))),
        OnDifference::Bless => bless(case, &text, &got),
    }
}

fn has_why(text: &str) -> bool {
    let first = text.lines().find(|line| !line.trim().is_empty());
    first.and_then(|line| line.strip_prefix('#')).is_some_and(|why| why.trim().len() >= 10)
}

fn parse(text: &str) -> Result<Value, String> {
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| error.to_string())
}

fn answer(case: &Value) -> Result<Value, String> {
    let kind = case.get("run").and_then(Value::as_str).ok_or("no `run:`")?;
    let mut answers = RUNNERS.iter().filter_map(|runner| runner(kind, case));
    answers.next().unwrap_or_else(|| Err(format!("nobody answers `run: {kind}`")))
}

/// Whether reality is what the file says. 1 and 1.0 are the same number; everything else must be equal.
fn agrees(expected: &Value, got: &Value) -> bool {
    match (expected, got) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| agrees(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, value)| other.get(key).is_some_and(|other| agrees(value, other)))
        }
        (
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_),
            _,
        ) => expected == got,
    }
}

fn difference(expected: Option<&Value>, got: &Value) -> String {
    let Some(expected) = expected else {
        return format!(
            "there is no `expect:`; this is what happened (BLESS=1 writes it):\n{}",
            yaml(got, 0)
        );
    };
    let (old, new) = (yaml(expected, 0), yaml(got, 0));
    let mut text = String::from("  - expected   + got   (BLESS=1 accepts what happened)\n");
    for change in similar::TextDiff::from_lines(&old, &new).iter_all_changes() {
        let sign = match change.tag() {
            similar::ChangeTag::Delete => '-',
            similar::ChangeTag::Insert => '+',
            similar::ChangeTag::Equal => ' ',
        };
        let _ = write!(text, "  {sign} {change}");
    }
    text
}

/// Puts `got` where `expect:` stands, or at the end, and leaves every other line as it was.
fn bless(case: &Case, text: &str, got: &Value) -> Result<(), String> {
    let mut before = String::new();
    let mut after = String::new();
    let mut inside = false;
    let mut seen = false;
    for line in text.lines() {
        let top_level = line.chars().next().is_some_and(|first| !first.is_whitespace());
        if line.starts_with("expect:") {
            (inside, seen) = (true, true);
        } else if top_level && inside && !line.starts_with('-') {
            inside = false;
        }
        if !inside {
            let side = if seen { &mut after } else { &mut before };
            side.push_str(line);
            side.push('\n');
        }
    }
    let new = format!("{before}expect:{}{after}", nested(got));
    let reread =
        parse(&new).map_err(|error| format!("{}: blessing made no YAML: {error}", case.path.display()))?;
    if reread.get("expect").is_none_or(|expected| !agrees(expected, got)) {
        return Err(format!("{}: blessing wrote something else than what happened", case.path.display()));
    }
    std::fs::write(&case.path, new).map_err(|error| format!("cannot write {}: {error}", case.path.display()))
}

fn nested(value: &Value) -> String {
    match value {
        Value::Object(fields) if !fields.is_empty() => format!("\n{}", yaml(value, 1)),
        Value::Array(items) if !items.is_empty() => format!("\n{}", yaml(value, 1)),
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => {
            format!(" {}", scalar(value, 1))
        }
    }
}

/// YAML in the plain style of the case files: block style, texts of several lines as `|`.
#[must_use]
pub fn yaml(value: &Value, depth: usize) -> String {
    let pad = "  ".repeat(depth);
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            let line =
                |(key, value): (&String, &Value)| format!("{pad}{}:{}", plain(key), below(value, depth));
            fields.iter().map(line).collect()
        }
        Value::Array(items) if !items.is_empty() => {
            items.iter().map(|item| item_lines(item, depth)).collect()
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => {
            format!("{pad}{}", scalar(value, depth))
        }
    }
}

fn below(value: &Value, depth: usize) -> String {
    match value {
        Value::Object(fields) if !fields.is_empty() => format!("\n{}", yaml(value, depth + 1)),
        Value::Array(items) if !items.is_empty() => format!("\n{}", yaml(value, depth)),
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => {
            format!(" {}", scalar(value, depth + 1))
        }
    }
}

fn item_lines(item: &Value, depth: usize) -> String {
    let pad = "  ".repeat(depth);
    let text = yaml(item, depth + 1);
    let rest = text.get(pad.len() + 2..).unwrap_or_default();
    format!("{pad}- {rest}")
}

fn scalar(value: &Value, depth: usize) -> String {
    match value {
        Value::String(text) if is_block(text) => {
            let pad = "  ".repeat(depth);
            let mut block = String::from(if text.ends_with('\n') { "|\n" } else { "|-\n" });
            for line in text.lines() {
                let _ = if line.is_empty() { writeln!(block) } else { writeln!(block, "{pad}{line}") };
            }
            block
        }
        Value::String(text) => format!("{}\n", plain(text)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            format!("{value}\n")
        }
    }
}

/// Whether `|` or `|-` can hold it: several lines, no first line that YAML would take for indentation.
fn is_block(text: &str) -> bool {
    text.trim_end().contains('\n')
        && !text.starts_with([' ', '\n'])
        && !text.ends_with("\n\n")
        && !text.chars().any(|c| c.is_control() && c != '\n')
}

/// A text as it can stand in YAML: bare when nobody could take it for anything else, quoted as in JSON otherwise.
fn plain(text: &str) -> String {
    let bare = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || " ._/-()".contains(c))
        && !text.ends_with(' ')
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
            .contains(&text.to_ascii_lowercase().as_str());
    if bare { text.to_owned() } else { Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        for value in [
            json!({"a": 1, "b": [], "c": {}, "d": null, "e": "", "f": "no", "g": "two\nlines\n", "h": "two\nlines"}),
            json!({"list": ["one", {"two": [1, 2, {"three": "x: y"}]}, ["nested"]], "0755": "0755", "t": "  x\ny"}),
            json!({"deep": {"text": "a\n\n  b\n", "more": [{"k": "a\nb\n", "l": 1}, "# no comment"]}}),
            json!(["a", ["b\nc"], {"d": "e\tf\ng"}]),
            json!("just text"),
        ] {
            let text = format!("expect:{}", nested(&value));
            let reread = parse(&text).unwrap_or_else(|error| panic!("{text}\n{error}"));
            assert_eq!(reread["expect"], value, "{text}");
        }
    }

    #[test]
    fn a_case_needs_a_reason() {
        assert!(has_why("# because of the failure in May\nrun: cli\n"));
        assert!(!has_why("run: cli\n"));
        assert!(!has_why("#\nrun: cli\n"));
    }
}
