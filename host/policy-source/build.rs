//! Embeds the built-in policies: every `target/builtins/NAME.wasm` of the workspace as a row of a table; and the SDK's
//! examples below `target/builtins/examples`, which scenarios may name.
//!
//! In: the folder that `make builtins` fills. Out: `builtins.rs` in Cargo's output folder. A missing folder gives an empty
//! table and a warning, so that everything else can be built without a Wasm toolchain.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn main() -> std::io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = root.join("target/builtins");
    let out = std::env::var_os("OUT_DIR").map(PathBuf::from).unwrap_or_default();
    if !embed(&folder, &out.join("builtins.rs"))? {
        println!("cargo::warning=no built-in policies are embedded: run `make builtins` and build again");
    }
    embed(&folder.join("examples"), &out.join("examples.rs"))?;
    Ok(())
}

/// Writes the table of the components in a folder; false when there are none.
fn embed(folder: &Path, table_file: &Path) -> std::io::Result<bool> {
    // A path that is missing makes Cargo run this every time, which is what finds the folder once it is there.
    println!("cargo::rerun-if-changed={}", folder.display());
    let components = components(folder);
    let has_any = !components.is_empty();
    let mut table = String::from("&[\n");
    for path in components {
        println!("cargo::rerun-if-changed={}", path.display());
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let path = path.canonicalize()?;
        // Writing to a String does not fail.
        let _ =
            writeln!(table, "    ({name:?}, include_bytes!({:?}).as_slice()),", path.display().to_string());
    }
    table.push_str("]\n");
    std::fs::write(table_file, table)?;
    Ok(has_any)
}

/// Sorted, so that equal folders give equal binaries.
fn components(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "wasm"))
        .collect();
    paths.sort();
    paths
}
