//! What documents tell people to type or to apply works: every command in a shell block, every subcommand and flag that
//! a sentence names, every FailurePolicy, every chain of a built-in policy's README.
//!
//! In: README.md, docs/, policies/*/README.md. Out: what does not run, with its file. Commands run in a folder that has
//! the files which the documents speak of, and without a cluster: there, all that counts is that one is looked for.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, ensure};
use policy_api::accept::{self, Author, Module};
use policy_api::crd::cluster_failure_policy::Caps;
use policy_api::crd::policy_body::{ChainEntry, PolicyBody};
use policy_engine::{Compiler, Engine, Limits};
use policy_tests::cli::repository;
use policy_tests::stage_play::{cache, refloat};
use serde_json::{Value, json};

type Outcome = anyhow::Result<()>;

/// Words that stand for something of the reader's.
const PLACEHOLDERS: &[(&str, &str)] =
    &[("builtin:NAME", "builtin:notify"), ("PROJECT", "shop"), ("FILE", "scenario.yaml")];

const SCENARIO: &str = "title: A scenario\nworld:\n  stages: [{name: prod, labels: {tier: production}, holds: [v1]}]\n  freight: [{name: v1}, {name: v2}]\n\
                        timeline: [{at: 0s, promote: {stage: prod, freight: v2}}]\n";

struct Document {
    path: String,
    text: String,
}

fn documents() -> anyhow::Result<Vec<Document>> {
    let mut files = vec![repository().join("README.md")];
    for file in std::fs::read_dir(repository().join("docs"))? {
        files.push(file?.path());
    }
    for folder in std::fs::read_dir(repository().join("policies"))? {
        files.push(folder?.path().join("README.md"));
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "md") && file.exists());
    files.sort();
    let read = |file: &PathBuf| {
        let path = file.strip_prefix(repository())?.display().to_string();
        anyhow::Ok(Document { path, text: std::fs::read_to_string(file)? })
    };
    files.iter().map(read).collect()
}

/// Blocks that begin with one of these lines, without it; `yaml` alone is each block of YAML.
fn blocks(text: &str, opening: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    for (at, _) in text.match_indices(opening) {
        let inside = text.get(at + opening.len()..).unwrap_or_default();
        blocks.push(inside.split("```").next().unwrap_or_default().to_owned());
    }
    blocks
}

/// Texts between single backquotes that begin like a command of ours.
fn mentions(text: &str) -> Vec<String> {
    let prose: Vec<&str> = text.split("```").step_by(2).collect();
    let spans = prose.iter().flat_map(|prose| prose.split('`').skip(1).step_by(2));
    spans
        .map(|span| span.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|span| span.starts_with("refloat "))
        .collect()
}

/// The words of a shell's command, without its comment and where its output goes.
fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    for character in command.chars() {
        match (quote, character) {
            (Some(open), _) if character == open => quote = None,
            (None, '\'' | '"') => quote = Some(character),
            (None, '#') if word.is_empty() => break,
            (None, '>') => break,
            (None, ' ') => words.push(std::mem::take(&mut word)),
            (Some(_) | None, _) => word.push(character),
        }
    }
    words.push(word);
    words.into_iter().filter(|word| !word.is_empty()).collect()
}

/// A folder with the files that the documents speak of.
fn folder() -> anyhow::Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    let page = |name: &str| std::fs::read_to_string(repository().join("docs").join(name));
    let first = |text: &str, opening: &str| blocks(text, opening).into_iter().next().context("a block");
    let capture = repository().join("tests/data/captures/kargo-1.11.2/a/fail-step/promotion.yaml");
    for (name, content) in [
        ("scenario.yaml", SCENARIO.to_owned()),
        ("policy.yaml", first(&page("policies.md")?, "<!-- policy -->\n```yaml\n")?),
        ("rules.yaml", first(&page("classification.md")?, "<!-- rules -->\n```yaml\n")?),
        ("context.yaml", first(&page("writing-a-policy.md")?, "<!-- context -->\n```yaml\n")?),
        ("settings.yaml", "{max: 2}\n".to_owned()),
        ("message.txt", "step \"push\": boom\n".to_owned()),
        ("promotion.yaml", std::fs::read_to_string(capture)?),
    ] {
        std::fs::write(folder.path().join(name), content)?;
    }
    let component = policy_source::builtin("retry-transient")?;
    std::fs::write(folder.path().join("my_policy.wasm"), component.bytes)?;
    Ok(folder)
}

fn run(arguments: &[String], input: &str, folder: &Path) -> anyhow::Result<Output> {
    let mut child = Command::new(refloat()?)
        .args(arguments)
        .current_dir(folder)
        .env("KUBECONFIG", folder.join("no-kubeconfig"))
        .env("REFLOAT_CACHE", cache()?)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    // One that ends without reading closes the pipe, and its words are what counts.
    let _ = child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()));
    Ok(child.wait_with_output()?)
}

/// What a command of ours says when it cannot do what the document says; nothing when it can.
fn complaint(words: &[String], input: &str, folder: &Path) -> anyhow::Result<Option<String>> {
    let filled = words.iter().skip(1).map(|word| {
        let placeholder = PLACEHOLDERS.iter().find(|(name, _)| name == word);
        placeholder.map_or_else(|| word.clone(), |(_, own)| (*own).to_owned())
    });
    let output = run(&filled.collect::<Vec<_>>(), input, folder)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let wants_a_cluster = ["--kubeconfig", "--project"].iter().any(|flag| said.contains(flag));
    let is_fine = output.status.code() != Some(2) || wants_a_cluster;
    Ok((!is_fine).then_some(said))
}

#[test]
fn every_command_in_a_document_runs() -> Outcome {
    let folder = folder()?;
    let makefile = std::fs::read_to_string(repository().join("Makefile"))?;
    let captured = std::fs::read_to_string(folder.path().join("promotion.yaml"))?;
    let mut problems = Vec::new();
    let mut n_run = 0;
    for document in documents()? {
        for line in blocks(&document.text, "```sh\n").iter().flat_map(|block| block.lines()) {
            let mut input = captured.clone();
            for command in line.split(" | ") {
                let words = words(command);
                match words.first().map(String::as_str) {
                    Some("refloat") => {
                        n_run += 1;
                        let complaint = complaint(&words, &input, folder.path())?;
                        problems
                            .extend(complaint.map(|said| format!("{}: `{command}`: {said}", document.path)));
                    }
                    Some("make") => {
                        let target = format!("\n{}:", words.get(1).map_or("", String::as_str));
                        ensure!(makefile.contains(&target), "{}: `{command}`: no such target", document.path);
                    }
                    Some("echo") => input = words.iter().skip(1).cloned().collect::<Vec<_>>().join(" "),
                    Some("kubectl") | None => {}
                    Some(other) => problems.push(format!("{}: who is `{other}`?", document.path)),
                }
            }
        }
    }
    ensure!(n_run >= 12, "only {n_run} commands: the blocks have changed");
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(())
}

/// A sentence may name a command without all that it needs.
#[test]
fn every_command_that_a_sentence_names_exists() -> Outcome {
    let folder = folder()?;
    let mut problems = Vec::new();
    let mut seen = BTreeMap::new();
    for document in documents()? {
        for mention in mentions(&document.text) {
            let command = mention.split(" | ").next().unwrap_or_default();
            let is_whole = |said: &String| {
                !said.contains("required arguments were not provided")
                    && !said.contains("a value is required")
            };
            if !seen.contains_key(command) {
                let said = complaint(&words(command), "", folder.path())?.filter(is_whole);
                seen.insert(command.to_owned(), said);
            }
            let said = seen.get(command).cloned().flatten();
            problems.extend(said.map(|said| format!("{}: `{command}`: {said}", document.path)));
        }
    }
    ensure!(seen.len() >= 10, "only {} commands: the spans have changed", seen.len());
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(())
}

#[test]
fn every_policy_in_a_document_is_accepted() -> Outcome {
    let compiler = Compiler::new(refloat()?, ["compile-component".to_owned()]);
    let engine = Engine::new(&Limits::default(), &compiler, &cache()?)?;
    let mut modules = BTreeMap::new();
    for name in policy_source::builtins() {
        let policy = engine.load(&policy_source::builtin(name)?.bytes)?;
        let module = Module::ready(policy.digest().clone(), policy.manifest().clone());
        modules.insert(name.to_owned(), module);
    }
    let module = |entry: &ChainEntry| {
        let known = entry.builtin.as_ref().and_then(|name| modules.get(name)).cloned();
        known.unwrap_or_else(|| Module::Missing(modules.keys().cloned().collect()))
    };
    let mut n_policies = 0;
    for document in documents()? {
        let mut bodies = Vec::new();
        for block in blocks(&document.text, "<!-- policy -->\n```yaml\n") {
            let object: Value = serde_saphyr::from_str(&block)?;
            bodies.push(object["spec"].clone());
        }
        if document.path.starts_with("policies/") {
            for block in blocks(&document.text, "```yaml\n") {
                let mut body: Value = serde_saphyr::from_str(&block)?;
                body["allowedActions"] =
                    json!(["retry", "rollback", "accept", "notify", "escalate", "record"]);
                body["channels"] = json!([{"name": "on-call"}]);
                bodies.push(body);
            }
        }
        for body in bodies {
            n_policies += 1;
            let body: PolicyBody = serde_json::from_value(body).with_context(|| document.path.clone())?;
            let problems = accept::problems(&body, Author::Project, &Caps::default(), module);
            ensure!(problems.is_empty(), "{}: {problems:#?}", document.path);
        }
    }
    ensure!(n_policies >= 6, "only {n_policies} policies: the marks have changed");
    Ok(())
}
