//! `refloat compile-component`: the child that compiles one component for the engine, under the engine's limits.
//!
//! In: what the engine passes. Out: what the engine reads. Hidden, because only the engine calls it.

use crate::args::CompileComponentArgs;
use crate::exit::{CannotRun, Ended, Exit};

pub(crate) fn run(args: &CompileComponentArgs) -> Ended {
    policy_engine::compile_worker(&args.rest)
        .map(|()| Exit::AsExpected)
        .map_err(|error| CannotRun::from_error(&error, ""))
}
