//! The child that compiles, as a program of its own: for tests, and for installations that want it apart.
//!
//! In: two numbers (bytes of memory, seconds of processor time) as arguments, a component on stdin.
//! Out: machine code on stdout.

use std::process::ExitCode;

use policy_engine::{CompileLimits, compile_worker};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match CompileLimits::from_arguments(&arguments) {
        Some(limits) => compile_worker(std::io::stdin().lock(), std::io::stdout().lock(), limits),
        None => ExitCode::FAILURE,
    }
}
