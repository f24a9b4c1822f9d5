//! The house rules that a machine can check, over the files of the repository.
//!
//! In: sources, documents, `cargo metadata`. Out: every place that breaks a rule, all at once, with what to do.
//! Rules that a compiler or clippy checks are not repeated here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use policy_tests::cli;
use serde_json::Value;

/// Longest file, in lines; tests and cases may be longer, they are read one at a time.
const MAX_FILE_LINES: usize = 500;
/// Longest function, in lines from its first to its closing brace.
const MAX_FUNCTION_LINES: usize = 60;
/// Names that say nothing about what is in a file.
const EMPTY_NAMES: &[&str] = &["utils", "util", "common", "helpers", "helper", "misc", "types"];

/// Who may use whom among our own crates. What is not listed is forbidden.
const DIRECTIONS: &[(&str, &[&str])] = &[
    ("policy-core", &[]),
    ("kargo-model", &[]),
    ("kube-memory", &[]),
    ("refloat-policy", &[]),
    ("policy-api", &["policy-core"]),
    ("policy-engine", &["policy-core"]),
    ("policy-source", &["policy-core"]),
    ("policy-controller", &["policy-core", "policy-api", "policy-engine", "policy-source"]),
    (
        "simulator",
        &[
            "policy-core",
            "policy-api",
            "policy-engine",
            "policy-source",
            "policy-controller",
            "kargo-model",
            "kube-memory",
        ],
    ),
    (
        "refloat",
        &[
            "policy-core",
            "policy-api",
            "policy-engine",
            "policy-source",
            "policy-controller",
            "kargo-model",
            "simulator",
        ],
    ),
];

/// Crates that would let the pure core do something.
const NOT_IN_CORE: &[&str] = &[
    "tokio",
    "kube",
    "kube-client",
    "wasmtime",
    "tracing",
    "rand",
    "getrandom",
    "reqwest",
    "hyper",
    "ureq",
    "rustix",
    "libc",
    "futures",
    "chrono",
    "jiff",
    "log",
];

struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    fn is_test(&self) -> bool {
        let path = self.path.to_string_lossy();
        path.starts_with("tests/")
            || path.contains("/tests/")
            || path.ends_with("tests.rs")
            || path.ends_with("testing.rs")
    }

    fn at(&self, line: usize, problem: &str) -> String {
        format!("{}:{}: {problem}", self.path.display(), line + 1)
    }
}

/// Files that git knows, with that ending; build output and other people's leftovers are none of them.
fn sources(ending: &str) -> anyhow::Result<Vec<Source>> {
    let root = cli::repository();
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(&root)
        .output()
        .context("tidy needs git")?;
    anyhow::ensure!(
        listed.status.success(),
        "`git ls-files` failed: {}",
        String::from_utf8_lossy(&listed.stderr)
    );
    let mut sources = Vec::new();
    for line in String::from_utf8(listed.stdout)?.lines().filter(|line| line.ends_with(ending)) {
        let path = PathBuf::from(line);
        if let Ok(text) = std::fs::read_to_string(root.join(&path)) {
            sources.push(Source { path, text });
        }
    }
    anyhow::ensure!(
        sources.len() > 3,
        "only {} files end in {ending}: the list cannot be right",
        sources.len()
    );
    Ok(sources)
}

fn all_fine(problems: Vec<String>) -> anyhow::Result<()> {
    anyhow::ensure!(
        problems.is_empty(),
        "{} places break a rule of the house:\n{}",
        problems.len(),
        problems.join("\n")
    );
    Ok(())
}

#[test]
fn crates_use_each_other_in_the_allowed_directions_only() -> anyhow::Result<()> {
    let metadata = metadata()?;
    let packages = metadata.get("packages").and_then(Value::as_array).context("no packages")?;
    let ours: Vec<&str> = packages.iter().filter_map(|package| package.get("name")?.as_str()).collect();
    let mut problems = Vec::new();
    for package in packages {
        let name = package.get("name").and_then(Value::as_str).unwrap_or_default();
        if name == "policy-tests" {
            continue;
        }
        let path = package.get("manifest_path").and_then(Value::as_str).unwrap_or_default();
        let allowed = match DIRECTIONS.iter().find(|(from, _)| *from == name) {
            Some((_, allowed)) => *allowed,
            None if path.contains("/policies/") => &["refloat-policy"],
            None => {
                problems.push(format!(
                    "crate `{name}` is in no list: add it to DIRECTIONS and to ARCHITECTURE.md"
                ));
                continue;
            }
        };
        for dependency in dependencies(package) {
            if ours.contains(&dependency) && !allowed.contains(&dependency) {
                problems.push(format!("`{name}` uses `{dependency}`, which is not an allowed direction"));
            }
        }
    }
    all_fine(problems)
}

fn metadata() -> anyhow::Result<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(cli::repository())
        .output()?;
    anyhow::ensure!(
        output.status.success(),
        "`cargo metadata` failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// What it is built with; what only its tests use may point anywhere.
fn dependencies(package: &Value) -> Vec<&str> {
    let all = package.get("dependencies").and_then(Value::as_array).into_iter().flatten();
    let built_with = all.filter(|dependency| dependency.get("kind").is_none_or(Value::is_null));
    built_with.filter_map(|dependency| dependency.get("name")?.as_str()).collect()
}

#[test]
fn the_core_can_do_nothing() -> anyhow::Result<()> {
    let metadata = metadata()?;
    let packages = metadata.get("packages").and_then(Value::as_array).context("no packages")?;
    let core = packages.iter().find(|package| package.get("name").is_some_and(|name| name == "policy-core"));
    let uses = dependencies(core.context("no policy-core")?);
    let mut problems: Vec<String> = uses
        .iter()
        .filter(|name| NOT_IN_CORE.contains(name))
        .map(|name| format!("policy-core uses `{name}`: whatever it is for belongs to the caller"))
        .collect();
    let words = [
        "std::fs",
        "std::net",
        "std::env",
        "std::process",
        "std::thread",
        "SystemTime",
        "Instant::now",
        "async fn",
    ];
    for source in sources(".rs")?
        .iter()
        .filter(|source| source.path.starts_with("host/policy-core/src") && !source.is_test())
    {
        for (number, line) in code_lines(&source.text) {
            problems.extend(
                words
                    .iter()
                    .filter(|word| line.contains(*word))
                    .map(|word| source.at(number, &format!("`{word}` in the core"))),
            );
        }
    }
    all_fine(problems)
}

/// Lines that are no comment.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"))
}

#[test]
fn every_file_says_what_it_is_for() -> anyhow::Result<()> {
    let mut problems = Vec::new();
    for source in sources(".rs")? {
        let doc: Vec<&str> = source.text.lines().take_while(|line| line.starts_with("//!")).collect();
        if doc.is_empty() {
            problems
                .push(source.at(0, "no `//!` at the top: say what it is for, what goes in, what comes out"));
        }
        let name = source.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if EMPTY_NAMES.contains(&name.as_str()) {
            problems.push(source.at(0, "a name that says nothing: name it after the noun it owns"));
        }
    }
    all_fine(problems)
}

#[test]
fn files_and_functions_are_short() -> anyhow::Result<()> {
    let mut problems = Vec::new();
    for source in sources(".rs")?.iter().filter(|source| !source.is_test()) {
        let n_lines = source.text.lines().count();
        if n_lines > MAX_FILE_LINES {
            problems.push(source.at(0, &format!("{n_lines} lines, {MAX_FILE_LINES} are allowed")));
        }
        for (number, n_lines) in functions(&source.text) {
            if n_lines > MAX_FUNCTION_LINES {
                problems.push(
                    source.at(
                        number,
                        &format!("a function of {n_lines} lines, {MAX_FUNCTION_LINES} are allowed"),
                    ),
                );
            }
        }
    }
    all_fine(problems)
}

/// First line and length of each function, by indentation: the code is formatted, so that its closing brace stands
/// under its first word.
fn functions(text: &str) -> Vec<(usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (number, line) in code_lines(text) {
        let indent = line.len() - line.trim_start().len();
        let is_function = line.split('(').next().is_some_and(|start| format!(" {start}").contains(" fn "));
        if !is_function || line.trim_end().ends_with(';') {
            continue;
        }
        let closing = format!("{}}}", " ".repeat(indent));
        let end = lines
            .iter()
            .skip(number)
            .position(|line| *line == closing || line.starts_with(&format!("{closing} ")));
        // A function that ends on its first line has no closing brace of its own; the next one found belongs to another.
        if !line.trim_end().ends_with('}') {
            found.extend(end.map(|n_lines| (number, n_lines + 1)));
        }
    }
    found
}

#[test]
fn nothing_is_applied_on_the_server_side() -> anyhow::Result<()> {
    // Spelled in two halves, so that this file does not break its own rule.
    let words = [
        concat!("Patch::", "Apply"),
        concat!("PatchParams::", "apply"),
        concat!("application/", "apply-patch"),
    ];
    let mut problems = Vec::new();
    for source in sources(".rs")?.iter().filter(|source| source.path.starts_with("host")) {
        for (number, line) in code_lines(&source.text) {
            if words.iter().any(|word| line.contains(word)) {
                problems.push(
                    source.at(number, "server-side apply leaves phantoms on Promotions and has no fencing"),
                );
            }
        }
    }
    all_fine(problems)
}

#[test]
fn yaml_is_read_by_one_library() -> anyhow::Result<()> {
    let mut problems = Vec::new();
    for source in sources("Cargo.toml")?.iter().chain(&sources(".rs")?) {
        for (number, line) in code_lines(&source.text) {
            if line.contains(concat!("serde", "_yaml")) {
                problems.push(source.at(number, "use serde-saphyr"));
            }
        }
    }
    all_fine(problems)
}

#[test]
fn every_subcommand_has_a_help_case() -> anyhow::Result<()> {
    let help = run(&["--help"])?;
    let commands =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names: Vec<&str> = commands.filter_map(|line| line.split_whitespace().next()).collect();
    anyhow::ensure!(names.len() > 5, "the list of commands could not be read from:\n{help}");
    let folder = policy_tests::cases::folder().join("cli/help");
    let missing = names.iter().filter(|name| !folder.join(format!("{name}.yaml")).is_file());
    all_fine(
        missing.map(|name| format!("`refloat {name} --help` has no case in {}", folder.display())).collect(),
    )
}

fn run(args: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(cli::program()?)
        .args(args)
        .env("REFLOAT_CACHE", cli::repository().join("target/component-cache"))
        .current_dir(cli::repository())
        .output()?;
    let shown = String::from_utf8(output.stdout)?;
    anyhow::ensure!(
        output.status.success(),
        "`refloat {}` failed: {}",
        args.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(shown)
}

/// Documents show what the program prints: a block after `<!-- output: refloat ARGS -->` is the output of that command,
/// or an excerpt of it. With `BLESS=1` a whole block is rewritten; an excerpt (`<!-- excerpt: ... -->`) has to be
/// corrected by hand.
#[test]
fn documents_show_what_the_program_prints() -> anyhow::Result<()> {
    let mut problems = Vec::new();
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    let mut n_blocks = 0;
    for source in sources(".md")? {
        let mut text = source.text.clone();
        for block in blocks(&source.text) {
            n_blocks += 1;
            if !seen.contains_key(&block.command) {
                let args: Vec<&str> = block.command.split_whitespace().skip(1).collect();
                seen.insert(block.command.clone(), run(&args)?);
            }
            let printed = seen.get(&block.command).map(String::as_str).unwrap_or_default();
            let agrees = if block.is_excerpt {
                printed.contains(block.shown.trim_end())
            } else {
                printed.trim_end() == block.shown.trim_end()
            };
            if agrees {
                continue;
            }
            if std::env::var_os("BLESS").is_some_and(|value| value == "1") && !block.is_excerpt {
                text = text.replacen(&block.shown, &format!("{}\n", printed.trim_end()), 1);
            } else {
                problems.push(source.at(block.line, &format!("is not what `{}` prints", block.command)));
            }
        }
        if text != source.text {
            std::fs::write(cli::repository().join(&source.path), text)?;
        }
    }
    anyhow::ensure!(n_blocks > 0, "no document shows any output: the marks have changed");
    all_fine(problems)
}

struct Block {
    command: String,
    shown: String,
    line: usize,
    is_excerpt: bool,
}

fn blocks(text: &str) -> Vec<Block> {
    let lines: Vec<&str> = text.lines().collect();
    let mut blocks = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let mark = |name: &str| line.strip_prefix(&format!("<!-- {name}: "))?.strip_suffix(" -->");
        let (command, is_excerpt) = match (mark("output"), mark("excerpt")) {
            (Some(command), _) => (command, false),
            (None, Some(command)) => (command, true),
            (None, None) => continue,
        };
        let inside = lines.iter().skip(number + 1).skip_while(|line| !line.starts_with("```")).skip(1);
        let shown: String =
            inside.take_while(|line| !line.starts_with("```")).map(|line| format!("{line}\n")).collect();
        blocks.push(Block { command: command.to_owned(), shown, line: number, is_excerpt });
    }
    blocks
}

#[test]
fn links_between_documents_lead_somewhere() -> anyhow::Result<()> {
    let mut problems = Vec::new();
    // Captures are copied as they are, and no documents of ours.
    for source in sources(".md")?.iter().filter(|source| !source.path.starts_with("tests/data")) {
        let folder = cli::repository().join(source.path.parent().unwrap_or(Path::new("")));
        for (number, line) in source.text.lines().enumerate() {
            for target in line.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
                let is_local =
                    !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:");
                if is_local && !folder.join(target).exists() {
                    problems.push(source.at(number, &format!("there is no `{target}`")));
                }
            }
        }
    }
    all_fine(problems)
}
