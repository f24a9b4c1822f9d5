//! docs/hints.md: each snippet ran in a real Kargo, and says what Refloat makes of what Kargo recorded.
//!
//! In: the page and the captures that its marks name. Out: every snippet that is not in its capture, and every hint
//! that is not what the page says.

use policy_api::kargo::{self, convert};
use policy_core::hints;
use policy_core::snapshot::PromotionSnapshot;
use policy_tests::{binaries, core_case};
use serde_json::{Value, json};

/// The YAML block behind each mark `<!-- NAME: VALUE -->`.
fn blocks(page: &str, name: &str) -> anyhow::Result<Vec<(String, Value)>> {
    let opening = format!("<!-- {name}: ");
    let mut blocks = Vec::new();
    for (at, _) in page.match_indices(&opening) {
        let rest = page.get(at + opening.len()..).unwrap_or_default();
        let (value, rest) = rest.split_once(" -->\n```yaml\n").unwrap_or_default();
        let (yaml, _) = rest.split_once("```").unwrap_or_default();
        blocks.push((value.to_owned(), serde_saphyr::from_str(yaml)?));
    }
    Ok(blocks)
}

fn page() -> anyhow::Result<String> {
    Ok(std::fs::read_to_string(binaries::repository().join("docs/hints.md"))?)
}

fn captured(name: &str) -> anyhow::Result<Value> {
    let file = core_case::captures().join("kargo-1.11.2").join(name).join("promotion.yaml");
    Ok(serde_saphyr::from_str(&std::fs::read_to_string(file)?)?)
}

fn snapshot(object: &Value) -> anyhow::Result<PromotionSnapshot> {
    Ok(convert::promotion(&kargo::from_value(object)?, &convert::Reading::default())?)
}

/// Whether everything in `part` is in `whole`.
fn is_part(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => {
            part.iter().all(|(key, value)| whole.get(key).is_some_and(|other| is_part(value, other)))
        }
        (part, whole) => part == whole,
    }
}

#[test]
fn every_snippet_ran_in_a_real_kargo() -> anyhow::Result<()> {
    let blocks = blocks(&page()?, "captured")?;
    anyhow::ensure!(blocks.len() >= 4, "only {} snippets: the marks have changed", blocks.len());
    for (name, snippet) in blocks {
        let object = captured(&name)?;
        let ran = object["spec"]["steps"].as_array().cloned().unwrap_or_default();
        let steps = snippet.as_array().cloned().unwrap_or_default();
        anyhow::ensure!(!steps.is_empty(), "the snippet of {name} has no step");
        for step in &steps {
            anyhow::ensure!(ran.iter().any(|other| is_part(step, other)), "{name}: this did not run: {step}");
        }
    }
    Ok(())
}

#[test]
fn hints_are_what_the_page_says() -> anyhow::Result<()> {
    let blocks = blocks(&page()?, "hints")?;
    anyhow::ensure!(blocks.len() >= 5, "only {} hints: the marks have changed", blocks.len());
    for (name, said) in blocks {
        let promotion = match name.as_str() {
            "third-party" => snapshot(&third_party())?,
            _ => snapshot(&captured(&name)?)?,
        };
        let got = serde_json::to_value(hints::read(&promotion))?;
        anyhow::ensure!(got == said, "{name}: the page says {said}, it is {got}");
    }
    Ok(())
}

/// The snippet that no capture has is a step of a scenario, which runs with all others.
#[test]
fn what_no_capture_has_is_in_a_scenario() -> anyhow::Result<()> {
    let blocks = blocks(&page()?, "scenario")?;
    anyhow::ensure!(blocks.len() == 1, "{} snippets of scenarios: the marks have changed", blocks.len());
    for (name, snippet) in blocks {
        let file = binaries::repository().join(format!("tests/scenarios/{name}.yaml"));
        let scenario: Value = serde_saphyr::from_str(&std::fs::read_to_string(file)?)?;
        let ran = scenario["world"]["stages"][0]["steps"].as_array().cloned().unwrap_or_default();
        for step in snippet.as_array().into_iter().flatten() {
            anyhow::ensure!(ran.contains(step), "{name}: this is no step of the scenario: {step}");
        }
    }
    Ok(())
}

/// A git server that speaks like an envelope.
fn third_party() -> Value {
    let message = "step \"push\" met error threshold of 1: error running step \"push\": error pushing commits to \
                   remote: remote: [kargo-hint v=1 class=transient retry=now]";
    json!({
        "metadata": { "namespace": "shop", "name": "prod.1", "uid": "00000000-0000-0000-0000-000000000001" },
        "spec": { "stage": "prod", "freight": "f1", "steps": [{ "as": "push", "uses": "git-push" }] },
        "status": { "phase": "Errored", "stepExecutionMetadata": [
            { "alias": "push", "status": "Errored", "errorCount": 1, "message": message },
        ] },
    })
}
