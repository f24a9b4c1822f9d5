//! `make bench`: what a decision costs, beside the figures to reach.
//!
//! In: a policy component, a hostile one, and the program that compiles, as arguments. Out: one table on stdout.
//! Absolute figures depend on the machine, so that each stands beside a ratio; nothing here asserts anything but that
//! what is compared gives the same answer.

mod measure;
mod sample;
mod table;

use std::hint::black_box;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use policy_core::context::Context;
use policy_core::settings::{Scalar, Settings};
use policy_engine::{Compiler, Engine, Limits, Policy};

use self::measure::{Spread, in_turns, median, private_memory_kib, throughput};
use self::table::Table;

/// As in `refloat` itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// A size of context, and what a decision on it should cost in microseconds.
struct Size {
    name: &'static str,
    steps: usize,
    decision: Spread,
    native: f64,
}

const SIZES: [Size; 2] = [
    Size { name: "2 KB", steps: 2, decision: Spread { p50: 12.0, p99: 20.0 }, native: 1.6 },
    Size { name: "20 KB", steps: 60, decision: Spread { p50: 40.0, p99: 75.0 }, native: 18.0 },
];

/// Modules that are loaded to see what one holds.
const MODULES: u32 = 100;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [component, hostile, compiler] = arguments.as_slice() else {
        return Err("usage: bench COMPONENT HOSTILE-COMPONENT COMPILER".into());
    };
    let (component, hostile) = (std::fs::read(component)?, std::fs::read(hostile)?);
    let compiler = Compiler::new(compiler, []);
    let cache = tempfile::tempdir()?;
    let engine = Engine::new(&Limits::default(), &compiler, cache.path())?;
    let policy = engine.load(&component)?;

    let mut out = std::io::stdout().lock();
    writeln!(out, "{} {}, {} KiB", policy.manifest().name, policy.manifest().version, component.len() >> 10)?;
    writeln!(out, "{}, instances in {:?}\n", engine.engine_id(), engine.allocation())?;
    let mut table = Table::default();
    for size in &SIZES {
        decision(&mut table, &policy, size)?;
    }
    table.section("around it");
    table.row(
        "cached module to first decision",
        "ms",
        first_decision(&component, &compiler, cache.path())?,
        0.3,
    );
    table.row("an endless loop ends by fuel", "ms", endless_loop(&engine, &hostile)?, 20.0);
    table.row("1,000 modules, private memory", "MiB", modules_mib(&engine, &component)?, 50.0);
    write!(out, "{table}")?;
    Ok(())
}

/// One decision of that size against the same function without a sandbox, and on two workers.
fn decision(table: &mut Table, policy: &Policy, size: &Size) -> Outcome<()> {
    let context = sample::context(size.steps, &policy.manifest().settings_schema)?;
    let call = policy.decide(&context, None);
    if call.result.as_ref().ok() != Some(&sample::decide_natively(&context)) {
        return Err(format!("sandbox and native function disagree: {:?}", call.result).into());
    }
    let bytes = serde_json::to_vec(&context)?.len();
    table.section(&format!("{}: {bytes} bytes as JSON, fuel {}", size.name, call.fuel_used));
    let [sandbox, native] =
        in_turns([&mut || drop(black_box(policy.decide(black_box(&context), None))), &mut || {
            drop(black_box(sample::decide_natively(&black_box(&context).clone())))
        }]);
    table.row("decision, p50", "µs", sandbox.p50, size.decision.p50);
    table.row("decision, p99", "µs", sandbox.p99, size.decision.p99);
    table.row("native function and deep clone, p50", "µs", native.p50, size.native);
    table.row("decision p50 / native p50", "", sandbox.p50 / native.p50, size.decision.p50 / size.native);
    table.row("decision p99 / native p50", "", sandbox.p99 / native.p50, size.decision.p99 / size.native);
    let [one, two] = throughput(|| drop(black_box(policy.decide(&context, None))));
    table.row_of_more("two workers / one", two / one, 1.9);
    table.note("decisions per second, one worker", one);
    Ok(())
}

/// Milliseconds from bytes whose machine code is in the cache to an answer.
fn first_decision(component: &[u8], compiler: &Compiler, cache: &Path) -> Outcome<f64> {
    let engine = Engine::new(&Limits::default(), compiler, cache)?;
    let context = sample::context(2, "{}")?;
    let mut times = Vec::new();
    for _ in 0..21 {
        let start = Instant::now();
        let policy = engine.load(component)?;
        let _ = black_box(policy.decide(&context, None));
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(median(times))
}

/// Milliseconds until a guest that never returns has used up its fuel.
fn endless_loop(engine: &Engine, hostile: &[u8]) -> Outcome<f64> {
    let policy = engine.load(hostile)?;
    let values = vec![("/do".to_owned(), Scalar::Text("loop".to_owned()))];
    let context = Context { settings: Settings { values, json: String::new() }, ..sample::context(2, "{}")? };
    let mut times = Vec::new();
    for _ in 0..11 {
        let start = Instant::now();
        if policy.decide(&context, None).result.is_ok() {
            return Err("the hostile guest did as it should".into());
        }
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(median(times))
}

/// MiB that 1,000 loaded modules hold for themselves, reckoned from [`MODULES`] that differ in a custom section.
fn modules_mib(engine: &Engine, component: &[u8]) -> Outcome<f64> {
    let context = sample::context(2, "{}")?;
    let variant = |number: u32| -> Vec<u8> {
        // A custom section: id 0, its length, the length of its name, its name, its content.
        [component, &[0, 6, 1, b'n'], &number.to_le_bytes()].concat()
    };
    let compiled: Result<Vec<Policy>, _> = (0..MODULES).map(|number| engine.load(&variant(number))).collect();
    drop(compiled?);
    let before = private_memory_kib()?;
    let mut loaded = Vec::new();
    for number in 0..MODULES {
        let policy = engine.load(&variant(number))?;
        let _ = black_box(policy.decide(&context, None));
        loaded.push(policy);
    }
    let grown = private_memory_kib()?.saturating_sub(before);
    Ok(f64::from(grown) / f64::from(MODULES) * 1_000.0 / 1_024.0)
}
