//! The subcommands, one file each.
//!
//! In: a [`Command`]. Out: its exit code; answers go through the [`Printer`].

mod captured;
mod classify;
pub(crate) mod compile_component;
mod completion;
mod controller;
mod crds;
mod decide;
mod demo;
mod explain;
mod explain_incident;
mod inspect;
mod record;
mod replay;
mod simulate;

use policy_core::decision::Action;
use policy_core::explain as say;
use policy_core::failure::StepHint;
use policy_core::guest_fault::GuestFaultKind;
use policy_core::settings::Problem;
use policy_core::time::format_duration;

use crate::args::Command;
use crate::exit::{CannotRun, Ended};
use crate::printer::Printer;

/// Runs one command.
pub(crate) fn run(command: Command, printer: &mut Printer) -> Ended {
    match command {
        Command::Demo(args) => demo::run(&args, printer),
        Command::Simulate(args) => simulate::run(&args, printer),
        Command::Decide(args) => decide::run(&args, printer),
        Command::Inspect(args) => inspect::run(&args, printer),
        Command::Replay(args) => replay::run(&args, printer),
        Command::Classify(args) => classify::run(&args, printer),
        Command::Record(args) => record::run(&args, printer),
        Command::Explain(args) => explain::run(&args, printer),
        Command::Crds(_) => crds::crds(printer),
        Command::Install(args) => crds::install(&args, printer),
        Command::Enable(args) => crds::enable(&args, printer),
        Command::Controller(args) => controller::run(&args),
        Command::Completion(args) => completion::run(&args, printer),
        Command::CompileComponent(_) => unreachable!("main runs it before there is a printer"),
    }
}

/// What a step says about its own failure, in one line.
fn hint(hint: &StepHint) -> String {
    let mut parts = Vec::new();
    parts.extend(hint.class.map(|class| format!("class {}", say::word(&class))));
    parts.extend(hint.retry.map(|retry| format!("retry {}", say::word(&retry))));
    parts.extend(hint.retry_after_seconds.map(|seconds| format!("not before {}", format_duration(seconds))));
    parts.extend(hint.max_attempts.map(|n| format!("at most {n} attempts")));
    parts.extend(hint.reason.as_ref().map(|reason| say::line(reason)));
    parts.extend(hint.extra.iter().map(|(key, value)| format!("{key} {}", say::line(value))));
    let said = if parts.is_empty() { "nothing that is understood here".to_owned() } else { parts.join(", ") };
    format!("step `{}` says by {}: {said}", hint.step, hint.channel)
}

/// What a policy wants, and its reason.
fn action(action: &Action) -> String {
    match say::line(&action.reason).as_str() {
        "" => say::operation(&action.operation),
        reason => format!("{}, because: {reason}", say::operation(&action.operation)),
    }
}

/// Settings that a module does not take: the first problem in the line, and how many more there are.
fn wrong_settings(place: &str, module: &str, problems: &[Problem]) -> CannotRun {
    let first = problems.first();
    let path = match first.map(|problem| problem.path.as_str()).unwrap_or_default() {
        "" => "the top",
        path => path,
    };
    let message = first.map(|problem| problem.message.as_str()).unwrap_or("not accepted");
    let more = match problems.len() {
        0 | 1 => String::new(),
        n => format!(" (and {} more)", n - 1),
    };
    CannotRun::new(
        format!("`{place}` does not fit `{module}`: {message} at `{path}`{more}"),
        format!("`refloat inspect {module}` lists its settings"),
    )
}

/// What helps against a guest fault, and who has to act.
fn fault_help(kind: GuestFaultKind) -> &'static str {
    match kind {
        GuestFaultKind::OutOfFuel => "look for a loop that does not end; fuel is the same everywhere",
        GuestFaultKind::Deadline => "this machine was too slow for the backstop; try again",
        GuestFaultKind::Memory | GuestFaultKind::Table => {
            "keep less in memory; `refloat inspect` shows its size"
        }
        GuestFaultKind::StackOverflow => "look for a recursion that does not end",
        GuestFaultKind::Trap => "it is the policy's own code that failed; its first line is above",
        GuestFaultKind::TooLarge => "answer and log less",
        GuestFaultKind::Malformed => "build it against the contract in `wit/` with an SDK of the same track",
        GuestFaultKind::ContractViolation => {
            "declare every action in its manifest, and keep to the contract's limits"
        }
        GuestFaultKind::PolicyError => "the policy says so itself; check its settings",
        GuestFaultKind::NotLoaded => "the status of its module says what it lacks",
        GuestFaultKind::Instantiation => "it asks for more than a policy gets before it even begins",
        GuestFaultKind::Disabled => "change its settings or its component to have it asked again",
    }
}
