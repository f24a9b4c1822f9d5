//! A policy that misbehaves as its settings tell it to: the value of `/do` names the deed.
//!
//! In: settings with `/do`. Out: whatever the host must survive. Deeds that need no Rust are WAT in the test itself.
//! What happens before there are settings is told by [`MANNERS`], which the test changes in the bytes.

#![allow(unconditional_recursion, clippy::all, reason = "this guest does what nobody should")]

wit_bindgen::generate!({ path: "../../../wit/v0.1", world: "failure-policy" });

mod allocator;
mod raw;

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use exports::refloat::failure_policy::policy::*;
use refloat::failure_policy::log::{self, Level};

struct Hostile;
export!(Hostile);

#[global_allocator]
static ALLOCATOR: allocator::Obedient = allocator::Obedient;

/// What `describe` does.
static MANNERS: [u8; 17] = *b"describe: behaves";

impl Guest for Hostile {
    fn describe() -> Manifest {
        // Read as if it could change, for the test changes it behind the compiler's back.
        let manners = unsafe { std::ptr::read_volatile(&MANNERS) };
        let (mut name, mut schema) = ("hostile".to_owned(), "{}".to_owned());
        match &manners {
            b"describe: loops!!" => loop {
                std::hint::black_box(());
            },
            b"describe: panics!" => panic!("who is asking"),
            b"describe: floods!" => schema = "x".repeat(5 << 20),
            b"describe: misname" => name = "No Name".to_owned(),
            b"describe: no-json" => schema = "{".to_owned(),
            _ => {}
        }
        Manifest {
            name,
            version: "1.0.0".into(),
            description: "Does what its settings say".into(),
            role: Role::Decider,
            settings_schema: schema,
            triggers: vec![],
            actions: vec![ActionKind::Accept, ActionKind::Record],
        }
    }

    fn validate(settings: Settings) -> Result<(), Vec<Problem>> {
        match deed(&settings).as_str() {
            "loop-in-validate" => loop {
                std::hint::black_box(());
            },
            "bad-settings" => Err(vec![Problem { path: "/do".into(), message: "is bad".into() }]),
            _ => Ok(()),
        }
    }

    fn decide(context: Context, _proposed: Option<Decision>) -> Result<Answer, PolicyError> {
        let deed = deed(&context.settings);
        end_itself(&deed);
        take_too_much(&deed);
        raw::misuse_the_host(&deed);
        match deed.as_str() {
            "pass" => Ok(Answer::Pass),
            "error" => Err(PolicyError::Internal("no idea at src/policy.rs:7".into())),
            "answer-5-mib" => decide(vec![accept("a1", "x".repeat(5 << 20))], None),
            "10k-actions" => {
                decide((0..10_000).map(|n| accept(&format!("a{n}"), "x".into())).collect(), None)
            }
            "17-actions" => decide((0..17).map(|n| accept(&format!("a{n}"), "x".into())).collect(), None),
            "undeclared" => {
                let retry = Operation::Retry(Retry { delay_seconds: 1 });
                decide(vec![Action { operation: retry, ..accept("a1", String::new()) }], None)
            }
            "same-id" => decide(vec![accept("a1", "x".into()), accept("a1", "y".into())], None),
            "no-reason" => decide(vec![Action { reason: String::new(), ..accept("a1", "x".into()) }], None),
            "state-5-kib" => decide(vec![], Some("x".repeat(5 << 10))),
            "escapes" => decide(vec![accept("a1", "red \u{1b}[31m\u{202e}text".into())], None),
            "log-flood" => {
                for n in 0..20_000 {
                    log::write(Level::Info, &format!("line {n} \u{1b}[31m"));
                }
                Ok(Answer::Pass)
            }
            "long-line" => {
                log::write(Level::Info, &"x".repeat(100 << 10));
                Ok(Answer::Pass)
            }
            "answer-not-utf8" => {
                // SAFETY: it is not, and that is the point; nothing here reads it.
                let text = unsafe { String::from_utf8_unchecked(vec![0xFF, 0xFE]) };
                decide(vec![accept("a1", text)], None)
            }
            "answer-out-of-bounds" => {
                let text = std::mem::ManuallyDrop::new("x".to_owned());
                // SAFETY: there is one byte, and that is the point; nothing here reads it.
                let text = unsafe { String::from_raw_parts(text.as_ptr().cast_mut(), 1 << 30, 1 << 30) };
                decide(vec![accept("a1", text)], None)
            }
            "loop-in-post-return" => {
                let (actions, state) = (vec![accept("a1", String::new())], None);
                let explanation = allocator::NEVER_FREED.to_owned();
                Ok(Answer::Decide(Decision { actions, explanation, state, class: None }))
            }
            "look-around" => look_around(),
            _ => decide(vec![accept("a1", format!("did {deed}"))], None),
        }
    }
}

/// What this machine looks like from in here: must depend on nothing but the context.
fn look_around() -> Result<Answer, PolicyError> {
    let start = Instant::now();
    std::thread::sleep(Duration::from_secs(3_600));
    let slept = start.elapsed().as_secs();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let order: HashMap<u32, ()> = (0..8).map(|n| (n, ())).collect();
    let facts = vec![
        ("slept".to_owned(), slept.to_string()),
        ("now".to_owned(), now.as_nanos().to_string()),
        ("order".to_owned(), format!("{:?}", order.keys().collect::<Vec<_>>())),
        ("environment".to_owned(), std::env::vars().count().to_string()),
        ("arguments".to_owned(), std::env::args().count().to_string()),
        ("file".to_owned(), std::fs::read("/etc/passwd").is_ok().to_string()),
    ];
    println!("printed");
    let action = Action { operation: Operation::Record(facts), ..accept("a1", String::new()) };
    decide(vec![action], None)
}

fn end_itself(deed: &str) {
    match deed {
        "loop" => loop {
            std::hint::black_box(());
        },
        "recurse" => {
            recurse(0);
        }
        "panic" => panic!("the cupboard is bare"),
        "panic-after-fatal" => {
            log::write(Level::Fatal, "src/policy.rs:12: out of ideas\nand more");
            std::process::abort();
        }
        "abort" => std::process::abort(),
        "exit" => std::process::exit(3),
        _ => {}
    }
}

fn take_too_much(deed: &str) {
    match deed {
        "memory" => {
            let mut all: Vec<Vec<u8>> = Vec::new();
            loop {
                all.push(vec![1; 1 << 20]);
            }
        }
        "sleep-for-ever" => loop {
            std::thread::sleep(Duration::from_secs(3_600));
        },
        "log-for-ever" => loop {
            log::write(Level::Info, "again");
        },
        _ => {}
    }
}

fn recurse(depth: u64) -> u64 {
    let frame = [depth; 16];
    std::hint::black_box(&frame);
    recurse(depth + 1) + std::hint::black_box(frame[3])
}

fn deed(settings: &Settings) -> String {
    let value = settings.values.iter().find(|(path, _)| path == "/do");
    match value {
        Some((_, Scalar::Text(text))) => text.clone(),
        _ => String::new(),
    }
}

fn accept(id: &str, text: String) -> Action {
    Action {
        id: id.into(),
        reason: "told to".into(),
        on_error: OnError::Stop,
        operation: Operation::Accept(Note { text }),
    }
}

fn decide(actions: Vec<Action>, state: Option<String>) -> Result<Answer, PolicyError> {
    Ok(Answer::Decide(Decision { actions, explanation: "told to".into(), state, class: None }))
}
