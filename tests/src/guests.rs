//! Guests that misbehave on purpose, built when a test wants them.
//! In: nothing. Out: files with components. Must not be needed by anything that ships.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, ensure};

/// What the hostile guest's manifest declares: a FailurePolicy has to allow these.
pub const HOSTILE_ACTIONS: [&str; 2] = ["accept", "record"];

/// The hostile guest: the text at `/do` of its settings names the deed.
///
/// # Errors
/// When it does not build; the target wasm32-wasip2 must be installed.
pub fn hostile() -> anyhow::Result<PathBuf> {
    static FILE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    FILE.get_or_init(|| build().map_err(|error| format!("{error:#}"))).clone().map_err(anyhow::Error::msg)
}

fn build() -> anyhow::Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let target = root.join("target/guests");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--profile", "guest", "--target", "wasm32-wasip2", "--target-dir"])
        .arg(&target)
        .current_dir(root.join("tests/guests/hostile"))
        .env_remove("RUSTFLAGS")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "the hostile guest does not build\nhelp: run `make wasm-target`");
    Ok(target.join("wasm32-wasip2/guest/hostile.wasm"))
}
