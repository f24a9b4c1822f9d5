//! Files of rules that a platform team adds to the catalogue.
//!
//! In: a file. Holds: it is refused with a line of its own and one line of text, or it reads every message within the
//! usual bounds.

use policy_core::classify;
use policy_core::classify::catalogue::Catalogue;

const MESSAGES: [(&str, &str); 3] = [
    ("http", "step \"a\": HTTP (503) response met failure criteria: \"busy\""),
    ("git-push", "step \"push\" met error threshold of 3: error pushing to remote: authentication failed"),
    ("acme-deploy", "canary score 61 is below 75"),
];

/// Checks one input.
pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match Catalogue::built_in().with(text) {
        Ok(catalogue) => {
            for (kind, message) in MESSAGES {
                let read = classify::text_by(&catalogue, Some(kind), message);
                assert!(read.confidence_percent <= 100 && read.rule.len() <= 130, "{read:?}");
            }
        }
        Err(bad) => {
            // To YAML a carriage return ends a line as well.
            let n_lines = u64::try_from(text.split(['\n', '\r']).count()).unwrap_or(u64::MAX);
            assert!((1..=n_lines).contains(&bad.line), "line {} of {n_lines}", bad.line);
            assert!(!bad.problem.is_empty() && bad.problem.len() <= 400, "{bad}");
            assert!(!bad.problem.contains('\n'), "{bad}");
        }
    }
}

/// What is built in, a piece at a time, and what the cases and the documentation show.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = crate::seeds::files("host/policy-core/src/classify/catalogue", "yaml")
        .iter()
        .map(|text| first_rows(text))
        .collect();
    for case in crate::seeds::documents("tests/cases/cli") {
        let files = case.get("files").and_then(|files| files.as_object());
        let texts = files.into_iter().flatten().filter_map(|(_, text)| text.as_str());
        seeds.extend(texts.filter(|text| text.contains("rows:")).map(|text| text.as_bytes().to_vec()));
    }
    let page = crate::seeds::file("docs/classification.md");
    let example = page.split("<!-- rules -->\n```yaml\n").nth(1).and_then(|rest| rest.split("```").next());
    seeds.extend(example.map(|text| text.as_bytes().to_vec()));
    seeds
}

/// The first four rows, with other ids: those of a whole file are taken already.
fn first_rows(text: &str) -> Vec<u8> {
    let mut n_rows = 0;
    let mut kept = String::new();
    for line in text.lines() {
        n_rows += usize::from(line.trim_start().starts_with("- id:"));
        if n_rows > 4 {
            break;
        }
        kept.push_str(&line.replace("- id: ", "- id: my-"));
        kept.push('\n');
    }
    kept.into_bytes()
}
