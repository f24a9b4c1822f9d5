//! The decision part of `make bench`: one decision in a fresh sandbox against a native function on a deep clone.
//!
//! In: a policy component and the program that compiles, as arguments. Out: percentiles and ratios on stdout, beside
//! the figures to reach. Ratios count, absolute figures depend on the machine.

use std::hint::black_box;
use std::io::Write as _;
use std::time::{Duration, Instant};

use policy_core::context::Context;
use policy_core::decision::{Action, Answer, Decision, OnError, Operation};
use policy_core::failure::{Class, Retryability};
use policy_engine::{Compiler, Engine, Limits, Policy};
use serde_json::{Value, json};

/// How long each figure is measured, five times over; the median round counts.
const ROUND: Duration = Duration::from_millis(400);
const ROUNDS: usize = 5;

/// Name, steps, p50 and p99 to reach in microseconds.
const SIZES: [(&str, usize, f64, f64); 2] = [("2 KB", 3, 12.0, 20.0), ("20 KB", 62, 40.0, 75.0)];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(component), Some(compiler)) = (arguments.next(), arguments.next()) else {
        return Err("usage: bench COMPONENT COMPILER".into());
    };
    let cache = tempfile::tempdir()?;
    let engine = Engine::new(&Limits::default(), &Compiler::new(compiler, []), cache.path())?;
    let bytes = std::fs::read(component)?;
    let start = Instant::now();
    let _ = engine.load(&bytes)?;
    let cold = start.elapsed();
    let start = Instant::now();
    let policy = engine.load(&bytes)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{} in {:?}, {}", policy.manifest().name, engine.allocation(), engine.engine_id())?;
    writeln!(out, "load: {cold:?} with compiling, {:?} from the cache", start.elapsed())?;
    for (name, steps, p50, p99) in SIZES {
        let context = context(steps)?;
        let call = policy.decide(&context, None);
        let json = serde_json::to_vec(&context)?.len();
        writeln!(
            out,
            "\n{name}: {json} bytes as JSON, fuel {}, memory {} KiB",
            call.fuel_used,
            call.memory_peak >> 10
        )?;
        writeln!(out, "  answer: {}", if call.result.is_ok() { "given" } else { "FAULT" })?;
        let wasm = measure(|| drop(black_box(policy.decide(black_box(&context), None))));
        let native = measure(|| drop(black_box(decide_natively(black_box(&context).clone()))));
        writeln!(
            out,
            "  fresh sandbox   p50 {:7.1} µs (to reach {p50})   p99 {:7.1} µs (to reach {p99})",
            wasm.0, wasm.1
        )?;
        writeln!(out, "  native + clone  p50 {:7.1} µs                 p99 {:7.1} µs", native.0, native.1)?;
        writeln!(
            out,
            "  ratio           p50 {:7.2}                    p99 {:7.2}",
            wasm.0 / native.0,
            wasm.1 / native.1
        )?;
        let (one, two) = (throughput(&policy, &context, 1), throughput(&policy, &context, 2));
        writeln!(
            out,
            "  decisions/s     one worker {one:.0}, two {two:.0}: {:.2} times (to reach 1.9)",
            two / one
        )?;
    }
    Ok(())
}

/// p50 and p99 in microseconds: the median over rounds of each.
fn measure(mut work: impl FnMut()) -> (f64, f64) {
    let mut rounds: Vec<(f64, f64)> = (0..=ROUNDS)
        .map(|_| {
            let (start, mut times) = (Instant::now(), Vec::new());
            while start.elapsed() < ROUND {
                let call = Instant::now();
                work();
                times.push(call.elapsed().as_secs_f64() * 1e6);
            }
            times.sort_by(f64::total_cmp);
            let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or(f64::NAN);
            (at(50), at(99))
        })
        .skip(1)
        .collect();
    rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
    rounds.get(ROUNDS / 2).copied().unwrap_or((f64::NAN, f64::NAN))
}

fn throughput(policy: &Policy, context: &Context, workers: u32) -> f64 {
    let start = Instant::now();
    let length = ROUND * 3;
    let count: u32 = std::thread::scope(|scope| {
        let work = || {
            let mut count = 0;
            while start.elapsed() < length {
                drop(black_box(policy.decide(context, None)));
                count += 1;
            }
            count
        };
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or(0)).sum()
    });
    f64::from(count) / length.as_secs_f64()
}

/// What a host without a sandbox would do: copy the context, look at the same things, build the same answer.
fn decide_natively(context: Context) -> Answer {
    let transient = matches!(context.classification.class, Class::Transient | Class::Quota | Class::Timeout);
    let retryable = context.classification.retryability != Retryability::Never;
    let hinted = context.hints.iter().filter_map(|hint| hint.retry_after_seconds).max().unwrap_or(0);
    if !transient || !retryable || context.budgets.retries_left == 0 {
        return Answer::Pass;
    }
    let action = Action {
        id: "a1".to_owned(),
        reason: format!("{} may pass by itself", context.classification.text),
        on_error: OnError::Stop,
        operation: Operation::Retry { delay_seconds: hinted.max(30) },
    };
    Answer::Decide(Decision {
        actions: vec![action],
        explanation: context.failure.summary,
        ..Decision::default()
    })
}

/// A failed Promotion with that many steps; texts, lists and options in the mixture that Kargo gives.
fn context(steps: usize) -> Result<Context, serde_json::Error> {
    let step = |index: usize| {
        json!({
            "index": index, "alias": format!("step-{index}"), "kind": "git-push", "status": "Succeeded",
            "message": "pushed refs/heads/main to https://git.example.com/shop/deploy.git: 3 objects, 1 commit",
            "mutates": true, "startedUnixSeconds": 1_699_999_000, "finishedUnixSeconds": 1_699_999_010,
            "extra": [["commit", "0123456789abcdef"]],
        })
    };
    let freight = json!({
        "name": "f".repeat(40), "alias": "brave-fox", "origin": "Warehouse/shop", "discoveredUnixSeconds": 1_699_990_000,
        "artifacts": [{ "kind": "image", "repository": "registry.example.com/shop", "version": "1.2.3" }],
    });
    serde_json::from_value(json!({
        "nowUnixSeconds": 1_700_000_000, "seed": [1, 2, 3, 4],
        "failure": { "id": "f1", "trigger": "promotion-errored", "atUnixSeconds": 1_699_999_000,
            "summary": "Promotion prod.01 Errored at step-2" },
        "classification": { "class": "transient", "retryability": "after-delay", "faultDomain": "environment",
            "effect": "partial", "confidencePercent": 90, "rule": "G2", "step": "step-2", "text": "connection reset" },
        "incident": { "id": "i1", "openedUnixSeconds": 1_699_999_000 },
        "budgets": { "retriesLeft": 3, "rollbacksLeft": 1, "deliveriesLeft": 4 },
        "project": { "name": "shop", "labels": [["team", "checkout"]] },
        "stage": { "name": "prod", "health": "unknown", "origins": ["Warehouse/shop"], "labels": [["tier", "prod"]] },
        "promotion": { "name": "prod.01", "freight": "f".repeat(40), "phase": "Errored", "message": "step-2: reset",
            "actorKind": "kargo", "steps": (0..steps).map(step).collect::<Vec<Value>>() },
        "freight": { "failing": freight, "current": [freight] },
        "capabilities": ["retry", "rollback", "notify", "accept", "wait"],
        "settings": { "values": [["/maxRetries", { "integer": 3 }]], "json": "{\"maxRetries\":3}" },
    }))
}
