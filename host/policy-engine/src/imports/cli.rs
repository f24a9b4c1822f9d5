//! `wasi:cli`: no arguments, no environment, no terminal, nothing on stdin; what is printed becomes log lines.
//!
//! In: nothing. Out: empty answers. `exit` ends the guest like a trap, whatever status it gives.

use wasmtime::StoreContextMut;
use wasmtime::component::{LinkerInstance, Resource, ResourceType};

use super::io::{InputStream, OutputStream, representation};
use super::{CALL_COST, charge};
use crate::guest_fault::GuestExit;
use crate::sandbox::{Sandbox, Stream};

struct TerminalInput;
struct TerminalOutput;

type Store<'a> = StoreContextMut<'a, Sandbox>;
type Instance<'a, 'b> = &'a mut LinkerInstance<'b, Sandbox>;

pub(super) fn environment(instance: Instance<'_, '_>) -> wasmtime::Result<()> {
    instance.func_wrap("get-environment", |mut store: Store<'_>, (): ()| {
        charge(&mut store, CALL_COST)?;
        Ok((Vec::<(String, String)>::new(),))
    })?;
    instance.func_wrap("get-arguments", |mut store: Store<'_>, (): ()| {
        charge(&mut store, CALL_COST)?;
        Ok((Vec::<String>::new(),))
    })?;
    instance.func_wrap("initial-cwd", |mut store: Store<'_>, (): ()| {
        charge(&mut store, CALL_COST)?;
        Ok((None::<String>,))
    })
}

pub(super) fn exit(instance: Instance<'_, '_>) -> wasmtime::Result<()> {
    instance.func_wrap("exit", |_: Store<'_>, (status,): (Result<(), ()>,)| -> wasmtime::Result<()> {
        Err(GuestExit { status: u8::from(status.is_err()) }.into())
    })?;
    instance.func_wrap("exit-with-code", |_: Store<'_>, (status,): (u8,)| -> wasmtime::Result<()> {
        Err(GuestExit { status }.into())
    })
}

pub(super) fn stdin(instance: Instance<'_, '_>) -> wasmtime::Result<()> {
    instance.func_wrap("get-stdin", |mut store: Store<'_>, (): ()| {
        charge(&mut store, CALL_COST)?;
        Ok((Resource::<InputStream>::new_own(0),))
    })
}

pub(super) fn stdout(instance: Instance<'_, '_>) -> wasmtime::Result<()> {
    instance.func_wrap("get-stdout", |mut store: Store<'_>, (): ()| {
        charge(&mut store, CALL_COST)?;
        Ok((Resource::<OutputStream>::new_own(representation(Stream::Stdout)),))
    })
}

pub(super) fn stderr(instance: Instance<'_, '_>) -> wasmtime::Result<()> {
    instance.func_wrap("get-stderr", |mut store: Store<'_>, (): ()| {
        charge(&mut store, CALL_COST)?;
        Ok((Resource::<OutputStream>::new_own(representation(Stream::Stderr)),))
    })
}

pub(super) fn terminal_input(instance: Instance<'_, '_>) -> wasmtime::Result<()> {
    instance.resource("terminal-input", ResourceType::host::<TerminalInput>(), |_, _| Ok(()))
}

pub(super) fn terminal_output(instance: Instance<'_, '_>) -> wasmtime::Result<()> {
    instance.resource("terminal-output", ResourceType::host::<TerminalOutput>(), |_, _| Ok(()))
}

pub(super) fn terminal_stdin(instance: Instance<'_, '_>) -> wasmtime::Result<()> {
    instance.func_wrap("get-terminal-stdin", |mut store: Store<'_>, (): ()| {
        charge(&mut store, CALL_COST)?;
        Ok((None::<Resource<TerminalInput>>,))
    })
}

pub(super) fn terminal_stdout(instance: Instance<'_, '_>) -> wasmtime::Result<()> {
    no_terminal_output(instance, "get-terminal-stdout")
}

pub(super) fn terminal_stderr(instance: Instance<'_, '_>) -> wasmtime::Result<()> {
    no_terminal_output(instance, "get-terminal-stderr")
}

fn no_terminal_output(instance: Instance<'_, '_>, name: &str) -> wasmtime::Result<()> {
    instance.func_wrap(name, |mut store: Store<'_>, (): ()| {
        charge(&mut store, CALL_COST)?;
        Ok((None::<Resource<TerminalOutput>>,))
    })
}
