//! Reads files that people name: YAML or JSON documents, and bytes.
//!
//! In: a path, or `-` for standard input. Out: a checked value, or an error that names file and field.
//! Reads only what it is told to read, at most [`MAX_BYTES`], and never guesses at a wrong field.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

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
    /// Standard input can be read once.
    #[error("standard input is named twice with `-`")]
    Twice,
    /// More than anything that belongs here.
    #[error("`{path}` has more than {limit} MiB")]
    TooLarge { path: String, limit: u64 },
    /// Bytes that are no text.
    #[error("`{path}` is not text: byte {position} is not UTF-8")]
    NotText { path: String, position: usize },
    /// Text of another encoding.
    #[error("`{path}` is UTF-16 text, and UTF-8 is needed")]
    Utf16 { path: String },
    /// Not YAML, or more of it than is needed.
    #[error("`{path}` {what}")]
    NotYaml { path: String, what: String, help: &'static str },
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
            Self::Empty { path } if path == STANDARD => {
                "the command before the pipe printed nothing; see what it says by itself".to_owned()
            }
            Self::Empty { .. } => "a write that was cut off leaves empty files; make it again".to_owned(),
            Self::Twice => "give all but one of them as files".to_owned(),
            Self::TooLarge { .. } => "check the path".to_owned(),
            Self::NotText { .. } => "this looks like a binary file; components go to `--module`".to_owned(),
            Self::Utf16 { .. } => {
                "save it as UTF-8; in PowerShell, `COMMAND | Out-File -Encoding utf8 FILE` does".to_owned()
            }
            Self::NotYaml { help, .. } => (*help).to_owned(),
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

/// How standard input is called in messages.
const STANDARD: &str = "standard input";

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
            Self::Standard => STANDARD.to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }
}

/// Whether standard input was read, which can be done once.
static WAS_READ: AtomicBool = AtomicBool::new(false);

/// All bytes of a file, at least one.
pub(crate) fn bytes(place: &Place) -> Result<Vec<u8>, InputError> {
    let path = place.name();
    let mut bytes = Vec::new();
    let read = match place {
        Place::Standard if WAS_READ.swap(true, Ordering::Relaxed) => return Err(InputError::Twice),
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

/// The text of a file, without the mark that some editors put before UTF-8.
pub(crate) fn text(place: &Place) -> Result<String, InputError> {
    let bytes = bytes(place)?;
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(InputError::Utf16 { path: place.name() });
    }
    let text = String::from_utf8(bytes).map_err(|error| InputError::NotText {
        path: place.name(),
        position: error.utf8_error().valid_up_to(),
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
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
        let (what, help) = not_yaml(&error);
        InputError::NotYaml { path: path.to_owned(), what, help }
    })?;
    an_object(value, path)
}

/// What is wrong with a document, said after its name, and what to do. The parser speaks to programmers.
pub(crate) fn not_yaml(error: &serde_saphyr::Error) -> (String, &'static str) {
    use serde_saphyr::Error;
    let text = error.render().lines().next().unwrap_or_default().to_owned();
    let place = text.rfind(" at line ").and_then(|at| text.get(at..)).unwrap_or_default();
    match error.without_snippet() {
        Error::MultipleDocuments { .. } => (
            "holds several documents, and one is needed".to_owned(),
            "a line `---` begins another document; put each into a file of its own",
        ),
        Error::DuplicateMappingKey { key, .. } => {
            let key = key.as_ref().map_or_else(|| "a key".to_owned(), |key| format!("`{key}`"));
            (format!("is not YAML: {key} stands there twice, again{place}"), "take one of them out")
        }
        Error::RecursiveReferencesRequireWeakTypes { .. } => {
            ("is not YAML: an anchor is part of itself".to_owned(), "write out what `*` stands for")
        }
        Error::Budget { .. } => (
            format!("holds more than can be read at once{place}"),
            "take out what is not needed; anchors and aliases count as often as they are used",
        ),
        _ => (format!("is not YAML: {text}"), "check indentation, quotes and tabs there"),
    }
}

/// A document that must be an object; `path` is how it is called in messages.
pub(crate) fn an_object(value: Value, path: &str) -> Result<Value, InputError> {
    match found(&value) {
        None => Ok(value),
        Some(found) => Err(InputError::NotObject { path: path.to_owned(), found }),
    }
}

/// What a document is that is no object.
pub(crate) fn found(value: &Value) -> Option<&'static str> {
    match value {
        Value::Object(_) => None,
        Value::Null => Some("nothing but comments"),
        Value::Bool(_) => Some("a truth value"),
        Value::Number(_) => Some("a number"),
        Value::String(_) => Some("plain text"),
        Value::Array(_) => Some("a list"),
    }
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
            None => {
                let missing = text.strip_prefix("missing field ").map(|name| format!("add {name} there"));
                (text, missing.unwrap_or_default())
            }
        };
        let field = if field == "." { "the top".to_owned() } else { field };
        InputError::Field { path: path.to_owned(), what, field, problem, expected }
    })
}

/// Names of Rust's types are no help to people.
fn in_words(expected: &str) -> String {
    match expected {
        "u8" => "a whole number from 0 to 255".to_owned(),
        "u64" => "a whole number from 0".to_owned(),
        "u32" => format!("a whole number from 0 to {}", u32::MAX),
        "i32" => format!("a whole number from {} to {}", i32::MIN, i32::MAX),
        other => other.to_owned(),
    }
}
