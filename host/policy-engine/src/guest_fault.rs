//! From wasmtime's errors to guest faults: whose fault it was, in one sentence.
//!
//! In: the error of a call and the sandbox that it left. Out: a [`GuestFault`]. Kinds are read from types, never
//! from texts, with one exception that has no type (`is_too_much_data`) and a test that watches it.

use policy_core::guest_fault::{GuestFault, GuestFaultKind};
use wasmtime::{Trap, WasmBacktrace};

use crate::limits::{Denied, Limits};
use crate::sandbox::{Sandbox, clean};

/// The most of a message that is kept.
const MESSAGE_BYTES: usize = 1 << 10;

/// Lines of the log that go with a fault.
const FAULT_LOG_LINES: usize = 20;

/// A guest ended itself through `wasi:cli/exit`.
#[derive(Debug, thiserror::Error)]
#[error("the guest ended itself with status {status}")]
pub(crate) struct GuestExit {
    pub(crate) status: u8,
}

/// An answer that arrived and is not acceptable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) kind: GuestFaultKind,
    pub(crate) message: String,
}

impl Broken {
    pub(crate) fn new(kind: GuestFaultKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub(crate) fn contract(message: impl Into<String>) -> Self {
        Self::new(GuestFaultKind::ContractViolation, message)
    }
}

/// The fault of an answer that is not acceptable.
pub(crate) fn broken(broken: Broken, log: &[String]) -> GuestFault {
    GuestFault {
        kind: broken.kind,
        message: clean(&broken.message, MESSAGE_BYTES),
        reproducible: true,
        log: tail(log),
    }
}

/// The last lines of a log.
pub(crate) fn tail(log: &[String]) -> Vec<String> {
    log.iter().skip(log.len().saturating_sub(FAULT_LOG_LINES)).cloned().collect()
}

/// Kind and message of a call that ended with an error. The log is added by the caller, who owns it.
pub(crate) fn of_error(error: &wasmtime::Error, sandbox: &mut Sandbox, limits: &Limits) -> GuestFault {
    let (kind, seen) = kind_of(error, sandbox, limits);
    let own_end = matches!(kind, GuestFaultKind::Trap);
    let message = match sandbox.log.last_words() {
        Some(words) if own_end => words,
        _ => seen,
    };
    GuestFault {
        kind,
        message: clean(&message, MESSAGE_BYTES),
        reproducible: kind != GuestFaultKind::Deadline,
        log: Vec::new(),
    }
}

fn kind_of(error: &wasmtime::Error, sandbox: &Sandbox, limits: &Limits) -> (GuestFaultKind, String) {
    if let Some(denied) = sandbox.meter.denied.as_ref().or_else(|| error.downcast_ref::<Denied>()) {
        let kind = match denied {
            Denied::Memory { .. } => GuestFaultKind::Memory,
            Denied::Table { .. } => GuestFaultKind::Table,
        };
        return (kind, format!("the guest {denied}"));
    }
    if let Some(exit) = error.downcast_ref::<GuestExit>() {
        return (GuestFaultKind::Trap, exit.to_string());
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return of_trap(*trap, error, limits);
    }
    if error.downcast_ref::<std::str::Utf8Error>().is_some() {
        return (GuestFaultKind::Malformed, "the guest handed over a text that is not UTF-8".to_owned());
    }
    if is_too_much_data(error) {
        let most = limits.answer_bytes;
        return (GuestFaultKind::TooLarge, format!("the guest handed over more than {most} bytes at once"));
    }
    if error.downcast_ref::<WasmBacktrace>().is_some() {
        // The host refused something that the guest asked of it, in the middle of a call.
        return (GuestFaultKind::Trap, error.root_cause().to_string());
    }
    (GuestFaultKind::Malformed, error.root_cause().to_string())
}

fn of_trap(trap: Trap, error: &wasmtime::Error, limits: &Limits) -> (GuestFaultKind, String) {
    match trap {
        Trap::OutOfFuel => (
            GuestFaultKind::OutOfFuel,
            format!("the guest used up its fuel: {} and its context's share", limits.fuel),
        ),
        Trap::Interrupt => {
            let wall = limits.wall.as_millis();
            (GuestFaultKind::Deadline, format!("the guest was still running after {wall} ms"))
        }
        Trap::StackOverflow => (GuestFaultKind::StackOverflow, "the guest recursed too deeply".to_owned()),
        Trap::InvalidChar
        | Trap::StringOutOfBounds
        | Trap::ListOutOfBounds
        | Trap::InvalidDiscriminant
        | Trap::UnalignedPointer => (GuestFaultKind::Malformed, format!("the guest handed over {trap}")),
        // The rest is the guest's own end. New traps of wasmtime belong here, too: the enum is open.
        other => (GuestFaultKind::Trap, format!("{other}{}", place(error))),
    }
}

/// The function in which a bare trap happened, when the component kept its names.
fn place(error: &wasmtime::Error) -> String {
    let name = error
        .downcast_ref::<WasmBacktrace>()
        .and_then(|backtrace| backtrace.frames().iter().find_map(|frame| frame.func_name()));
    name.map(|name| format!(" in `{name}`")).unwrap_or_default()
}

/// wasmtime keeps this error's type to itself, so its text is all there is to go by.
fn is_too_much_data(error: &wasmtime::Error) -> bool {
    error.root_cause().to_string().contains("fuel allocated for hostcalls has been exhausted")
}
