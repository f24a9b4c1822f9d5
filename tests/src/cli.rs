//! Cases of the command line (`run: cli`): the real program, in a folder of its own.
//!
//! In: `args`, `files` (name to text, or to `{base64: ...}`, `{template: ..., repeat: ..., times: ...}`,
//! `{capture: [FILE...]}`, `{repository: FILE}`, `{folder: true}`), `stdin`, `environment` (name to text). Out: exit code, standard output and standard
//! error, with what differs between machines replaced: the folder, times, digests of built components. Nothing outside
//! of the folder is written but the cache of compiled components, which all cases share.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;
use serde_json::{Value, json};

/// See [`crate::cases::Runner`].
pub fn run(kind: &str, case: &Value) -> Option<Result<Value, String>> {
    match kind {
        "cli" => Some(play(case).map_err(|error| format!("{error:#}"))),
        _ => None,
    }
}

/// The program under test, built by the same cargo invocation or right now.
///
/// # Errors
/// When it cannot be built.
pub fn program() -> anyhow::Result<PathBuf> {
    static PROGRAM: std::sync::OnceLock<Result<PathBuf, String>> = std::sync::OnceLock::new();
    PROGRAM.get_or_init(|| build().map_err(|error| format!("{error:#}"))).clone().map_err(anyhow::Error::msg)
}

fn build() -> anyhow::Result<PathBuf> {
    let root = crate::cli::repository();
    // The whole workspace is named so that features are unified as everywhere else: nothing is compiled twice.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--workspace", "--bin", "refloat"])
        .current_dir(&root)
        .status()?;
    anyhow::ensure!(status.success(), "`cargo build --workspace --bin refloat` failed");
    let program = built();
    anyhow::ensure!(program.is_file(), "there is no `{}` after building it", program.display());
    Ok(program)
}

/// Where cargo puts the program, which need not be near the tests: they may run from a shared build folder.
#[must_use]
pub fn built() -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from);
    target.join("debug/refloat")
}

/// The root of the repository.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

fn play(case: &Value) -> anyhow::Result<Value> {
    let folder = tempfile::tempdir()?;
    for (name, content) in case.get("files").and_then(Value::as_object).into_iter().flatten() {
        write(&folder.path().join(name), content).with_context(|| format!("file `{name}`"))?;
    }
    let args = case.get("args").and_then(Value::as_array).context("no `args:`")?;
    let args: Vec<&str> =
        args.iter().map(|arg| arg.as_str().context("an argument is no text")).collect::<Result<_, _>>()?;
    let mut child = Command::new(program()?)
        .args(args)
        .current_dir(folder.path())
        .env("REFLOAT_CACHE", repository().join("target/component-cache"))
        .env_remove("KUBECONFIG")
        .envs(environment(case))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let input = case.get("stdin").and_then(Value::as_str).unwrap_or_default();
    // A program that ends without reading closes the pipe: its exit code and words are what counts.
    let _ = child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output()?;
    let shown = |bytes: &[u8]| filtered(&String::from_utf8_lossy(bytes), folder.path());
    let code = output.status.code().context("ended by a signal")?;
    Ok(json!({"exit": code, "stdout": shown(&output.stdout), "stderr": shown(&output.stderr)}))
}

/// Variables of the case, as texts.
fn environment(case: &Value) -> impl Iterator<Item = (&str, &str)> {
    let given = case.get("environment").and_then(Value::as_object).into_iter().flatten();
    given.filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
}

fn write(path: &Path, content: &Value) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    if content.get("folder").is_some() {
        return Ok(std::fs::create_dir_all(path)?);
    }
    Ok(std::fs::write(path, bytes(content)?)?)
}

fn bytes(content: &Value) -> anyhow::Result<Vec<u8>> {
    use base64::Engine as _;
    if let Some(text) = content.as_str() {
        return Ok(text.as_bytes().to_vec());
    }
    if let Some(encoded) = content.get("base64").and_then(Value::as_str) {
        return Ok(base64::engine::general_purpose::STANDARD
            .decode(encoded.split_whitespace().collect::<String>())?);
    }
    if let Some(template) = content.get("template").and_then(Value::as_str) {
        let times = content.get("times").and_then(Value::as_u64).unwrap_or(1);
        let repeated = content.get("repeat").and_then(Value::as_str).context("no `repeat`")?;
        let repeated = repeated.repeat(usize::try_from(times)?);
        return Ok(template.replace("[REPEATED]", &repeated).into_bytes());
    }
    if let Some(list) = content.get("capture").and_then(Value::as_array) {
        let files = list.iter().filter_map(Value::as_str).map(|file| {
            let path = repository().join("tests/data/captures").join(file);
            std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))
        });
        return Ok(files.collect::<anyhow::Result<Vec<_>>>()?.join("\n---\n").into_bytes());
    }
    if let Some(source) = content.get("wat").and_then(Value::as_str) {
        return Ok(wat::parse_str(source)?);
    }
    if let Some(path) = content.get("repository").and_then(Value::as_str) {
        let bytes =
            std::fs::read(repository().join(path)).with_context(|| format!("`{path}` (`make builtins`?)"))?;
        let kept = content.get("first").and_then(Value::as_u64).map_or(bytes.len(), |n| n as usize);
        return Ok(bytes.into_iter().take(kept).collect());
    }
    anyhow::bail!("neither text nor `base64`, `template`, `capture`, `wat`, `repository` or `folder`")
}

/// Replaces what differs between machines and runs by a word in brackets.
fn filtered(text: &str, folder: &Path) -> String {
    let mut text = text.replace(&folder.display().to_string(), "[FOLDER]");
    text = text.replace(&repository().display().to_string(), "[REPOSITORY]");
    replace_digests(&replace_measured(&text))
}

/// `sha256:` and hexadecimal digits, at most 64 of them: components are built anew by every toolchain.
fn replace_digests(text: &str) -> String {
    let mut parts = text.split("sha256:");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_hexdigit());
        shown.push_str("sha256:[DIGEST]");
        shown.push_str(rest);
    }
    shown
}

/// Figures that a line calls measured: the value of every key that ends in a unit of measurement.
fn replace_measured(text: &str) -> String {
    const MEASURED: &[&str] =
        &["fuel", "compiled in", "size", "\"fuel\":", "\"compileMilliseconds\":", "\"bytes\":"];
    let replace = |line: &str| {
        let trimmed = line.trim_start();
        let Some(key) = MEASURED.iter().find(|key| trimmed.starts_with(**key)) else {
            return line.to_owned();
        };
        let indent = &line[..line.len() - trimmed.len()];
        let comma = if line.ends_with(',') { "," } else { "" };
        format!("{indent}{key} [MEASURED]{comma}")
    };
    let mut shown: String = text.lines().map(replace).collect::<Vec<_>>().join("\n");
    if text.ends_with('\n') {
        shown.push('\n');
    }
    shown
}
