//! Reads the command line.
//!
//! In: what was typed, and variables of the environment that stand for flags. Out: a [`Command`], or the answer to `--help`
//! and to mistakes. What can be typed is in [`crate::args`]; nothing is looked up here.

use std::ffi::OsString;

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, FromArgMatches as _};

use crate::args::{Arguments, Command};
use crate::exit::{CannotRun, Ended, Exit};
use crate::printer::Printer;

/// What is said when there is no command to run.
#[derive(Debug)]
pub(crate) enum Answer {
    /// `--help` and `--version`.
    Asked(String),
    /// Arguments that make no sense.
    Mistake(CannotRun),
}

impl Answer {
    /// Says it.
    pub(crate) fn give(self, printer: &mut Printer) -> Ended {
        match self {
            Self::Asked(text) => {
                printer.answer(&text);
                Ok(Exit::AsExpected)
            }
            Self::Mistake(reason) => Err(reason),
        }
    }
}

/// Reads the command line.
///
/// # Errors
/// The answer to give instead of running a command.
pub(crate) fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, Answer> {
    let arguments = helped(arguments.into_iter().collect());
    let mut definition = without_empty(definition());
    let read = definition.try_get_matches_from_mut(&arguments);
    let read = read.and_then(|matches| Arguments::from_arg_matches(&matches));
    read.map(|read| read.command).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Answer::Asked(error.to_string()),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            Answer::Mistake(CannotRun::new("a subcommand is needed", "`refloat --help` lists them"))
        }
        _ => {
            let mut mistake = mistake(&error);
            if let Some(variable) = by_environment(&error, &arguments) {
                mistake.line += &format!(", which the environment's `{variable}` says");
            }
            Answer::Mistake(mistake)
        }
    })
}

/// `refloat help NAME` is what people try first, and means `refloat NAME --help`.
fn helped(mut arguments: Vec<OsString>) -> Vec<OsString> {
    if arguments.get(1).is_some_and(|first| first == "help") {
        arguments.remove(1);
        arguments.truncate(2);
        arguments.push("--help".into());
    }
    arguments
}

/// A variable that is empty counts as not set.
fn without_empty(definition: clap::Command) -> clap::Command {
    let names: Vec<String> = definition.get_subcommands().map(|one| one.get_name().to_owned()).collect();
    names.iter().fold(definition, |definition, name| {
        definition.mut_subcommand(name, |command| {
            command.mut_args(|argument| {
                let value = argument.get_env().and_then(std::env::var_os);
                let is_empty = value.is_some_and(|value| value.is_empty());
                if is_empty { argument.env(Resettable::Reset) } else { argument }
            })
        })
    })
}

/// The variable that a wrong value comes from, when nobody has typed it.
fn by_environment(error: &clap::Error, arguments: &[OsString]) -> Option<String> {
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else { return None };
    let flag = argument.split_whitespace().next()?;
    if arguments.iter().any(|typed| typed.to_string_lossy().starts_with(flag)) {
        return None;
    }
    let definition = definition();
    let command = definition.find_subcommand(arguments.get(1)?)?;
    let mut all = command.get_arguments();
    let argument =
        all.find(|one| one.get_long().is_some_and(|long| flag.strip_prefix("--") == Some(long)))?;
    let variable = argument.get_env()?;
    std::env::var_os(variable).map(|_| variable.to_string_lossy().into_owned())
}

/// clap's texts are paragraphs: the first one is the mistake, its tip is the advice.
fn mistake(error: &clap::Error) -> CannotRun {
    let text = error.to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let line =
        first.strip_prefix("error: ").unwrap_or(first).split_whitespace().collect::<Vec<_>>().join(" ");
    let suggestion =
        match error.get(ContextKind::SuggestedSubcommand).or(error.get(ContextKind::SuggestedArg)) {
            Some(ContextValue::String(name)) => Some(name.clone()),
            Some(ContextValue::Strings(names)) => names.first().cloned(),
            _ => None,
        };
    let help = match suggestion {
        Some(name) => format!("did you mean `{name}`?"),
        None => "the same command with `--help` explains its arguments".to_owned(),
    };
    CannotRun::new(line, help)
}

/// The whole command line, for completion scripts.
pub(crate) fn definition() -> clap::Command {
    Arguments::command()
}
