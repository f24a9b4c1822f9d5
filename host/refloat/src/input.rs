//! Reads files that people name: YAML or JSON documents, and bytes.
//!
//! In: a path, or `-` for standard input. Out: a checked value, or an error that names file and field.
//! Reads only what it is told to read, at most [`MAX_BYTES`], and never guesses at a wrong field.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::exit::CannotRun;

/// No context, record or component is larger; a wrong path should not fill the memory.
pub(crate) const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Why a file could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    /// There is no such file.
    #[error("there is no file `{path}`")]
    Missing { path: String },
    /// It is a folder.
    #[error("`{path}` is a folder, a file is needed")]
    Folder { path: String },
    /// The system says no.
    #[error("cannot read `{path}`")]
    Read { path: String, source: std::io::Error },
    /// Nothing in it.
    #[error("`{path}` is empty")]
    Empty { path: String },
    /// More than anything that belongs here.
    #[error("`{path}` has more than {limit} MiB")]
    TooLarge { path: String, limit: u64 },
    /// Bytes that are no text.
    #[error("`{path}` is not text: byte {position} is not UTF-8")]
    NotText { path: String, position: usize },
    /// Not YAML.
    #[error("`{path}` is not YAML: {problem}")]
    NotYaml { path: String, problem: String },
    /// A text or a number where an object is needed.
    #[error("`{path}` holds {found}, a YAML or JSON object is needed")]
    NotObject { path: String, found: &'static str },
    /// A field is wrong.
    #[error("`{path}` is no {what}: {problem} at `{field}`")]
    Field { path: String, what: &'static str, field: String, problem: String, expected: String },
}

impl InputError {
    fn help(&self) -> String {
        match self {
            Self::Missing { .. } => "check the path; `-` reads from standard input".to_owned(),
            Self::Folder { .. } => "name a file in it".to_owned(),
            Self::Read { .. } => "check that you may read it".to_owned(),
            Self::Empty { .. } => "a write that was cut off leaves empty files; make it again".to_owned(),
            Self::TooLarge { .. } => "check the path".to_owned(),
            Self::NotText { .. } => "this looks like a binary file; components go to `--module`".to_owned(),
            Self::NotYaml { .. } => "check indentation, quotes and tabs there".to_owned(),
            Self::NotObject { .. } => "its first level is `key: value` lines".to_owned(),
            Self::Field { expected, .. } if expected.is_empty() => "fix that field".to_owned(),
            Self::Field { expected, .. } => expected.clone(),
        }
    }
}

impl From<InputError> for CannotRun {
    fn from(error: InputError) -> Self {
        Self::from_error(&error, error.help())
    }
}

/// A file that was named on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// `-`.
    Standard,
    /// A path.
    File(PathBuf),
}

impl From<&str> for Place {
    fn from(text: &str) -> Self {
        if text == "-" { Self::Standard } else { Self::File(PathBuf::from(text)) }
    }
}

impl Place {
    /// How it is called in messages.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Standard => "standard input".to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }
}

/// All bytes of a file, at least one.
pub(crate) fn bytes(place: &Place) -> Result<Vec<u8>, InputError> {
    let path = place.name();
    let mut bytes = Vec::new();
    let read = match place {
        Place::Standard => std::io::stdin().lock().take(MAX_BYTES + 1).read_to_end(&mut bytes),
        Place::File(file) => open(file)?.take(MAX_BYTES + 1).read_to_end(&mut bytes),
    };
    read.map_err(|source| InputError::Read { path: path.clone(), source })?;
    if bytes.is_empty() {
        return Err(InputError::Empty { path });
    }
    if bytes.len() as u64 > MAX_BYTES {
        return Err(InputError::TooLarge { path, limit: MAX_BYTES / 1024 / 1024 });
    }
    Ok(bytes)
}

fn open(file: &Path) -> Result<std::fs::File, InputError> {
    let path = file.display().to_string();
    if file.is_dir() {
        return Err(InputError::Folder { path });
    }
    std::fs::File::open(file).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => InputError::Missing { path },
        _ => InputError::Read { path, source },
    })
}

/// The text of a file.
pub(crate) fn text(place: &Place) -> Result<String, InputError> {
    String::from_utf8(bytes(place)?).map_err(|error| InputError::NotText {
        path: place.name(),
        position: error.utf8_error().valid_up_to(),
    })
}

/// The one YAML or JSON document of a file, which must be an object.
pub(crate) fn object(place: &Place) -> Result<Value, InputError> {
    parse_object(&text(place)?, &place.name())
}

/// The object in `text`, called `path` in messages.
pub(crate) fn parse_object(text: &str, path: &str) -> Result<Value, InputError> {
    // Digits with leading zeros are names and tags (`0755`, a commit), never numbers that we ask for; `y` and `no` are
    // texts, as in YAML 1.2.
    let options = serde_saphyr::options! { leading_zero_numbers_as_strings: true, strict_booleans: true, with_snippet: false };
    let value: Value = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let problem = error.render().lines().next().unwrap_or_default().to_owned();
        InputError::NotYaml { path: path.to_owned(), problem }
    })?;
    let found = match &value {
        Value::Object(_) => return Ok(value),
        Value::Null => "nothing but comments",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "plain text",
        Value::Array(_) => "a list",
    };
    Err(InputError::NotObject { path: path.to_owned(), found })
}

/// A file as a `what`.
pub(crate) fn document<T: DeserializeOwned>(place: &Place, what: &'static str) -> Result<T, InputError> {
    checked(object(place)?, &place.name(), what)
}

/// `value` as a `what`, with the path of the first field that does not fit.
pub(crate) fn checked<T: DeserializeOwned>(
    value: Value,
    path: &str,
    what: &'static str,
) -> Result<T, InputError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let field = error.path().to_string();
        let text = error.inner().to_string();
        // serde's texts list what would fit after a comma: that is advice, and goes to the line of advice.
        let (problem, expected) = match text.split_once(", expected ") {
            Some((problem, expected)) => (problem.to_owned(), format!("expected {}", in_words(expected))),
            None => (text, String::new()),
        };
        let field = if field == "." { "the top".to_owned() } else { field };
        InputError::Field { path: path.to_owned(), what, field, problem, expected }
    })
}

/// Names of Rust's types are no help to people.
fn in_words(expected: &str) -> String {
    match expected {
        "u8" => "a whole number from 0 to 255".to_owned(),
        "u32" => format!("a whole number from 0 to {}", u32::MAX),
        "i32" => format!("a whole number from {} to {}", i32::MIN, i32::MAX),
        other => other.to_owned(),
    }
}
