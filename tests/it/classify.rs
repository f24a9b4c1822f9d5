//! Classification against what it was made for: captures of a running Kargo, texts of tools, and Kargo's own source.
//!
//! In: `tests/data/captures/kargo-1.11.2-steps` with its labels, `tests/data/messages.yaml`, and the Go module of the
//! Kargo version in `tests/tools/crds.txt`. Out: scores, which are printed, and every place where the catalogue is
//! dangerous, wrong too often, or behind Kargo. The module's code is read and never kept.

#![allow(clippy::print_stdout, reason = "the score is what the test is for, and is read by people")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use policy_api::kargo::{self, convert};
use policy_core::classify::{self, catalogue::Catalogue, unwrap};
use policy_core::failure::{Class, Classification, FaultDomain, Retryability};
use policy_core::hints;
use policy_tests::{binaries, go_errors};
use serde::Deserialize;
use serde_json::Value;

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data")
}

/// What somebody who knows the tools says about a text.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Label {
    class: Class,
    retryability: Retryability,
    fault_domain: FaultDomain,
}

#[derive(Debug, Default)]
struct Score {
    n: usize,
    n_class: usize,
    n_retryability: usize,
    n_both: usize,
    n_milder: usize,
    wrong: Vec<String>,
    dangerous: Vec<String>,
}

impl Score {
    fn add(&mut self, name: &str, label: Label, got: &Classification) {
        let is_class = got.class == label.class;
        let is_retryability = got.retryability == label.retryability;
        self.n += 1;
        self.n_class += usize::from(is_class);
        self.n_retryability += usize::from(is_retryability);
        self.n_both += usize::from(is_class && is_retryability);
        if !is_class || !is_retryability {
            self.wrong.push(format!("{name}: {:?} {:?} by {}", got.class, got.retryability, got.rule));
        }
        let needs_somebody = label.retryability >= Retryability::NeedsChange;
        self.n_milder += usize::from(needs_somebody && got.retryability < Retryability::Unknown);
        for (is_so, what) in [
            (needs_somebody && got.retryability == Retryability::Now, "repeated at once"),
            (
                label.fault_domain != FaultDomain::Freight
                    && label.fault_domain != FaultDomain::Unknown
                    && got.fault_domain == FaultDomain::Freight,
                "blamed on the Freight",
            ),
            (
                label.class == Class::Conflict
                    && label.retryability < Retryability::Unknown
                    && got.retryability >= Retryability::NeedsChange,
                "a lost race called permanent",
            ),
        ] {
            if is_so {
                self.dangerous.push(format!("{name}: {what} by {}", got.rule));
            }
        }
    }

    fn hold(&self, what: &str, percent: usize) -> anyhow::Result<()> {
        println!(
            "{what}: {} texts, class right {}, retryability right {}, both {} ({} %), too hopeful {}, dangerous {}",
            self.n,
            self.n_class,
            self.n_retryability,
            self.n_both,
            self.n_both * 100 / self.n.max(1),
            self.n_milder,
            self.dangerous.len()
        );
        println!("  {}", self.wrong.join("\n  "));
        anyhow::ensure!(self.dangerous.is_empty(), "{what}: {}", self.dangerous.join("\n"));
        anyhow::ensure!(self.n > 0 && self.n_both * 100 >= self.n * percent, "{what}: too many are wrong");
        anyhow::ensure!(self.n_milder * 100 <= self.n, "{what}: too hopeful in {}", self.n_milder);
        Ok(())
    }
}

/// The captured Promotions as objects: through conversion and the choice of the step that failed first.
#[test]
fn captured_step_failures_are_read_as_their_labels_say() -> anyhow::Result<()> {
    let folder = data().join("captures/kargo-1.11.2-steps");
    let labels: BTreeMap<String, Value> =
        serde_json::from_str(&std::fs::read_to_string(folder.join("labels.json"))?)?;
    let mut score = Score::default();
    for (name, label) in &labels {
        let text = |key: &str| label[key].as_str().unwrap_or_default();
        if text("cls") == "-" {
            continue;
        }
        let label: Label = serde_json::from_value(serde_json::json!({
            "class": text("cls"), "retryability": text("retry"), "faultDomain": text("fault"),
        }))
        .with_context(|| name.clone())?;
        let object = std::fs::read_to_string(folder.join(name).join("promotion.yaml"))?;
        let object: Value = serde_saphyr::from_str(&object).with_context(|| name.clone())?;
        let promotion = convert::promotion(&kargo::from_value(&object)?, &convert::Reading::default())?;
        score.add(name, label, &classify::promotion(&promotion, &hints::read(&promotion)));
    }
    anyhow::ensure!(score.n > 300, "only {} labels: where are the captures?", score.n);
    score.hold("captures", 95)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    set: String,
    kind: String,
    text: String,
    #[serde(flatten)]
    label: Label,
}

#[test]
fn texts_of_tools_are_read_as_their_labels_say() -> anyhow::Result<()> {
    let text = std::fs::read_to_string(data().join("messages.yaml"))?;
    let messages: Vec<Message> = serde_saphyr::from_str(&text)?;
    let mut scores: BTreeMap<&str, Score> = BTreeMap::new();
    for (number, message) in messages.iter().enumerate() {
        let got = classify::text(Some(&message.kind), &message.text);
        let said = message.text.lines().last().unwrap_or_default();
        let name = format!("{number} {} `{said}`", message.kind);
        scores.entry(&message.set).or_default().add(&name, message.label, &got);
    }
    anyhow::ensure!(scores.len() == 3, "sets: {:?}", scores.keys());
    scores.iter().try_for_each(|(set, score)| score.hold(&format!("texts of tools, set {set}"), 95))
}

/// Every text that nobody can know stays unknown; a guess would be worse.
#[test]
fn texts_that_nobody_knows_are_not_guessed() -> anyhow::Result<()> {
    let text = std::fs::read_to_string(data().join("messages.yaml"))?;
    let messages: Vec<Message> = serde_saphyr::from_str(&text)?;
    let unknown: Vec<_> = messages.iter().filter(|message| message.label.class == Class::Unknown).collect();
    anyhow::ensure!(unknown.len() >= 20, "only {}", unknown.len());
    for message in unknown {
        let got = classify::text(Some(&message.kind), &message.text);
        anyhow::ensure!(got.class == Class::Unknown, "`{}` is guessed by {}", message.text, got.rule);
        anyhow::ensure!(got.confidence_percent <= 20, "`{}`: sure of not knowing", message.text);
    }
    Ok(())
}

/// A text of Kargo that no row is about, and why that is right.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Unclaimed {
    file: String,
    text: String,
    because: String,
}

/// The folder of the Kargo module that the tests take its definitions from.
fn kargo_module() -> anyhow::Result<PathBuf> {
    let list = std::fs::read_to_string(binaries::repository().join("tests/tools/crds.txt"))?;
    let line = list.lines().find(|line| line.starts_with("github.com/akuity/kargo ")).context("no Kargo")?;
    let mut words = line.split_whitespace();
    let module = format!("{}@{}", words.next().unwrap_or_default(), words.next().unwrap_or_default());
    // Outside any module, as in scripts/test-binaries.
    let outside = tempfile::tempdir()?;
    let output = Command::new("go")
        .args(["mod", "download", "-json", &module])
        .current_dir(outside.path())
        .output()?;
    let answer: Value = serde_json::from_slice(&output.stdout).context("`go mod download` gave no answer")?;
    Ok(PathBuf::from(answer["Dir"].as_str().with_context(|| format!("no folder for {module}: {answer}"))?))
}

/// A new Kargo minor fails this until somebody has read its new errors.
#[test]
fn every_error_of_kargo_is_claimed_or_listed() -> anyhow::Result<()> {
    let module = kargo_module()?;
    let formats = go_errors::of_steps(&module)?;
    anyhow::ensure!(
        formats.len() > 300,
        "only {} errors found: Kargo's source looks different",
        formats.len()
    );
    let text = std::fs::read_to_string(data().join("kargo-errors.yaml"))?;
    let listed: Vec<Unclaimed> = serde_saphyr::from_str(&text)?;
    let mut stale: BTreeSet<(&str, &str)> =
        listed.iter().map(|one| (one.file.as_str(), one.text.as_str())).collect();
    anyhow::ensure!(listed.iter().all(|one| !one.because.is_empty()), "every listed text has a reason");
    let mut problems = Vec::new();
    let mut n_claimed = 0;
    for format in &formats {
        let is_listed = stale.remove(&(format.file.as_str(), format.text.as_str()))
            || listed.iter().any(|one| one.file == format.file && one.text == format.text);
        let sample = format.sample();
        let inner = unwrap::step_message(&sample).text;
        let kinds = format.kinds.iter().map(String::as_str);
        let mut kinds = kinds.map(Some).chain(format.kinds.is_empty().then_some(None));
        let claimed = kinds.find_map(|kind| Catalogue::built_in().claims(kind, inner));
        n_claimed += usize::from(claimed.is_some());
        match (claimed, is_listed) {
            (None, false) => {
                problems.push(format!("{}:{}: no row for `{}`", format.file, format.line, format.text))
            }
            (Some(row), true) => {
                problems.push(format!("{}: `{}` is listed and claimed by {row}", format.file, format.text))
            }
            (Some(_), false) | (None, true) => {}
        }
    }
    problems.extend(stale.iter().map(|(file, text)| format!("{file}: `{text}` is listed and gone")));
    println!(
        "{} errors of Kargo: {n_claimed} claimed by rows, {} listed with a reason",
        formats.len(),
        listed.len()
    );
    anyhow::ensure!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(())
}

/// The rules in docs/classification.md.
#[test]
fn the_example_of_a_rule_file_is_a_good_one() -> anyhow::Result<()> {
    let page = std::fs::read_to_string(binaries::repository().join("docs/classification.md"))?;
    let (_, behind) = page.split_once("<!-- rules -->\n```yaml\n").context("no example")?;
    let (rules, _) = behind.split_once("```").context("the example does not end")?;
    let catalogue = Catalogue::built_in().with(rules)?;
    for (kind, text, rule) in [
        ("acme-deploy", "canary score 61 is below 75", "acme-canary"),
        ("acme-deploy", "no: change freeze until Monday", "acme-freeze"),
        (
            "git-clone",
            "error cloning https://git.example.com/x: git.acme.example.com is being upgraded",
            "G2/acme-git-upgrade",
        ),
    ] {
        let got = classify::text_by(&catalogue, Some(kind), text);
        anyhow::ensure!(got.rule == rule, "`{text}` is read by {}", got.rule);
    }
    Ok(())
}

#[test]
fn rows_name_files_and_kinds_that_kargo_has() -> anyhow::Result<()> {
    let module = kargo_module()?;
    let mut problems = Vec::new();
    for row in Catalogue::built_in().rows() {
        if !row.source.is_empty() && row.source != "-" && !module.join(&row.source).is_file() {
            problems.push(format!("{}: Kargo has no `{}`", row.id, row.source));
        }
    }
    let minor = format!("kargo@{}.", policy_core::classify::catalogue::KARGO);
    if !module.to_string_lossy().contains(&minor) {
        problems.push(format!("the rows are of {minor}x, the module is {}", module.display()));
    }
    let theirs = go_errors::step_kinds(&module)?;
    let ours: BTreeSet<String> = unwrap::BUILT_IN.iter().map(|kind| (*kind).to_owned()).collect();
    problems.extend(
        ours.symmetric_difference(&theirs).map(|kind| format!("step kind `{kind}` is on one side only")),
    );
    anyhow::ensure!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(())
}

/// Objects with anything anywhere: fields of the wrong type, of a newer Kargo, of hostile sizes.
#[test]
fn mutilated_promotions_are_read_or_refused() -> anyhow::Result<()> {
    use proptest::prelude::*;
    use proptest::test_runner::TestRunner;

    let folder = data().join("captures/kargo-1.11.2/a");
    let captured: Vec<Value> =
        ["hint-compose-output", "task-failure-hint", "retry-threshold-3", "abort-running"]
            .iter()
            .map(|name| {
                Ok(serde_saphyr::from_str(&std::fs::read_to_string(
                    folder.join(name).join("promotion.yaml"),
                )?)?)
            })
            .collect::<anyhow::Result<_>>()?;
    let anything = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,40}".prop_map(Value::from),
        Just(Value::from("[kargo-hint ".repeat(2_000))),
        Just(Value::from("step \"a\": ".repeat(5_000))),
        Just(Value::from("9999-99-99T99:99:99Z")),
        Just(serde_json::json!({ "a": [1, { "b": null }] })),
        Just(serde_json::json!([[], {}, null])),
    ];
    let changes = proptest::collection::vec((any::<prop::sample::Index>(), anything), 1..4);
    let strategy = (prop::sample::select(captured), changes);
    let n_read = std::cell::Cell::new(0);
    TestRunner::default().run(&strategy, |(mut object, changes)| {
        for (place, value) in changes {
            let pointers = policy_tests::captured::pointers(&object);
            if let Some(old) = object.pointer_mut(&pointers[place.index(pointers.len())]) {
                *old = value;
            }
        }
        let read = kargo::from_value(&object).ok();
        let read = read.and_then(|read| convert::promotion(&read, &convert::Reading::default()).ok());
        if let Some(promotion) = read {
            n_read.set(n_read.get() + 1);
            let hints = hints::examine(&hints::Places::of(&promotion));
            let got = classify::promotion(&promotion, &hints.accepted);
            prop_assert!(got.confidence_percent <= 100 && got.text.len() <= 2 * 1024);
            prop_assert!(
                hints.accepted.iter().all(|hint| hint.retry_after_seconds.unwrap_or(0) <= 14 * 86_400)
            );
        }
        Ok(())
    })?;
    anyhow::ensure!(n_read.get() > 20, "only {} objects could be read: nothing was tried", n_read.get());
    Ok(())
}
