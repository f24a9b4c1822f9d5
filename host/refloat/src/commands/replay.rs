//! `refloat replay RECORD`: makes a recorded decision again and compares it byte for byte.
//!
//! In: a DecisionRecord and the components that decided. Out: the same (exit 0), what differs (exit 1), or why it
//! cannot be made again (exit 2). A component with another digest than the recorded one is said to be another.

use policy_api::crd::DecisionRecord;
use policy_api::crd::decision_record::{EntryRecord, Said as SaidWord};
use policy_api::record::Record;
use policy_core::chain::{End, Word};
use policy_core::context::Context;
use policy_core::decision::{Answer, Decision};
use policy_core::explain;
use policy_core::guest_fault::{GuestFault, GuestFaultKind};
use policy_source::Module;

use crate::args::ReplayArgs;
use crate::exit::{CannotRun, Ended, Exit};
use crate::input;
use crate::layout::Layout;
use crate::modules::{Loaded, Modules};
use crate::output::{self, Difference, Replayed};
use crate::printer::Printer;

pub(crate) fn run(args: &ReplayArgs, printer: &mut Printer) -> Ended {
    let name = args.record.name();
    let value = input::object(&args.record)?;
    let kind = value.get("kind").and_then(serde_json::Value::as_str).unwrap_or("nothing");
    if kind != "DecisionRecord" {
        let line = format!("`{name}` is no DecisionRecord: `kind` says {kind}");
        return Err(CannotRun::new(line, "`kubectl get decisionrecord NAME -o yaml` prints one"));
    }
    let object: DecisionRecord = input::checked(value, &name, "DecisionRecord")?;
    let record = Record::from_object(&object).map_err(|error| {
        CannotRun::from_error(&error, "get the record again, whole and unedited").in_file(&name)
    })?;
    let modules = Modules::open(&args.cache)?;
    if let Some((entry, fault)) =
        record.fault.as_ref().filter(|(_, fault)| fault.kind == GuestFaultKind::Disabled)
    {
        let line = format!("nobody was asked: {}", explain::fault(entry, fault));
        return Err(CannotRun::new(line, "replay the record of a decision for which policies were asked"));
    }
    is_whole(&record, &name)?;
    let (loaded, contexts) = prepare(args, &name, &record, &modules)?;
    let replayed = compare(&record, &loaded, &contexts);
    output::show(args.output, &replayed, printer, |replayed| human(&name, replayed))?;
    Ok(if replayed.same { Exit::AsExpected } else { Exit::Differs })
}

/// Loads what was asked, and gives each entry the context that it had.
fn prepare(
    args: &ReplayArgs,
    name: &str,
    record: &Record,
    modules: &Modules,
) -> Result<(Vec<Loaded>, Vec<Context>), CannotRun> {
    let n_entries = record.entries.len();
    if !args.modules.is_empty() && args.modules.len() != n_entries {
        let line =
            format!("`{name}` has {n_entries} chain entries, {} modules are given", args.modules.len());
        return Err(CannotRun::new(line, "give `--module` once per entry, in order, or not at all"));
    }
    let mut loaded = Vec::with_capacity(n_entries);
    let mut contexts = Vec::with_capacity(n_entries);
    for (position, entry) in record.entries.iter().enumerate().filter(|(_, entry)| was_asked(entry)) {
        let module = match args.modules.get(position) {
            Some(module) => module.clone(),
            None if entry.module.starts_with("builtin:") => Module::parse(&entry.module),
            None => {
                let line = format!("`{name}` was decided by `{}`, which is not built in", entry.module);
                return Err(CannotRun::new(line, "give its component with `--module FILE`"));
            }
        };
        loaded.push(modules.load(&module)?);
        contexts.push(record.context_of(entry).ok_or_else(|| {
            let line = format!("`{name}` does not hold the context: it was too large to keep");
            CannotRun::new(line, "what was decided stands in the record; it cannot be made again")
        })?);
    }
    Ok((loaded, contexts))
}

/// Whether the entry was asked. One that was not, because its FailurePolicy narrows its triggers or another one had
/// decided, had no part in the decision.
fn was_asked(entry: &EntryRecord) -> bool {
    match entry.said {
        SaidWord::Skipped => false,
        SaidWord::Decision | SaidWord::Pass | SaidWord::Fault => true,
    }
}

/// A record that could not keep what replaying compares says so.
fn is_whole(record: &Record, name: &str) -> Result<(), CannotRun> {
    let is_needed =
        |what: &&String| *what == "decision" || what.ends_with(".answer") || what.ends_with(".settings");
    let Some(missing) = record.truncated.iter().find(is_needed) else { return Ok(()) };
    let line = format!("`{name}` does not hold `{missing}`: it was too large to keep");
    Err(CannotRun::new(line, "what was decided stands in the record; it cannot be made again"))
}

fn compare(record: &Record, loaded: &[Loaded], contexts: &[Context]) -> Replayed {
    let again = super::decide::ask(loaded, contexts);
    let mut differences = Vec::new();
    let asked = record.entries.iter().filter(|entry| was_asked(entry));
    for ((recorded, module), answered) in asked.zip(loaded).zip(&again.modules) {
        let at = |what: &str| format!("{} of entry `{}`", what, recorded.name);
        differ(&mut differences, at("component"), &recorded.digest, &module.digest.to_string());
        let answer = match &answered.word {
            Word::Decided(decision) => json(&Answer::Decide(decision.clone())),
            Word::Pass => json(&Answer::Pass),
            Word::Fault(fault) => fault_text(fault),
            Word::Skipped(_) => String::new(),
        };
        differ(&mut differences, at("answer"), &recorded_answer(record, recorded), &answer);
        if record.engine_id == loaded.first().map(Loaded::engine_id).unwrap_or_default() {
            let fuel = answered.fuel.map(|fuel| fuel.to_string()).unwrap_or_default();
            differ(&mut differences, at("fuel"), &recorded.fuel, &fuel);
        }
    }
    let decision = match &again.end {
        End::Decided(decision) => Some(decision.clone()),
        End::NoOpinion | End::Fault { .. } => None,
    };
    let text = |decision: &Option<Decision>| decision.as_ref().map(json).unwrap_or_default();
    differ(&mut differences, "decision".to_owned(), &text(&record.decision), &text(&decision));
    Replayed { same: differences.is_empty(), modules: again.modules, decision, differences }
}

/// What the record keeps of an entry's answer, as one text: nothing for an entry that was skipped.
fn recorded_answer(record: &Record, entry: &EntryRecord) -> String {
    match &record.fault {
        Some((name, fault)) if *name == entry.name => fault_text(fault),
        Some(_) | None => entry.answer.clone().unwrap_or_default(),
    }
}

fn fault_text(fault: &GuestFault) -> String {
    format!("fault {}: {}", fault.kind.text(), fault.message)
}

/// The bytes that a record keeps: field order is that of the types.
fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn differ(differences: &mut Vec<Difference>, what: String, recorded: &str, now: &str) {
    if recorded != now {
        differences.push(Difference { what, recorded: recorded.to_owned(), now: now.to_owned() });
    }
}

fn human(name: &str, replayed: &Replayed) -> String {
    let mut layout = Layout::default();
    if replayed.same {
        layout.paragraph(&format!("`{name}`: the same decision, byte for byte"));
    } else {
        layout.paragraph(&format!("`{name}`: not the same"));
    }
    for difference in &replayed.differences {
        layout.paragraph(&difference.what);
        layout.labelled("- recorded", or_nothing(&difference.recorded));
        layout.labelled("+ now", or_nothing(&difference.now));
    }
    for (entry, answered) in replayed.modules.iter().enumerate() {
        let said = policy_core::chain::Said { entry, word: answered.word.clone() };
        layout.paragraph(&explain::said(&answered.module, &said));
    }
    layout.into_text()
}

fn or_nothing(text: &str) -> &str {
    if text.is_empty() { "nothing" } else { text }
}
