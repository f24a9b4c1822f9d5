//! Properties of hints: whatever a text holds, reading it ends, stays within its limits, and only narrows.
//!
//! In: texts that come near the grammar. Out: inputs for which a property does not hold.

use proptest::prelude::*;

use super::*;

fn failed(kind: &str, message: &str, output: Option<String>) -> PromotionSnapshot {
    let step = serde_json::json!({
        "alias": "a", "kind": kind, "status": "Failed", "message": message, "output": output,
    });
    let promotion = serde_json::json!({
        "project": "shop", "name": "prod.1", "uid": "u", "stage": "prod", "freight": "f",
        "phase": "Failed", "steps": [step],
    });
    serde_json::from_value(promotion).expect("a Promotion")
}

/// Pieces of envelopes and of what tears them apart.
fn texts() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("[kargo-hint ".to_owned()),
        Just("v=1 ".to_owned()),
        Just("class=quota ".to_owned()),
        Just("retry-after=99999999999999999999 ".to_owned()),
        Just("fault=freight ".to_owned()),
        Just("effect=unknown ".to_owned()),
        Just("]".to_owned()),
        Just("HTTP (503) response met failure criteria: \"".to_owned()),
        Just("failed: ".to_owned()),
        "[a-z-]{0,40}=[A-Za-z0-9_.:/+@\"\\\\-]{0,220} ?",
        "\\PC{0,10}",
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn whatever_is_said_stays_within_limits(
        kind in prop_oneof![Just("fail"), Just("http"), Just("acme"), Just("git-push")],
        message in texts(),
        output in proptest::option::of(texts()),
        metadata in proptest::option::of(texts()),
        trusted in any::<bool>(),
    ) {
        let trusted = if trusted { vec!["a".to_owned()] } else { Vec::new() };
        let found = failed(kind, &message, output);
        let metadata = metadata.as_deref();
        let places = Places { promotion: &found, freight: metadata, stage: metadata, trusted: &trusted };
        let found = examine(&places);
        for hint in &found.accepted {
            prop_assert!(hint.extra.len() <= 16);
            prop_assert!(hint.retry_after_seconds.is_none_or(|seconds| seconds <= 14 * 86_400));
            prop_assert!(hint.extra.iter().all(|(_, value)| value.len() <= 256));
        }
        prop_assert!(found.refused.iter().all(|refused| refused.because.len() <= 200));
    }

    /// What quotes others says nothing, unless the Project trusts the step.
    #[test]
    fn others_are_not_heard(message in texts(), kind in prop_oneof![Just("git-push"), Just("git-wait-for-pr")]) {
        prop_assert_eq!(read(&failed(kind, &message, None)), Vec::new());
    }

    /// Kargo writes errorExpression texts like Go does.
    #[test]
    fn quoted_texts_come_back(text in "[ -~]{0,60}") {
        let quoted = format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        prop_assert_eq!(unquote(&quoted), Some(text));
    }
}
