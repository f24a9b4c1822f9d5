//! The subcommands, one file each.
//!
//! In: a [`Command`]. Out: its exit code; answers go through the [`Printer`].

mod classify;
mod completion;

use policy_core::explain;
use policy_core::failure::StepHint;
use policy_core::time::format_duration;

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

/// What a step says about its own failure, in one line.
fn hint(hint: &StepHint) -> String {
    let mut parts = Vec::new();
    parts.extend(hint.class.map(|class| format!("class {}", explain::word(&class))));
    parts.extend(hint.retry.map(|retry| format!("retry {}", explain::word(&retry))));
    parts.extend(hint.retry_after_seconds.map(|seconds| format!("not before {}", format_duration(seconds))));
    parts.extend(hint.max_attempts.map(|n| format!("at most {n} attempts")));
    parts.extend(hint.reason.as_ref().map(|reason| explain::line(reason)));
    format!("step `{}` says by {}: {}", hint.step, hint.channel, parts.join(", "))
}
