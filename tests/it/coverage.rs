//! What is covered: every trigger has cases, and a scenario where Kargo can show it; every rule has cases.
//!
//! In: the case files, what scenarios expect, the catalogue. Out: `docs/coverage.md` (`BLESS=1` rewrites it),
//! and every trigger that nobody shows. That every rule has a case is checked beside the cases themselves
//! (`tests/src/core_case.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::ensure;
use policy_core::classify::catalogue::Catalogue;
use policy_core::explain::word;
use policy_core::failure::Trigger;
use policy_tests::cli::repository;
use serde_json::Value;

/// Names by what they show.
type Shown = BTreeMap<String, BTreeSet<String>>;

/// Why there is no scenario of a trigger, and the next trigger. A new case of the enum does not compile without both.
fn about(trigger: Trigger) -> (Option<&'static str>, Option<Trigger>) {
    use Trigger::*;
    match trigger {
        PromotionFailed => (None, Some(PromotionErrored)),
        PromotionErrored => (None, Some(PromotionAborted)),
        PromotionAborted => (None, Some(PromotionStalled)),
        PromotionStalled => (None, Some(PromotionPendingStuck)),
        PromotionPendingStuck => (None, Some(PromotionDenied)),
        PromotionDenied => {
            (Some("never raised: it shows as `auto-promotion-blocked`"), Some(StepFailedTolerated))
        }
        StepFailedTolerated => (None, Some(PromotionNotRecorded)),
        PromotionNotRecorded => (None, Some(VerificationFailed)),
        VerificationFailed => (None, Some(VerificationError)),
        VerificationError => (None, Some(VerificationInconclusive)),
        VerificationInconclusive => (None, Some(VerificationAborted)),
        VerificationAborted => (None, Some(VerificationStuck)),
        VerificationStuck => (None, Some(VerificationMissing)),
        VerificationMissing => (None, Some(StageUnhealthy)),
        StageUnhealthy => (None, Some(StageHealthUnknown)),
        StageHealthUnknown => (None, Some(RollbackFailed)),
        RollbackFailed => (None, Some(AutoPromotionBlocked)),
        AutoPromotionBlocked => (None, Some(ExternalAlert)),
        ExternalAlert => (Some("comes from outside of Kargo"), Some(Timer)),
        Timer => (Some("a policy's own, no failure"), Some(ActionResult)),
        ActionResult => (Some("a policy's own, no failure"), Some(ApprovalResolved)),
        ApprovalResolved => (Some("a person's answer, no failure"), Some(ApprovalExpired)),
        ApprovalExpired => (Some("a person's answer, no failure"), Some(Manual)),
        Manual => (Some("asked for by a person, no failure"), None),
    }
}

fn triggers() -> impl Iterator<Item = Trigger> {
    std::iter::successors(Some(Trigger::PromotionFailed), |trigger| about(*trigger).1)
}

/// Case files by trigger, and by rule.
fn cases() -> anyhow::Result<(Shown, Shown)> {
    let (mut by_trigger, mut by_rule) = (Shown::new(), Shown::new());
    let root = policy_tests::cases::folder();
    let mut open = vec![root.clone()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                let name = path.strip_prefix(&root)?.with_extension("").display().to_string();
                // Files of bad YAML are cases, too.
                for document in policy_tests::captured::documents(&path).unwrap_or_default() {
                    add(&mut by_trigger, below(&document, "trigger"), &name);
                    if document["run"] == "classify" {
                        let rule = document["expect"]["rule"].as_str().unwrap_or_default();
                        add(&mut by_rule, rule.split(['/', '+']).map(str::to_owned).collect(), &name);
                    }
                }
            }
        }
    }
    Ok((by_trigger, by_rule))
}

fn add(shown: &mut Shown, words: BTreeSet<String>, name: &str) {
    for word in words {
        shown.entry(word).or_default().insert(name.to_owned());
    }
}

/// Texts below that key, wherever it stands.
fn below(value: &Value, wanted: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![value];
    while let Some(value) = open.pop() {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get(wanted).and_then(Value::as_str).map(str::to_owned));
                open.extend(fields.values());
            }
            Value::Array(items) => open.extend(items),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    found
}

/// Scenarios by trigger: those that expect an Incident of it, or a message with its word. That they come out as they expect
/// is another test's business.
fn scenarios() -> anyhow::Result<Shown> {
    let mut shown = Shown::new();
    for file in crate::simulate::scenarios()? {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        for document in policy_tests::captured::documents(&file)? {
            let expect = &document["expect"];
            let said: Vec<&str> =
                expect["said"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let mut words = below(expect, "trigger");
            words.extend(
                triggers()
                    .map(|trigger| word(&trigger))
                    .filter(|word| said.iter().any(|said| said.contains(word))),
            );
            add(&mut shown, words, &name);
        }
    }
    Ok(shown)
}

/// The first few names, and how many more there are.
fn names(all: Option<&BTreeSet<String>>) -> String {
    const MOST: usize = 4;
    let all: Vec<String> = all.into_iter().flatten().map(|name| format!("`{name}`")).collect();
    let more = if all.len() > MOST { format!(" and {} more", all.len() - MOST) } else { String::new() };
    format!("{}{more}", all.iter().take(MOST).cloned().collect::<Vec<_>>().join(", "))
}

fn document(by_trigger: &Shown, by_scenario: &Shown, by_rule: &Shown) -> anyhow::Result<String> {
    let mut text = String::from(
        "# What is covered\n\nWritten by a test (`tests/it/coverage.rs`): which triggers and which rules are shown by which \
         scenarios and cases.\nScenarios lie in `tests/scenarios/` and `host/refloat/demo/scenarios/`, cases in `tests/cases/`.\n\n\
         ## Triggers\n\nA scenario counts where it expects an Incident of the trigger, or a message that names it.\n\n\
         | Trigger | Scenarios | Cases |\n|---|---|---|\n",
    );
    for trigger in triggers() {
        let word = word(&trigger);
        let scenarios = match (by_scenario.get(&word), about(trigger).0) {
            (None, Some(because)) => because.to_owned(),
            (scenarios, _) => names(scenarios),
        };
        writeln!(text, "| `{word}` | {scenarios} | {} |", names(by_trigger.get(&word)))?;
    }
    text += "\n## Rules of the catalogue\n\n[How they are written](classification.md).\n\n| Rule | Class | Cases |\n|---|---|---|\n";
    for row in Catalogue::built_in().rows() {
        let class = word(&row.verdict.class);
        writeln!(text, "| `{}` | {class} | {} |", row.id, names(by_rule.get(&row.id)))?;
    }
    Ok(text)
}

#[test]
fn every_trigger_is_shown() -> anyhow::Result<()> {
    let ((by_trigger, by_rule), by_scenario) = (cases()?, scenarios()?);
    let mut problems = Vec::new();
    for trigger in triggers() {
        let word = word(&trigger);
        if !by_trigger.contains_key(&word) {
            problems.push(format!("`{word}` has no case under tests/cases"));
        }
        if about(trigger).0.is_none() && !by_scenario.contains_key(&word) {
            problems.push(format!("`{word}` is expected by no scenario under tests/scenarios"));
        }
    }
    let file = repository().join("docs/coverage.md");
    let current = document(&by_trigger, &by_scenario, &by_rule)?;
    if std::env::var_os("BLESS").is_some_and(|value| value == "1") {
        std::fs::write(&file, &current)?;
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    if written != current {
        problems.push("`docs/coverage.md` is out of date\nhelp: BLESS=1 rewrites it".to_owned());
    }
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(())
}
