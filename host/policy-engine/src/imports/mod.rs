//! What a guest may import: `log`, and a WASI that gives nothing and never waits.
//!
//! In: the names a component imports. Out: a linker that has exactly these, under exactly these names, whatever
//! 0.2.x version of WASI they carry. Every host function costs fuel, so that calling the host in a loop ends like
//! any other loop.

mod cli;
mod clocks;
mod filesystem;
mod io;
mod log;
mod random;

use wasmtime::component::{Component, Linker, LinkerInstance};
use wasmtime::{StoreContextMut, Trap};

use crate::sandbox::Sandbox;

/// Fuel for one call of the host: about what the call itself takes.
pub(crate) const CALL_COST: u64 = 500;

/// The package of the contract.
pub(crate) const PACKAGE: &str = "refloat:failure-policy";

type Define = fn(&mut LinkerInstance<'_, Sandbox>) -> wasmtime::Result<()>;

/// Interfaces of WASI that are admitted, and what stands behind each.
const WASI: &[(&str, Define)] = &[
    ("wasi:io/error", io::error),
    ("wasi:io/poll", io::poll),
    ("wasi:io/streams", io::streams),
    ("wasi:cli/environment", cli::environment),
    ("wasi:cli/exit", cli::exit),
    ("wasi:cli/stdin", cli::stdin),
    ("wasi:cli/stdout", cli::stdout),
    ("wasi:cli/stderr", cli::stderr),
    ("wasi:cli/terminal-input", cli::terminal_input),
    ("wasi:cli/terminal-output", cli::terminal_output),
    ("wasi:cli/terminal-stdin", cli::terminal_stdin),
    ("wasi:cli/terminal-stdout", cli::terminal_stdout),
    ("wasi:cli/terminal-stderr", cli::terminal_stderr),
    ("wasi:clocks/monotonic-clock", clocks::monotonic),
    ("wasi:clocks/wall-clock", clocks::wall),
    ("wasi:random/random", random::random),
    ("wasi:random/insecure", random::insecure),
    ("wasi:random/insecure-seed", random::insecure_seed),
    ("wasi:filesystem/preopens", filesystem::preopens),
];

/// The interface whose functions all take a handle that no guest can ever have.
const WASI_FILES: &str = "wasi:filesystem/types";

/// Interface and version of an import or export name.
pub(crate) fn split(name: &str) -> (&str, Option<&str>) {
    match name.split_once('@') {
        Some((interface, version)) => (interface, Some(version)),
        None => (name, None),
    }
}

/// Whether a component may import that.
pub(crate) fn is_admitted(name: &str) -> bool {
    let (interface, version) = split(name);
    let version = version.unwrap_or_default();
    if interface == "refloat:failure-policy/log" {
        return version.starts_with("0.1.");
    }
    let known = interface == WASI_FILES || WASI.iter().any(|(admitted, _)| *admitted == interface);
    known && version.starts_with("0.2.")
}

/// Links what that component imports, and nothing else.
pub(crate) fn link(component: &Component) -> wasmtime::Result<Linker<Sandbox>> {
    let engine = component.engine();
    let mut linker = Linker::new(engine);
    let component_type = component.component_type();
    for (name, item) in component_type.imports(engine) {
        let (interface, _) = split(name);
        let mut instance = linker.instance(name)?;
        if interface == "refloat:failure-policy/log" {
            log::define(&mut instance)?;
        } else if interface == WASI_FILES {
            filesystem::types(&mut instance, engine, &item.ty)?;
        } else if let Some((_, define)) = WASI.iter().find(|(admitted, _)| *admitted == interface) {
            define(&mut instance)?;
        }
    }
    Ok(linker)
}

/// Takes fuel for work that the host does on the guest's behalf.
pub(crate) fn charge(store: &mut StoreContextMut<'_, Sandbox>, fuel: u64) -> wasmtime::Result<()> {
    let left = store.get_fuel()?;
    match left.checked_sub(fuel) {
        Some(rest) => store.set_fuel(rest),
        None => {
            store.set_fuel(0)?;
            Err(Trap::OutOfFuel.into())
        }
    }
}

/// A length as an amount of fuel.
pub(crate) fn amount(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
