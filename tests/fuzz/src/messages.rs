//! Messages of steps through unwrapping and classification.
//!
//! In: a byte that chooses the kind of step, then the message. Holds: every answer is within its bounds, says the same
//! twice, unwrapping takes everything off at once, and what a step says about itself never makes repeating likelier.

use policy_core::classify;
use policy_core::classify::unwrap::{self, BUILT_IN};
use policy_core::failure::{Class, Retryability, StepHint};
use policy_core::hints;
use policy_core::snapshot::{PromotionPhase, PromotionSnapshot, StepSnapshot};

/// Kinds beside Kargo's own: somebody else's, and the one under which health issues are read.
const OTHERS: [&str; 2] = ["acme-deploy", "stage-health"];

/// Checks one input.
pub fn check(input: &[u8]) {
    let (by, message) = crate::choice(input);
    let message = String::from_utf8_lossy(message);
    let kinds: Vec<&str> = BUILT_IN.into_iter().chain(OTHERS).collect();
    let kind = (by != 255).then(|| crate::chosen(&kinds, by));

    let inner = unwrap::step_message(&message).text;
    assert_eq!(unwrap::step_message(inner).text, inner, "unwrapping once leaves something to unwrap");

    let read = classify::text(kind, &message);
    assert!(read.text.len() <= 2 * 1024, "{} bytes of text are kept", read.text.len());
    assert!(read.confidence_percent <= 100);
    crate::assert_clean(&read.text);
    assert_eq!(classify::text(kind, &message), read, "the same text is read in two ways");

    let promotion = failed(kind.unwrap_or_default(), &message);
    let without = classify::promotion(&promotion, &[]);
    for hint in hints::read(&promotion).into_iter().chain(mildest()) {
        let with = classify::promotion(&promotion, std::slice::from_ref(&hint));
        assert!(with.retryability >= without.retryability, "{hint:?} makes repeating likelier");
    }
}

/// What somebody would say who wants a repetition at any price.
fn mildest() -> [StepHint; 1] {
    [StepHint { class: Some(Class::Transient), retry: Some(Retryability::Now), ..StepHint::default() }]
}

/// A Promotion whose only step failed with that message.
pub fn failed(kind: &str, message: &str) -> PromotionSnapshot {
    let step = StepSnapshot {
        alias: "a".to_owned(),
        kind: kind.to_owned(),
        status: Some("Failed".to_owned()),
        message: message.to_owned(),
        ..StepSnapshot::default()
    };
    PromotionSnapshot {
        project: "shop".into(),
        name: "prod.1".into(),
        uid: "u".into(),
        stage: "prod".into(),
        freight: "f".into(),
        origin: None,
        phase: Some(PromotionPhase::Failed),
        message: message.to_owned(),
        created: None,
        started: None,
        finished: None,
        actor: None,
        actor_kind: Default::default(),
        is_rollback: false,
        abort_actor: None,
        hold: None,
        resume: None,
        labels: Default::default(),
        ignored: false,
        collection: Default::default(),
        steps: vec![step],
        template_hash: None,
        vars: Default::default(),
        restarted: false,
    }
}

/// Messages of captured failures, and texts of cases with their kind of step.
pub fn seeds() -> Vec<Vec<u8>> {
    let with_kind = |kind: Option<&str>, text: &str| {
        let by =
            kind.map_or(255, |kind| BUILT_IN.iter().position(|one| *one == kind).unwrap_or(BUILT_IN.len()));
        [&[u8::try_from(by).unwrap_or(255)], text.as_bytes()].concat()
    };
    let mut seeds = Vec::new();
    for case in
        crate::seeds::documents("tests/cases/classify").chain(crate::seeds::documents("tests/data/captures"))
    {
        let kind = case.get("kind").and_then(serde_json::Value::as_str);
        seeds.extend(
            crate::seeds::texts(&case, &["text", "message"]).iter().map(|text| with_kind(kind, text)),
        );
    }
    seeds
}
