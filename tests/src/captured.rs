//! Objects captured from a running Kargo, and their comparison with those of the model. In: files under
//! `tests/data/captures`, pairs of objects. Out: values, and the difference of the first pair that differs. Names, ids and
//! times are replaced by their order of appearance on both sides, so that identity still counts.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use kargo_model::object::name;
use serde_json::{Value, json};

/// Where the captures of whole scenarios lie.
pub fn scenarios() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/captures/kargo-1.11.2")
}

/// Where the captured step failures lie.
pub fn steps() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/captures/kargo-1.11.2-steps")
}

/// The documents of a captured file; for `watch.jsonl` its events.
///
/// # Errors
/// When it is missing or no YAML.
pub fn capture(file: &str) -> anyhow::Result<Vec<Value>> {
    let path = scenarios().join(file);
    if !file.ends_with(".jsonl") {
        return documents(&path);
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// The documents of a YAML file; a list counts as several.
///
/// # Errors
/// As [`capture`].
pub fn documents(path: &Path) -> anyhow::Result<Vec<Value>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    // As Kubernetes reads it: `y` is a text.
    let options = serde_saphyr::options! { strict_booleans: true };
    let parsed: Result<Vec<Value>, _> = serde_saphyr::from_multiple_with_options(&text, options);
    let parsed =
        parsed.map_err(|error| anyhow::anyhow!("cannot understand `{}`: {error}", path.display()))?;
    Ok(parsed.into_iter().flat_map(|one| if let Value::Array(all) = one { all } else { vec![one] }).collect())
}

/// The Freight of the captures whose name begins like that, without a Project.
///
/// # Errors
/// When there is none.
pub fn freight(beginning: &str) -> anyhow::Result<Value> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/model/freight.yaml");
    let found = documents(&file)?.into_iter().find(|freight| name(freight).starts_with(beginning));
    found.with_context(|| format!("`freight.yaml` has no Freight `{beginning}`"))
}

/// One object of a running Kargo beside the model's.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The file that shows it.
    pub file: String,
    /// What the file shows.
    pub captured: Value,
    /// What the model has.
    pub model: Value,
}

/// Compares all pairs with one numbering of names and ids per side.
///
/// # Errors
/// The difference of the first pair that is not equal.
pub fn compare(pairs: &[Pair]) -> anyhow::Result<()> {
    let (mut theirs, mut ours) = (Numbering::default(), Numbering::default());
    for Pair { file, captured, model } in pairs {
        let captured = serde_json::to_string_pretty(&theirs.value(captured))?;
        let model = serde_json::to_string_pretty(&ours.value(model))?;
        let diff = similar::TextDiff::from_lines(&captured, &model);
        let diff = diff.unified_diff().context_radius(4).header("a running Kargo", "the model").to_string();
        ensure!(captured == model, "the model differs from `{file}`:\n{diff}");
    }
    Ok(())
}

/// Replaces what differs from run to run by its order of appearance.
#[derive(Default)]
pub struct Numbering {
    seen: Vec<String>,
}

impl Numbering {
    /// The value with names, ids and times replaced, and without what only an API server writes.
    pub fn value(&mut self, value: &Value) -> Value {
        /// Set by the API server or by nobody that the model plays.
        const DROPPED: [&str; 7] = [
            "uid",
            "resourceVersion",
            "finalizers",
            "generation",
            "creationTimestamp",
            "managedFields",
            "namespace",
        ];
        match value {
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Value::Object(map) => {
                let mut keys: Vec<&String> =
                    map.keys().filter(|key| !DROPPED.contains(&key.as_str())).collect();
                keys.sort();
                let fields = keys.into_iter().map(|key| match key.as_str() {
                    "longestSoak" => (key.clone(), json!("DURATION")),
                    _ => (key.clone(), self.value(&map[key])),
                });
                Value::Object(fields.collect())
            }
            other => other.clone(),
        }
    }

    fn text(&mut self, text: &str) -> String {
        if text.parse::<jiff::Timestamp>().is_ok() {
            return "TIME".to_owned();
        }
        let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let mut numbered = String::new();
        let mut rest = text;
        while !rest.is_empty() {
            let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len()).max(1);
            // A character that is no part may take several bytes.
            let end = (end..=rest.len()).find(|end| rest.is_char_boundary(*end)).unwrap_or(rest.len());
            let (part, tail) = rest.split_at(end);
            numbered.push_str(&self.part(part));
            rest = tail;
        }
        numbered
    }

    fn part(&mut self, part: &str) -> String {
        let ulid = part.len() == 26 && part.starts_with("01") && !part.contains('-');
        let uuid = part.len() == 36 && part.matches('-').count() == 4;
        let generated = part.len() == 7 && part.starts_with("p-");
        if !(ulid || uuid || generated) {
            return part.to_owned();
        }
        let number = self.seen.iter().position(|seen| seen == part).unwrap_or_else(|| {
            self.seen.push(part.to_owned());
            self.seen.len() - 1
        });
        format!("ID{number}")
    }
}

/// JSON Pointers to everything in a value but itself, in their order.
#[must_use]
pub fn pointers(value: &Value) -> Vec<String> {
    let mut open = vec![(String::new(), value)];
    let mut pointers = Vec::new();
    while let Some((at, value)) = open.pop() {
        match value {
            Value::Object(members) => {
                let escaped = |key: &str| key.replace('~', "~0").replace('/', "~1");
                open.extend(members.iter().map(|(key, value)| (format!("{at}/{}", escaped(key)), value)));
            }
            Value::Array(list) => {
                open.extend(list.iter().enumerate().map(|(index, value)| (format!("{at}/{index}"), value)));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
        pointers.push(at);
    }
    pointers.retain(|at| !at.is_empty());
    pointers.sort();
    pointers
}
