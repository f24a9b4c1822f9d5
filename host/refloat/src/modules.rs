//! Policies by the names that people type: a path, or `builtin:NAME`.
//!
//! In: a [`ModuleRef`] and the engine. Out: a loaded policy with its digest, or one line on why not.
//! Built-in policies are files beside the program; nothing is fetched from anywhere.

use std::path::PathBuf;

use crate::input::Place;

/// A policy as it was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ModuleRef {
    /// One that comes with the program.
    Builtin(String),
    /// A component file.
    File(Place),
}

impl From<&str> for ModuleRef {
    fn from(text: &str) -> Self {
        match text.strip_prefix("builtin:") {
            Some(name) => Self::Builtin(name.to_owned()),
            None => Self::File(Place::File(PathBuf::from(text))),
        }
    }
}

impl std::fmt::Display for ModuleRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Builtin(name) => write!(f, "builtin:{name}"),
            Self::File(place) => f.write_str(&place.name()),
        }
    }
}
