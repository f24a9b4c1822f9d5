//! The decision's log: the only thing that a policy may call.
//!
//! In: lines of text. Out: the host's log of this decision; in native tests, a buffer that
//! [`crate::testing::log_lines`] empties. The host cuts a line at 1 KiB and a log at 64 KiB.
//!
//! ```
//! refloat_policy::log::info("the newest hint wins");
//! assert_eq!(refloat_policy::testing::log_lines(), ["info: the newest hint wins"]);
//! ```

use crate::bindings::refloat::failure_policy::log::Level;

/// Writes a line for the policy's author.
///
/// ```
/// refloat_policy::log::debug("two hints");
/// ```
pub fn debug(line: impl AsRef<str>) {
    sink::write(Level::Debug, line.as_ref());
}

/// Writes what happened.
///
/// ```
/// refloat_policy::log::info("attempt 2 of 3");
/// ```
pub fn info(line: impl AsRef<str>) {
    sink::write(Level::Info, line.as_ref());
}

/// Writes that something is odd.
///
/// ```
/// refloat_policy::log::warn("a Promotion without steps");
/// ```
pub fn warn(line: impl AsRef<str>) {
    sink::write(Level::Warn, line.as_ref());
}

/// Writes that something is wrong.
///
/// ```
/// refloat_policy::log::error("the state of the last call cannot be read");
/// ```
pub fn error(line: impl AsRef<str>) {
    sink::write(Level::Error, line.as_ref());
}

/// Makes a panic write its text and its place to the log before the guest traps.
///
/// A trap carries no text out of WebAssembly, so the hook is the only place where the reason is still known. The
/// standard hook is replaced: it would read the environment for `RUST_BACKTRACE`, which a policy must not depend on.
pub(crate) fn report_panics() {
    #[cfg(target_arch = "wasm32")]
    std::panic::set_hook(Box::new(|panic| sink::write(Level::Fatal, &fatal_line(panic))));
}

/// `src/lib.rs:12: the text of the panic`.
#[cfg_attr(not(target_arch = "wasm32"), allow(dead_code, reason = "native panics keep their own hook"))]
fn fatal_line(panic: &std::panic::PanicHookInfo<'_>) -> String {
    let text = panic.payload_as_str().unwrap_or("panicked with a value that is no text");
    match panic.location() {
        Some(place) => format!("{}:{}: {text}", place.file(), place.line()),
        None => text.to_owned(),
    }
}

#[cfg(target_arch = "wasm32")]
mod sink {
    use super::Level;

    pub(super) fn write(level: Level, line: &str) {
        crate::bindings::refloat::failure_policy::log::write(level, line);
    }
}

#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod sink {
    use std::cell::RefCell;

    use super::Level;

    thread_local! {
        static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    }

    pub(super) fn write(level: Level, line: &str) {
        let level = match level {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
            Level::Fatal => "fatal",
        };
        LINES.with_borrow_mut(|lines| lines.push(format!("{level}: {line}")));
    }

    pub(crate) fn take() -> Vec<String> {
        LINES.take()
    }
}
