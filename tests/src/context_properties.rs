//! Properties of assembled contexts: whatever the world holds, the context fits, and says what it lost.
//!
//! In: random worlds laid over the base of [`crate::guard_case`]. Out: nothing, or the smallest world that breaks one.

use policy_core::assemble::cut;
use policy_core::context::Context;
use policy_core::snapshot::{PromotionSnapshot, StageSnapshot};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::guard_case::{Situation, context_of};

/// How much of everything there is.
#[derive(Clone, Debug)]
struct Amounts {
    steps: usize,
    text: usize,
    name: usize,
    labels: usize,
    history: usize,
    origins: usize,
    metrics: usize,
    neighbours: usize,
    attempts: usize,
    decisions: usize,
    artifacts: usize,
    queue: usize,
    kib: u32,
}

prop_compose! {
    fn amounts()(
        (steps, text, name, labels) in (0..200_usize, 0..1_500_usize, 1..400_usize, 0..90_usize),
        (history, origins, metrics, neighbours) in (0..11_usize, 1..24_usize, 0..60_usize, 0..80_usize),
        (attempts, decisions, artifacts, queue) in (0..64_usize, 0..21_usize, 0..90_usize, 0..90_usize),
        kib in prop_oneof![Just(0_u32), Just(16), Just(64), 16..300_u32],
    ) -> Amounts {
        Amounts { steps, text, name, labels, history, origins, metrics, neighbours, attempts, decisions, artifacts, queue, kib }
    }
}

/// A text with characters of several bytes, quotes, line breaks and a terminal escape.
fn text(length: usize) -> String {
    "wide ü \"quoted\"\n\u{1b}[31mred ".chars().cycle().take(length).collect()
}

fn named(what: &str, number: usize, length: usize) -> String {
    format!("{what}-{number}-{}", "n".repeat(length))
}

fn list(count: usize, entry: impl Fn(usize) -> Value) -> Value {
    (0..count).map(entry).collect()
}

fn map(count: usize, entry: impl Fn(usize) -> (String, Value)) -> Value {
    Value::Object((0..count).map(entry).collect())
}

fn situation(a: &Amounts) -> Situation {
    let origin = |n: usize| format!("Warehouse/{}", named("w", n, a.name));
    let items = |which: usize| map(a.origins, |n| (origin(n), json!(named("f", which * 1_000 + n, a.name))));
    let step = |n: usize| {
        let status = ["Errored", "Succeeded", "Failed"][n % 3];
        json!({"alias": named("s", n, a.name), "kind": "http", "status": status, "message": text(a.text),
            "started": 1, "finished": 9, "errorThreshold": 3, "digest": "d"})
    };
    let verification = |n: usize| {
        json!({"id": named("v", n, a.name), "phase": "Failed", "message": text(a.text),
        "analysisRun": "run"})
    };
    let past =
        |n: usize| json!({"id": format!("c{n}"), "items": items(n), "verifications": [verification(n)]});
    let request = |n: usize| {
        json!({"origin": origin(n), "stages": list(20, |s| json!(named("up", n * 100 + s, 9))),
        "soakSeconds": 60})
    };
    let artifact = |n: usize| json!({"kind": "image", "repository": named("r", n, a.name), "version": format!("1.{n}.0")});
    let freight = |n: usize| {
        json!({"name": named("f", n, a.name), "origin": origin(n % a.origins),
        "artifacts": list(a.artifacts, artifact), "verifiedIn": map(a.labels, |s| (named("st", s, 30), json!(1)))})
    };
    let measurement = json!({"phase": "Failed", "value": text(a.text), "message": text(a.text)});
    let metric = |n: usize| {
        json!({"name": named("m", n, 9), "phase": "Failed", "message": text(a.text),
        "measurements": list(10, |_| measurement.clone())})
    };
    let neighbour = |n: usize| {
        json!({"project": "shop", "name": named("down", n, 30), "uid": "u",
        "requests": [{"origin": "Warehouse/web", "stages": ["prod"]}],
        "history": [{"id": "c", "items": items(n)}]})
    };
    let attempt = |n: usize| {
        json!({"number": n, "kind": "retry", "claimed": 1, "reason": "r", "outcome": "failed",
        "promotion": named("x", n, a.name)})
    };
    let decision = |n: usize| {
        json!({"atUnixSeconds": n, "trigger": "timer", "class": "unknown",
        "actions": list(16, |_| json!([{"custom": text(80)}, "succeeded"]))})
    };
    let mut situation = Situation::with(&json!({
        "rules": {"contextBytes": a.kib * 1_024},
        "stage": {"labels": map(a.labels, |n| (named("l", n, 60), json!(text(60)))),
            "requests": list(a.origins, request), "history": list(a.history, past),
            "template": list(a.steps, |n| json!({"alias": named("t", n, a.name), "kind": "http", "digest": "e"}))},
        "freight": list(12, freight),
        "neighbours": list(a.neighbours, neighbour),
        "analysisRun": {"name": "run", "metrics": list(a.metrics, metric)},
        "incident": {"attempts": list(a.attempts, attempt), "decisions": list(a.decisions, decision)},
    }))
    .unwrap();
    let first = situation.promotions[0].clone();
    situation.promotions[0].steps = serde_json::from_value(list(a.steps, step)).unwrap();
    situation.promotions[0].message = text(a.text);
    situation.promotions.extend(queue(a, &first));
    situation
}

fn queue(a: &Amounts, like: &PromotionSnapshot) -> Vec<PromotionSnapshot> {
    let queued = |n| PromotionSnapshot { name: named("q", n, a.name).into(), phase: None, ..like.clone() };
    (0..a.queue).map(queued).collect()
}

/// Lists of the context with how many entries the world has for them.
fn lists<'a>(context: &'a Context, situation: &'a Situation) -> Vec<(&'static str, usize, usize)> {
    let steps = context.promotion.as_ref().map_or(0, |promotion| promotion.steps.len());
    let stage = &situation.stage;
    let lines = context.stage.extra.iter().find(|(key, _)| key == "downstream-stages");
    let queued = situation.promotions.iter().filter(|one| !one.is_terminal()).count();
    vec![
        ("promotion.steps", steps, situation.promotions[0].steps.len()),
        ("stage.labels", context.stage.labels.len(), stage.labels.len()),
        ("stage.origins", context.stage.origins.len(), stage.requests.len()),
        ("freight.targets", context.freight.targets.len(), stage.requests.len()),
        ("freight.history", context.freight.history.len(), stage.history.len()),
        ("queue", context.queue.len(), queued),
        ("incident.attempts", context.incident.attempts.len(), situation.incident.attempts.len()),
        ("incident.decisions", context.incident.decisions.len(), situation.incident.decisions.len()),
        (
            "stage.extra.downstream-stages",
            lines.map_or(0, |(_, text)| text.lines().count()),
            situation.neighbours.len(),
        ),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_world_holds_it_fits_and_says_what_is_lost(amounts in amounts()) {
        let situation = situation(&amounts);
        let context = context_of(&situation);
        let allowed = (amounts.kib as usize * 1_024).clamp(16 * 1_024, 256 * 1_024);
        prop_assert!(cut::size(&context) <= allowed, "{} of {allowed}", cut::size(&context));
        for (path, left, all) in lists(&context, &situation) {
            let is_marked = context.truncated.iter().any(|marked| marked == path);
            prop_assert_eq!(left < all, is_marked, "{}: {} of {}", path, left, all);
        }
        if let Some(promotion) = context.promotion.as_ref().filter(|_| amounts.steps > 0) {
            let failing = context.classification.step.as_deref();
            prop_assert!(promotion.steps.iter().any(|step| Some(step.alias.as_str()) == failing));
        }
        prop_assert!(!context.freight.targets.is_empty());
        prop_assert_eq!(&context, &context_of(&situation));
    }
}

#[test]
fn a_project_of_500_stages_stays_bounded() {
    let mut situation = Situation::with(&json!({})).unwrap();
    let stage = |n: usize, upstream: &str| -> StageSnapshot {
        serde_json::from_value(json!({"project": "shop", "name": format!("stage-{n:03}"), "uid": "u",
            "requests": [{"origin": "Warehouse/web", "stages": [upstream]}],
            "history": [{"id": "c", "items": {"Warehouse/web": if n == 499 { "f9" } else { "f7" }}}]}))
        .unwrap()
    };
    situation.neighbours = (0..500).map(|n| stage(n, "prod")).collect();
    let context = context_of(&situation);
    let lines = context.stage.extra.iter().find(|(key, _)| key == "downstream-stages").unwrap().1.clone();
    assert_eq!(lines.lines().count(), 32);
    assert!(
        lines.starts_with("stage-499 holds Warehouse/web=f9,"),
        "the failing Freight comes first: {lines}"
    );
    assert_eq!(context.truncated, ["stage.extra.downstream-stages"]);
    assert!(cut::size(&context) < 8 * 1_024, "{}", cut::size(&context));
}
