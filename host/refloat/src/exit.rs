//! How the program ends: three codes, and the one shape that every "could not run" has.
//!
//! In: what a command found out. Out: an exit code for scripts, and for people one line that names the thing, with
//! advice on a line of its own. Nothing here prints.

use std::error::Error;
use std::process::ExitCode;

/// What scripts can rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 0: everything is as expected.
    AsExpected,
    /// 1: something differs from what was expected.
    Differs,
    /// 2: the question could not be answered.
    CouldNotRun,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::AsExpected => ExitCode::from(0),
            Exit::Differs => ExitCode::from(1),
            Exit::CouldNotRun => ExitCode::from(2),
        }
    }
}

/// Why a command could not run, and what helps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CannotRun {
    /// One line that names the thing.
    pub(crate) line: String,
    /// What to do about it; empty when nobody knows.
    pub(crate) help: String,
}

impl CannotRun {
    /// A line of our own.
    pub(crate) fn new(line: impl Into<String>, help: impl Into<String>) -> Self {
        Self { line: line.into(), help: help.into() }
    }

    /// An error with all its sources, each once: libraries leave the source out of their own text.
    pub(crate) fn from_error(error: &dyn Error, help: impl Into<String>) -> Self {
        let mut line = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            if !line.contains(&text) {
                line = format!("{line}: {text}");
            }
            source = cause.source();
        }
        // Some of our libraries bring their advice along, on a line of its own.
        match line.split_once("\nhelp: ") {
            Some((line, advice)) => Self::new(line, advice),
            None => Self::new(line, help),
        }
    }

    /// The same, with the file that it is about in front.
    pub(crate) fn in_file(self, file: &str) -> Self {
        Self { line: format!("`{file}`: {}", self.line), ..self }
    }
}

/// What every command returns.
pub(crate) type Ended = Result<Exit, CannotRun>;
