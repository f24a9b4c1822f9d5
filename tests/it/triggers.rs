//! Every kind of failure that other systems and the contract know is either raised here, and then a case or a scenario
//! shows it, or refused with the reason.
//!
//! In: the contract, docs/triggers.md, cases and scenarios as texts. Out: every trigger that falls between.

use anyhow::{Context as _, ensure};
use policy_api::accept::{self, Author, Module};
use policy_api::crd::cluster_failure_policy::Caps;
use policy_api::crd::policy_body::PolicyBody;
use policy_core::failure::Trigger;
use policy_tests::cli::repository;
use serde_json::json;

type Outcome = anyhow::Result<()>;

/// What Kargo Enterprise shows and open-source Kargo does not.
const OF_ENTERPRISE: [&str; 2] = ["promotion-discarded", "request-failed"];
/// What follows from what was raised before, or from a person's wish: no case detects it.
const FOLLOWS: [&str; 2] = ["timer", "manual"];
/// In a scenario it belongs to the incident of what it was to repair: `rollback-fails.yaml` and others.
const OF_AN_INCIDENT: &str = "rollback-failed";

/// The cases of the contract's `variant trigger`.
fn contract() -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(repository().join("wit/v0.1/policy.wit"))?;
    let (_, rest) = text.split_once("variant trigger {").context("the contract has no triggers")?;
    let (cases, _) = rest.split_once('}').context("the triggers have no end")?;
    let names = cases.lines().map(str::trim).filter(|line| !line.starts_with("//") && !line.is_empty());
    Ok(names
        .map(|line| line.trim_end_matches(',').to_owned())
        .filter(|name| name != "other(string)")
        .collect())
}

fn trigger(name: &str) -> anyhow::Result<Trigger> {
    Ok(serde_json::from_value(json!(name))?)
}

/// What a FailurePolicy that lists this trigger is told about it.
fn refusal(name: &str) -> anyhow::Result<Option<String>> {
    let body = json!({"chain": [{"name": "tell", "builtin": "notify"}], "triggers": [name]});
    let body: PolicyBody = serde_json::from_value(body)?;
    let problems =
        accept::problems(&body, Author::Project, &Caps::default(), |_| Module::Missing(Vec::new()));
    Ok(problems.into_iter().find(|problem| problem.path == "/triggers/0").map(|problem| problem.message))
}

/// All files of these folders as one text, without quotes: some are JSON.
fn text_of(folders: &[&str]) -> anyhow::Result<String> {
    let mut all = String::new();
    for folder in folders {
        for file in std::fs::read_dir(repository().join(folder))? {
            all.push_str(&std::fs::read_to_string(file?.path())?);
            all.push('\n');
        }
    }
    Ok(all.replace('"', ""))
}

#[test]
fn every_trigger_is_raised_and_shown_or_refused_with_its_reason() -> Outcome {
    let page = std::fs::read_to_string(repository().join("docs/triggers.md"))?;
    let (raised, not_here) = page.split_once("## Not here").context("docs/triggers.md has changed")?;
    let cases = text_of(&["tests/cases/detect", "tests/cases/look"])?;
    let scenarios = text_of(&["tests/scenarios", "host/refloat/demo/scenarios"])?;
    let names = contract()?;
    ensure!(names.len() >= 24, "only {} triggers in the contract", names.len());
    for name in &names {
        let mark = format!("`{name}`");
        let refused = refusal(name)?;
        match trigger(name)?.unsupported() {
            Some(why) => {
                ensure!(refused == Some(format!("{mark} {why}")), "{name} is told as {refused:?}");
                ensure!(not_here.contains(&mark), "docs/triggers.md does not say that {name} is not here");
            }
            None => {
                ensure!(refused.is_none(), "{name} is raised, and refused: {refused:?}");
                ensure!(raised.contains(&mark), "docs/triggers.md does not say when {name} is raised");
                let name = name.as_str();
                let shows = |text: &str| text.contains(&format!("trigger: {name}"));
                ensure!(FOLLOWS.contains(&name) || shows(&cases), "no case shows how {name} is seen");
                let is_follow_up = FOLLOWS.contains(&name) || name == OF_AN_INCIDENT;
                ensure!(is_follow_up || shows(&scenarios), "no scenario shows what comes of {name}");
            }
        }
    }
    for name in OF_ENTERPRISE {
        let refused = refusal(name)?.unwrap_or_default();
        ensure!(refused.contains("Kargo Enterprise only"), "{name} is told as `{refused}`");
        ensure!(not_here.contains(&format!("`{name}`")), "docs/triggers.md does not name {name}");
    }
    Ok(())
}
