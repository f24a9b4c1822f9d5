//! `refloat completion SHELL`: a completion script.
//!
//! In: the shell. Out: its script on standard output, generated from the same definition as `--help`.

use crate::args::CompletionArgs;
use crate::command_line;
use crate::exit::{Ended, Exit};
use crate::printer::Printer;

pub(crate) fn run(args: &CompletionArgs, printer: &mut Printer) -> Ended {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command_line::definition(), "refloat", &mut script);
    printer.answer(&String::from_utf8_lossy(&script));
    Ok(Exit::AsExpected)
}
