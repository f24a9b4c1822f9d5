//! The program `refloat`.
//!
//! In: arguments. Out: an exit code. Everything in between is in the modules below.

mod args;
mod command_line;
mod commands;
mod exit;
mod input;
mod layout;
mod live;
mod modules;
mod objects;
mod output;
mod printer;
mod rules;
mod scene;
mod source;

use std::process::ExitCode;

/// Contexts, objects and answers are thousands of small texts; see `mimalloc` in the workspace's manifest.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let outcome = match command_line::read(std::env::args_os()) {
        Ok(args::Command::CompileComponent(args)) => return commands::compile_component::run(&args),
        outcome => outcome,
    };
    let mut printer = printer::Printer::standard();
    let ended = match outcome {
        Ok(command) => commands::run(command, &mut printer),
        Err(answer) => answer.give(&mut printer),
    };
    printer.finish(ended).into()
}
