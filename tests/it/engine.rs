//! Guests that misbehave, and bytes that are no policy: each ends with its own fault or reason, in bounded time, and
//! the next good decision of another policy works.
//!
//! In: `tests/guests/hostile`, told by a setting what to do; variants of its bytes. Out: nothing but the assertions.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends by panicking, in its helpers, too"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use policy_core::context::Context;
use policy_core::decision::{Answer, Operation};
use policy_core::guest_fault::GuestFaultKind as Kind;
use policy_core::settings::{Scalar, Settings};
use policy_engine::{Allocation, Call, Compiler, Engine, Limits, LoadError, Policy, Track, inspect};

fn compiler() -> Compiler {
    let mut compiler = Compiler::new(env!("CARGO_BIN_EXE_refloat-compile"), []);
    // A machine that is busy with a build must not let the wall clock decide.
    compiler.limits.wall_seconds = 600;
    compiler
}

fn cache() -> &'static Path {
    static CACHE: OnceLock<tempfile::TempDir> = OnceLock::new();
    CACHE.get_or_init(|| tempfile::tempdir().unwrap()).path()
}

fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    // Nor here: only fuel is asserted on.
    let limits = Limits { wall: Duration::from_secs(60), ..Limits::default() };
    ENGINE.get_or_init(|| Engine::new(&limits, &compiler(), cache()).unwrap())
}

/// The hostile guest's bytes, built once.
fn hostile() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let target = root.join("target/guests");
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--profile", "guest", "--target", "wasm32-wasip2", "--target-dir"])
            .arg(&target)
            .current_dir(root.join("tests/guests/hostile"))
            .env_remove("RUSTFLAGS")
            .env_remove("RUSTC_WORKSPACE_WRAPPER")
            .status()
            .unwrap();
        assert!(status.success(), "the hostile guest does not build: is the target wasm32-wasip2 installed?");
        std::fs::read(target.join("wasm32-wasip2/guest/hostile.wasm")).unwrap()
    })
}

fn policy() -> &'static Policy {
    static POLICY: OnceLock<Policy> = OnceLock::new();
    POLICY.get_or_init(|| engine().load(hostile()).unwrap())
}

fn settings(deed: &str) -> Settings {
    Settings {
        values: vec![("/do".to_owned(), Scalar::Text(deed.to_owned()))],
        json: format!("{{\"do\":\"{deed}\"}}"),
    }
}

fn context(deed: &str) -> Context {
    let facts = serde_json::json!({
        "nowUnixSeconds": 1_700_000_000, "seed": [1, 2, 3, 4],
        "failure": { "id": "f1", "trigger": "promotion-errored", "atUnixSeconds": 1_699_999_000 },
        "classification": { "class": "transient", "retryability": "after-delay", "faultDomain": "environment",
            "effect": "partial", "confidencePercent": 90, "rule": "G2", "text": "connection reset" },
        "incident": { "id": "i1", "openedUnixSeconds": 1_699_999_000 },
        "budgets": { "retriesLeft": 3, "rollbacksLeft": 1, "deliveriesLeft": 4 },
        "project": { "name": "shop" },
        "stage": { "name": "prod", "health": "unknown" },
        "capabilities": ["retry", "rollback", "accept"], "truncated": ["incident.attempts"],
    });
    Context { settings: settings(deed), ..serde_json::from_value(facts).unwrap() }
}

fn do_it(deed: &str) -> Call {
    policy().decide(&context(deed), None)
}

fn assert_good_decision_works() {
    let call = do_it("good");
    let Ok(Answer::Decide(decision)) = call.result else {
        panic!("a good decision failed: {:?}", call.result)
    };
    assert_eq!(decision.actions[0].operation, Operation::Accept { text: "did good".to_owned() });
}

/// What the guest does, the fault that it must be, and what its message must say.
const DEEDS: &[(&str, Kind, &str)] = &[
    ("loop", Kind::OutOfFuel, "used up its fuel"),
    ("sleep-for-ever", Kind::OutOfFuel, "used up its fuel"),
    ("log-for-ever", Kind::OutOfFuel, "used up its fuel"),
    ("memory", Kind::Memory, "bytes of memory and may have 67108864"),
    ("panic", Kind::Trap, "src/lib.rs:"),
    ("panic", Kind::Trap, "the cupboard is bare"),
    ("panic-after-fatal", Kind::Trap, "src/policy.rs:12: out of ideas and more"),
    ("abort", Kind::Trap, "unreachable"),
    ("exit", Kind::Trap, "ended itself with status"),
    ("answer-5-mib", Kind::TooLarge, "more than 262144 bytes"),
    ("10k-actions", Kind::TooLarge, "more than 262144 bytes"),
    ("17-actions", Kind::TooLarge, "17 actions, 16 is the most"),
    ("state-5-kib", Kind::TooLarge, "5120 bytes of state"),
    ("undeclared", Kind::ContractViolation, "`retry`, which its manifest does not declare"),
    ("same-id", Kind::ContractViolation, "`a1` is empty or not unique"),
    ("no-reason", Kind::ContractViolation, "`a1` has no reason"),
    ("error", Kind::PolicyError, "no idea at src/policy.rs:7"),
    // While the host writes the context and reads the answer.
    ("loop-in-realloc", Kind::OutOfFuel, "used up its fuel"),
    ("realloc-out-of-bounds", Kind::Malformed, "realloc"),
    ("realloc-misaligned", Kind::Malformed, "realloc"),
    ("loop-in-post-return", Kind::OutOfFuel, "used up its fuel"),
    ("answer-not-utf8", Kind::Malformed, "not UTF-8"),
    ("answer-out-of-bounds", Kind::Malformed, "out of bounds"),
    // Calls of the host that no generated code makes.
    ("log-bad-level", Kind::Trap, "discriminant"),
    ("log-out-of-bounds", Kind::Trap, "out of bounds"),
    ("log-not-utf8", Kind::Malformed, "not UTF-8"),
    ("log-40-mib", Kind::TooLarge, "more than 262144 bytes"),
    ("handles-for-ever", Kind::Trap, "handle"),
    ("ask-for-ever", Kind::OutOfFuel, "used up its fuel"),
    // What a machine does slowly and an instruction counter might think cheap.
    ("grow-by-nothing-for-ever", Kind::OutOfFuel, "used up its fuel"),
    ("fill-for-ever", Kind::OutOfFuel, "used up its fuel"),
];

#[test]
fn every_deed_ends_with_its_own_fault() {
    for (deed, kind, message) in DEEDS {
        let start = Instant::now();
        let call = do_it(deed);
        let fault = call.result.expect_err(deed);
        assert!(start.elapsed() < Duration::from_secs(20), "{deed} took {:?}", start.elapsed());
        assert_eq!(fault.kind, *kind, "{deed}: {fault:?}");
        assert!(fault.message.contains(message), "{deed}: {fault:?}");
        assert!(fault.reproducible, "{deed}");
        assert_good_decision_works();
    }
}

#[test]
fn recursion_ends_whichever_stack_it_fills() {
    let fault = do_it("recurse").result.unwrap_err();
    // Rust keeps arrays on a stack in linear memory, which ends below address 0.
    assert!(matches!(fault.kind, Kind::StackOverflow | Kind::Trap), "{fault:?}");
    assert_good_decision_works();
}

#[test]
fn a_log_is_cut_and_clean() {
    let call = do_it("log-flood");
    assert_eq!(call.result, Ok(Answer::Pass));
    assert_eq!(call.log.len(), 1_001);
    assert_eq!(call.log[0], "info: line 0 \u{fffd}[31m");
    assert_eq!(call.log[1_000], "host: 19000 further lines did not fit");
    let long = do_it("long-line");
    assert_eq!(long.log[0].len(), "info: ".len() + 1_024);
}

#[test]
fn texts_are_clean() {
    let Ok(Answer::Decide(decision)) = do_it("escapes").result else { panic!("no decision") };
    let text = "red \u{fffd}[31m\u{fffd}text".to_owned();
    assert_eq!(decision.actions[0].operation, Operation::Accept { text });
}

#[test]
fn a_guest_sees_the_context_and_nothing_else() {
    let start = Instant::now();
    let call = do_it("look-around");
    assert!(start.elapsed() < Duration::from_secs(60), "a sleep must not wait");
    let Ok(Answer::Decide(decision)) = &call.result else { panic!("no decision: {:?}", call.result) };
    let Operation::Record(facts) = &decision.actions[0].operation else { panic!("no record") };
    let fact = |name: &str| facts.iter().find(|(key, _)| key == name).unwrap().1.as_str();
    assert_eq!(fact("slept"), "3600");
    assert!(fact("now").starts_with("1700003600"), "{facts:?}");
    assert_eq!([fact("environment"), fact("arguments"), fact("file")], ["0", "0", "false"]);
    assert_eq!(call.log, ["stdout: printed"]);
    let again = do_it("look-around");
    assert_eq!(again, call, "same context, same bytes and same fuel");
    let mut other = context("look-around");
    other.seed = [9, 9, 9, 9];
    assert_ne!(policy().decide(&other, None).result, call.result, "hash order depends on the seed");
}

#[test]
fn same_input_same_fuel_whatever_ran_before() {
    let first = do_it("good");
    let _ = do_it("memory");
    assert_eq!(do_it("good"), first);
    assert!(first.fuel_used > 0 && first.memory_peak > 0);
}

#[test]
fn validation_is_bounded_too() {
    assert_eq!(policy().validate(&settings("good")).result, Ok(vec![]));
    assert_eq!(policy().validate(&settings("bad-settings")).result.unwrap()[0].path, "/do");
    assert_eq!(policy().validate(&settings("loop-in-validate")).result.unwrap_err().kind, Kind::OutOfFuel);
    assert_good_decision_works();
}

#[test]
fn many_threads_may_decide_at_once() {
    std::thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| {
                assert_eq!(do_it("loop").result.unwrap_err().kind, Kind::OutOfFuel);
                assert_good_decision_works();
            });
        }
    });
}

#[test]
fn the_backstop_ends_what_fuel_does_not_and_says_so() {
    let limits = Limits { fuel: u64::MAX / 2, wall: Duration::from_millis(200), ..Limits::default() };
    let engine = Engine::new(&limits, &compiler(), cache()).unwrap();
    let policy = engine.load(hostile()).unwrap();
    let fault = policy.decide(&context("loop"), None).result.unwrap_err();
    assert_eq!((fault.kind, fault.reproducible), (Kind::Deadline, false));
    // What the wall clock ended may go better the next time, so that it is not remembered as the component's fault.
    let error = engine.load(&replaced("describe: behaves", "describe: loops!!")).unwrap_err();
    assert!(matches!(error, LoadError::Describe { reproducible: false, .. }), "{error}");
    assert!(error.is_temporary());
}

// ---- bytes ----

fn replaced(from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len(), "a name's length is written before it");
    let mut bytes = hostile().to_vec();
    let mut found = false;
    for at in 0..bytes.len() - from.len() {
        if bytes[at..].starts_with(from.as_bytes()) {
            bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
            found = true;
        }
    }
    assert!(found, "{from} is not in the component");
    bytes
}

fn leb(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// The hostile guest with one more core module, which is instantiated together with it: its start function runs
/// before anything else.
fn grafted(module: &str) -> Vec<u8> {
    grafted_onto(hostile(), module)
}

fn grafted_onto(component: &[u8], module: &str) -> Vec<u8> {
    let module = wat::parse_str(module).unwrap();
    let mut index = 0;
    let mut depth = 0;
    for payload in wasmparser::Parser::new(0).parse_all(component) {
        match payload.unwrap() {
            wasmparser::Payload::ModuleSection { .. } if depth == 1 => index += 1,
            wasmparser::Payload::Version { .. } => depth += 1,
            wasmparser::Payload::End(_) => depth -= 1,
            _ => {}
        }
    }
    let instance = [vec![1, 0], leb(index), vec![0]].concat();
    let sections = [vec![1], leb(module.len()), module, vec![2], leb(instance.len()), instance];
    [component.to_vec(), sections.concat()].concat()
}

fn refusal(bytes: &[u8]) -> LoadError {
    let error = engine().load(bytes).unwrap_err();
    assert!(!error.to_string().contains('\n') && !error.help().is_empty());
    assert_good_decision_works();
    error
}

#[test]
fn bytes_that_are_no_policy_are_named() {
    let hostile = hostile();
    assert_eq!(refusal(b""), LoadError::Empty);
    assert_eq!(refusal(b"(component)"), LoadError::Text);
    assert_eq!(
        refusal(b"{\"no\": 1}").to_string(),
        "this is not WebAssembly: it begins with `7b226e6f223a2031`"
    );
    assert_eq!(
        refusal(&[0xFF; 100]).to_string(),
        "this is not WebAssembly: it begins with `ffffffffffffffff`"
    );
    assert_eq!(refusal(b"\x7fELF..."), LoadError::Precompiled);
    assert_eq!(refusal(&wat::parse_str("(module)").unwrap()), LoadError::CoreModule);
    for size in [3, 100, hostile.len() / 2, hostile.len() - 1] {
        assert_eq!(refusal(&hostile[..size]), LoadError::Truncated { size });
    }
    assert!(matches!(refusal(&vec![0; 33 << 20]), LoadError::TooLarge { .. }));
    let mut scrambled = hostile.to_vec();
    scrambled[hostile.len() / 2..].iter_mut().step_by(7).for_each(|byte| *byte ^= 0x55);
    refusal(&scrambled);
}

#[test]
fn components_that_are_no_policy_are_named() {
    let empty = refusal(&wat::parse_str("(component)").unwrap());
    assert_eq!(empty.to_string(), "the component does not export a policy: it exports nothing");
    let newer = refusal(&replaced("failure-policy/policy@0.1.0", "failure-policy/policy@0.2.0"));
    assert_eq!(
        newer.to_string(),
        "the component exports `refloat:failure-policy/policy@0.2.0`, and this version of the host speaks track 0.1"
    );
    let network = refusal(&replaced("wasi:cli/environment", "wasi:sockets/network"));
    assert!(
        matches!(&network, LoadError::ForbiddenImport { import } if import.starts_with("wasi:sockets/network@"))
    );
    let http = wat::parse_str(
        r#"(component (import "wasi:http/outgoing-handler@0.2.6" (instance $i))
            (export "refloat:failure-policy/policy@0.1.0" (instance $i)))"#,
    );
    assert!(matches!(refusal(&http.unwrap()), LoadError::ForbiddenImport { .. }));
    let hollow = r#"(component (instance $i) (export "refloat:failure-policy/policy@0.1.0" (instance $i)))"#;
    assert!(matches!(refusal(&wat::parse_str(hollow).unwrap()), LoadError::Mismatch { .. }));
}

#[test]
fn a_patch_release_of_the_contract_is_the_same_track() {
    let patched =
        engine().load(&replaced("failure-policy/policy@0.1.0", "failure-policy/policy@0.1.7")).unwrap();
    assert_eq!((patched.track(), patched.manifest().name.as_str()), (Track::V0_1, "hostile"));
    let inspection = inspect(hostile(), &Limits::default()).unwrap();
    assert_eq!(inspection.exports, ["refloat:failure-policy/policy@0.1.0"]);
    assert!(inspection.imports.contains(&"refloat:failure-policy/log@0.1.0".to_owned()), "{inspection:?}");
}

#[test]
fn a_component_that_cannot_describe_itself_is_refused() {
    let manners = [
        ("describe: loops!!", "the policy cannot describe itself: out-of-fuel: the guest used up its fuel"),
        ("describe: panics!", "who is asking"),
        ("describe: floods!", "the policy cannot describe itself: too-large: "),
        ("describe: misname", "`No Name` is no name"),
        ("describe: no-json", "`settings-schema` is not a JSON object"),
    ];
    for (manner, message) in manners {
        let error = refusal(&replaced("describe: behaves", manner));
        assert!(error.to_string().contains(message), "{manner}: {error}");
    }
}

#[test]
fn more_of_anything_than_a_policy_needs_is_refused() {
    let import = |n: usize| format!("(import \"wasi:cli/environment@0.2.{n}\" (instance))");
    let imports: String = (0..10_000).map(import).collect();
    let policy = r#"(instance $i) (export "refloat:failure-policy/policy@0.1.0" (instance $i))"#;
    let crowded = wat::parse_str(format!("(component {imports} {policy})")).unwrap();
    assert_eq!(refusal(&crowded).to_string(), "the component has 201 imports, 200 is the most");
    let deep = wat::parse_str(format!("{}{}", "(component ".repeat(50), ")".repeat(50))).unwrap();
    assert_eq!(refusal(&deep).to_string(), "the component has 9 levels of nesting, 8 is the most");
    let types = format!("(component {} {policy})", "(type (list u8))".repeat(100_001));
    assert!(matches!(refusal(&wat::parse_str(types).unwrap()), LoadError::OutOfBounds { .. }));
    let tables = format!("(module {})", "(table 1 funcref)".repeat(21));
    assert!(matches!(refusal(&grafted(&tables)), LoadError::OutOfBounds { .. }));
    let mut instances = hostile().to_vec();
    for _ in 0..70 {
        instances = grafted_onto(&instances, "(module)");
    }
    assert!(matches!(refusal(&instances), LoadError::OutOfBounds { .. }));
}

#[test]
fn what_runs_at_instantiation_is_bounded_too() {
    let starts = [
        ("(loop (br 0))", "out-of-fuel"),
        ("unreachable", "trap"),
        ("(drop (table.grow (ref.null func) (i32.const 1000000)))", "table"),
        ("(drop (memory.grow (i32.const 2000)))", "memory"),
        ("(loop (memory.fill (i32.const 0) (i32.const 1) (i32.const 65536)) (br 0))", "out-of-fuel"),
        ("(loop (drop (table.grow (ref.null func) (i32.const 0))) (br 0))", "out-of-fuel"),
        ("(loop (table.copy (i32.const 0) (i32.const 0) (i32.const 0)) (br 0))", "out-of-fuel"),
    ];
    for (body, kind) in starts {
        let module = format!("(module (memory 1) (table 1 funcref) (func $start {body}) (start $start))");
        let error = refusal(&grafted(&module));
        let LoadError::Describe { because, .. } = &error else { panic!("{body}: {error}") };
        assert!(because.starts_with(kind), "{body}: {error}");
    }
    let table = refusal(&grafted("(module (table 10000000 funcref))"));
    assert_eq!(table.to_string(), "the component has 10000000 elements in a table, 20000 is the most");
    let memory = refusal(&grafted("(module (memory 65536))"));
    assert_eq!(memory.to_string(), "the component has 65536 pages of initial memory, 1024 is the most");
}

/// Thousands of locals that live across thousands of nested loops: minutes and gigabytes for any optimising compiler.
fn compile_bomb() -> Vec<u8> {
    let locals = "i32 ".repeat(2_000);
    let opens: String = (0..2_000)
        .map(|n| format!("loop local.get {n} local.get {} i32.add local.set {n} ", (n * 7) % 2_000))
        .collect();
    let closes: String = (0..2_000).map(|n| format!("local.get {n} br_if 0 end ")).collect();
    grafted(&format!("(module (func (local {locals}) {opens}{closes}))"))
}

#[test]
fn a_compile_bomb_takes_its_child_with_it_and_nothing_else() {
    let mut small = compiler();
    small.limits.cpu_seconds = 2;
    let engine = Engine::new(&Limits::default(), &small, &cache().join("bomb")).unwrap();
    let bomb = compile_bomb();
    let start = Instant::now();
    let error = engine.load(&bomb).unwrap_err();
    assert!(matches!(error, LoadError::CompileTimeout { .. } | LoadError::CompileMemory { .. }), "{error}");
    assert!(!error.is_temporary());
    let again = Instant::now();
    assert_eq!(engine.load(&bomb).unwrap_err(), error, "the reason is remembered");
    assert!(again.elapsed() < start.elapsed() / 4, "and it is not compiled again");
    assert_good_decision_works();
}

#[test]
fn a_compiler_that_gets_no_processor_is_asked_again() {
    let mut hasty = compiler();
    hasty.limits.wall_seconds = 0;
    let engine = Engine::new(&Limits::default(), &hasty, &cache().join("hasty")).unwrap();
    let error = engine.load(&compile_bomb()).unwrap_err();
    assert_eq!(error, LoadError::CompileUnfinished { seconds: 0 });
    assert!(error.is_temporary());
}

#[test]
fn a_compiler_that_wants_too_much_memory_is_told_from_one_that_takes_too_long() {
    let mut small = compiler();
    small.limits.memory_bytes = 160 << 20;
    let engine = Engine::new(&Limits::default(), &small, &cache().join("small")).unwrap();
    assert_eq!(engine.load(&compile_bomb()).unwrap_err(), LoadError::CompileMemory { mebibytes: 160 });
}

// ---- cache ----

#[test]
fn a_damaged_or_foreign_cache_is_compiled_again() {
    let directory = tempfile::tempdir().unwrap();
    let load = || Engine::new(&Limits::default(), &compiler(), directory.path()).unwrap().load(hostile());
    load().unwrap();
    let files: Vec<PathBuf> = files_below(directory.path());
    let code = files.iter().find(|path| path.extension().is_some_and(|it| it == "cwasm")).unwrap();
    let whole = std::fs::read(code).unwrap();
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    // Not in place: another engine has the file mapped.
    std::fs::write(code.with_extension("new"), &damaged).unwrap();
    std::fs::rename(code.with_extension("new"), code).unwrap();
    load().unwrap();
    assert_eq!(std::fs::read(code).unwrap().len(), whole.len());
    assert_ne!(std::fs::read(code).unwrap(), damaged, "what was damaged is replaced");
    let no_compiler = Compiler::new("/nonexistent", []);
    let offline = Engine::new(&Limits::default(), &no_compiler, directory.path()).unwrap();
    offline.load(hostile()).expect("what is cached needs no compiler");
    std::fs::write(directory.path().join("key"), [7; 32]).unwrap();
    let foreign = Engine::new(&Limits::default(), &no_compiler, directory.path()).unwrap();
    assert!(matches!(foreign.load(hostile()), Err(LoadError::Compiler { .. })), "another key, another cache");
}

#[test]
fn what_somebody_has_loaded_is_loaded_once() {
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::new(&Limits::default(), &compiler(), directory.path()).unwrap();
    let loaded = engine.load(hostile()).unwrap();
    let compiled = || files_below(directory.path()).into_iter().filter(|path| path.extension().is_some());
    compiled().for_each(|path| std::fs::remove_file(path).unwrap());
    assert_eq!(engine.load(hostile()).unwrap().digest(), loaded.digest());
    assert_eq!(compiled().count(), 0, "nothing is compiled while somebody has it");
    drop(loaded);
    engine.load(hostile()).unwrap();
    assert_ne!(compiled().count(), 0);
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files
}

#[test]
fn the_engine_says_what_it_is() {
    assert!(engine().engine_id().starts_with("wasmtime-48.0.8-"));
    assert_eq!(engine().allocation(), Allocation::Pool);
}
