//! Seeds out of what the repository holds already: captures of a running Kargo, and cases.
//!
//! In: folders of the repository. Out: documents, texts in them, and for libFuzzer one file per seed in the folder that
//! the variable `FUZZ_SEEDS` names.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// Longest seed: longer ones are cut by libFuzzer, and mean nothing then.
pub const MAX_BYTES: usize = 64 * 1024;

/// Writes the seeds if somebody wants them.
pub fn write(seeds: fn() -> Vec<Vec<u8>>) {
    let Some(folder) = std::env::var_os("FUZZ_SEEDS").map(PathBuf::from) else { return };
    for (number, seed) in seeds().iter().filter(|seed| seed.len() <= MAX_BYTES).enumerate() {
        let file = folder.join(format!("seed-{number:05}"));
        std::fs::write(&file, seed)
            .unwrap_or_else(|error| panic!("cannot write `{}`: {error}", file.display()));
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A file of the repository.
pub fn file(path: &str) -> String {
    std::fs::read_to_string(repository().join(path))
        .unwrap_or_else(|error| panic!("cannot read `{path}`: {error}"))
}

/// All files below `folder` with that ending, in the order of their paths.
pub fn files(folder: &str, ending: &str) -> Vec<String> {
    paths(folder, ending).iter().filter_map(|path| std::fs::read_to_string(path).ok()).collect()
}

fn paths(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut open = vec![repository().join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        let entries = std::fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("cannot list `{}`: {error}", folder.display()));
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The documents of all YAML files below `folder`.
pub fn documents(folder: &str) -> impl Iterator<Item = Value> {
    files(folder, "yaml").into_iter().flat_map(|text| parsed(&text))
}

/// The objects of each folder below `folder` together: one scene of a running Kargo each.
pub fn scenes(folder: &str) -> Vec<Vec<Value>> {
    let mut scenes: std::collections::BTreeMap<PathBuf, Vec<Value>> = Default::default();
    for path in paths(folder, "yaml") {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        scenes.entry(path.parent().unwrap_or(&path).to_owned()).or_default().extend(parsed(&text));
    }
    scenes.into_values().collect()
}

/// Documents of one text; a list counts as several.
pub fn parsed(text: &str) -> Vec<Value> {
    let options = serde_saphyr::options! { strict_booleans: true };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options).unwrap_or_default();
    documents.into_iter().flat_map(|one| if let Value::Array(all) = one { all } else { vec![one] }).collect()
}

/// Texts below any of these keys, wherever they stand.
pub fn texts(document: &Value, keys: &[&str]) -> Vec<String> {
    members(document, keys).into_iter().filter_map(|value| value.as_str().map(str::to_owned)).collect()
}

/// What stands below any of these keys.
pub fn members(document: &Value, keys: &[&str]) -> Vec<Value> {
    let mut open = vec![document];
    let mut found = Vec::new();
    while let Some(value) = open.pop() {
        match value {
            Value::Object(fields) => {
                found.extend(
                    fields
                        .iter()
                        .filter(|(key, _)| keys.contains(&key.as_str()))
                        .map(|(_, value)| value.clone()),
                );
                open.extend(fields.values());
            }
            Value::Array(items) => open.extend(items),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    found
}
