//! What the command line says about guests that misbehave: one line that names the module and what it did, advice, exit
//! code 2. The engine's own tests look at the faults themselves.

use std::io::Write as _;
use std::process::Command;

use policy_tests::guests::hostile;
use policy_tests::stage_play::refloat;
use serde_json::json;

type Outcome = anyhow::Result<()>;

/// A deed, and what must be said about it.
const DEEDS: &[(&str, &str)] = &[
    ("abort", "ended itself"),
    ("panic", "the cupboard is bare"),
    ("loop", "used up its fuel"),
    ("memory", "wanted more memory than it may have"),
    ("answer-5-mib", "more than 262144 bytes"),
    ("undeclared", "`retry`, which its manifest does not declare"),
];

fn file(text: &serde_json::Value) -> anyhow::Result<tempfile::NamedTempFile> {
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(&serde_json::to_vec(text)?)?;
    Ok(file)
}

#[test]
fn every_deed_is_one_line_and_advice() -> Outcome {
    let context = file(&json!({
        "nowUnixSeconds": 1_790_000_000,
        "failure": {"id": "f1", "trigger": "promotion-errored", "atUnixSeconds": 1_789_999_990},
        "classification": policy_core::failure::Classification::unknown(),
        "incident": {"id": "i1", "openedUnixSeconds": 1_789_999_991},
        "budgets": {"retriesLeft": 3, "rollbacksLeft": 1, "deliveriesLeft": 6},
        "project": {"name": "shop"},
        "stage": {"name": "prod", "health": "unknown"},
        "capabilities": ["accept", "record"],
    }))?;
    for (deed, said) in DEEDS {
        let settings = file(&json!({"do": deed}))?;
        let output = Command::new(refloat()?)
            .args(["decide", "--module"])
            .arg(hostile()?)
            .arg("--context")
            .arg(context.path())
            .arg("--settings")
            .arg(settings.path())
            .output()?;
        let stderr = String::from_utf8(output.stderr)?;
        let lines: Vec<&str> = stderr.lines().collect();
        assert_eq!(output.status.code(), Some(2), "{deed}: {stderr}");
        assert_eq!(lines.len(), 2, "{deed}: {stderr}");
        assert!(lines[0].starts_with("error: ") && lines[0].contains("hostile.wasm"), "{deed}: {stderr}");
        assert!(lines[0].contains(said) && lines[1].starts_with("help: "), "{deed}: {stderr}");
    }
    Ok(())
}
