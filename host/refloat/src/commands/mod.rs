//! The subcommands, one file each.
//!
//! In: a [`Command`]. Out: its exit code; answers go through the [`Printer`].

mod classify;
mod completion;

use crate::args::Command;
use crate::exit::{CannotRun, Ended};
use crate::printer::Printer;

/// Runs one command.
pub(crate) fn run(command: Command, printer: &mut Printer) -> Ended {
    match command {
        Command::Classify(args) => classify::run(&args, printer),
        Command::Completion(args) => completion::run(&args, printer),
        _ => Err(CannotRun::new("not wired yet", "")),
    }
}
