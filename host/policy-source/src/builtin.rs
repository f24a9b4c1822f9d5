//! Policies that ship inside this program.
//!
//! In: a name. Out: the component that was embedded when this program was built. Nothing here compiles or checks it.

use crate::{Component, SourceError, digest};

/// Name and bytes, sorted by name; written by the build script.
const TABLE: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/builtins.rs"));

/// The SDK's examples in the same way: no FailurePolicy can name them.
const EXAMPLES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/examples.rs"));

/// The SDK's example of that name, for demonstrations and scenarios.
///
/// # Errors
/// When there is none; the message names those that there are, or says how to build them.
pub fn example(name: &str) -> Result<Component, SourceError> {
    find(EXAMPLES, name).map_err(|error| match error {
        SourceError::BuiltinUnknown { name, known } => SourceError::ExampleUnknown { name, known },
        other => other,
    })
}

/// The names of all built-in policies, sorted.
pub fn builtins() -> Vec<&'static str> {
    TABLE.iter().map(|(name, _)| *name).collect()
}

/// The built-in policy of that name.
///
/// # Errors
/// When there is none; the message names those that there are, or says how to build them.
pub fn builtin(name: &str) -> Result<Component, SourceError> {
    find(TABLE, name)
}

pub(crate) fn find(table: &[(&str, &[u8])], name: &str) -> Result<Component, SourceError> {
    if let Some((_, bytes)) = table.iter().find(|(known, _)| *known == name) {
        return Ok(Component { digest: digest(bytes), bytes: bytes.to_vec() });
    }
    let name = name.to_owned();
    if table.is_empty() {
        return Err(SourceError::NoBuiltins { name });
    }
    let known: Vec<String> = table.iter().map(|(known, _)| format!("`{known}`")).collect();
    Err(SourceError::BuiltinUnknown { name, known: known.join(", ") })
}
