//! What steps say about their own failure: outputs, and the envelope in a message.
//!
//! In: a byte that chooses the kind of step and whether it is trusted, one that chooses the channel, then the text.
//! Holds: an accepted hint is within its bounds, a text that quotes others is never heard, and every refusal is short.

use policy_core::hints::{self, Places};
use policy_core::rules::Rules;
use policy_core::snapshot::StepSnapshot;

use crate::messages::failed;

const KINDS: [&str; 4] = ["fail", "http", "acme-deploy", "git-push"];

/// Checks one input.
pub fn check(input: &[u8]) {
    let (by, rest) = crate::choice(input);
    let (channel, text) = crate::choice(rest);
    let text = String::from_utf8_lossy(text).into_owned();
    let kind = crate::chosen(&KINDS, by);
    let trusted = if by & 0x80 == 0 { Vec::new() } else { vec!["a".to_owned()] };

    let mut promotion = failed(kind, if channel % 3 == 0 { &text } else { "failed: no" });
    match channel % 3 {
        0 => {}
        1 => promotion.steps.iter_mut().for_each(|step| step.output = Some(text.clone())),
        _ => promotion.steps.push(StepSnapshot {
            alias: "rollout::failure-hint".to_owned(),
            kind: "compose-output".to_owned(),
            output: Some(text.clone()),
            ..StepSnapshot::default()
        }),
    }
    let places = Places { promotion: &promotion, freight: None, stage: None, trusted: &trusted };
    let found = hints::examine(&places);
    assert_eq!(hints::examine(&places), found, "the same hints are heard in two ways");
    for hint in &found.accepted {
        assert!(hint.retry_after_seconds.unwrap_or(0) <= Rules::MAX_WAIT_SECONDS, "{hint:?}");
        assert!(hint.reason.as_ref().is_none_or(|reason| reason.len() <= 63), "{hint:?}");
        assert!(hint.scope_key.as_ref().is_none_or(|key| key.len() <= 128), "{hint:?}");
        assert!(hint.extra.len() <= 16 && hint.extra.iter().all(|(_, value)| value.len() <= 256), "{hint:?}");
        for text in hint.extra.iter().map(|(_, value)| value).chain(&hint.scope_key).chain(&hint.reason) {
            crate::assert_clean(text);
        }
        let quotes_others = kind == "git-push" && trusted.is_empty() && hint.channel == "envelope";
        assert!(!quotes_others, "an envelope in a text that quotes others is heard: {hint:?}");
    }
    for refused in &found.refused {
        assert!(refused.because.len() <= 200, "{refused:?}");
        crate::assert_clean(&refused.because);
    }
    let _ = hints::unquote(&text);
}

/// Texts and outputs of the cases about hints, and every captured message.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for case in
        crate::seeds::documents("tests/cases/hints").chain(crate::seeds::documents("tests/data/captures"))
    {
        for text in
            crate::seeds::texts(&case, &["text", "message"]).iter().filter(|text| text.contains("kargo-hint"))
        {
            for by in 0..4_u8 {
                seeds.push([&[by, 0], text.as_bytes()].concat());
            }
        }
        for output in crate::seeds::members(&case, &["failure-hint", "hint", "output"]) {
            seeds.push([&[0, 2], output.to_string().as_bytes()].concat());
            seeds.push([&[0, 1], serde_json::json!({ "hint": output }).to_string().as_bytes()].concat());
        }
    }
    seeds
}
