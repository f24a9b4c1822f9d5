//! `refloat compile-component`: the child that compiles one component for the engine, under the engine's limits.
//!
//! In: limits as arguments, a component on standard input. Out: machine code on standard output.
//! Hidden, because only the engine calls it; it bypasses the printer, because its answer is not text.

use std::process::ExitCode;

use policy_engine::CompileLimits;

use crate::args::CompileComponentArgs;

pub(crate) fn run(args: &CompileComponentArgs) -> ExitCode {
    match CompileLimits::from_arguments(&args.limits) {
        Some(limits) => {
            policy_engine::compile_worker(std::io::stdin().lock(), std::io::stdout().lock(), limits)
        }
        None => ExitCode::FAILURE,
    }
}
