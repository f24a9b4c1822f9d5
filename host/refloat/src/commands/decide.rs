//! `refloat decide`: asks policies about a context, exactly as the controller would, without a cluster.
//!
//! In: modules, a context, settings. Out: what each module said and the decision that stands. Guardrails are not
//! applied: they need the cluster's state, which a context alone does not have.

use policy_core::chain::{self, End, Entry, Said, Word};
use policy_core::context::Context;
use policy_core::settings::Settings;
use policy_core::{explain, settings};
use serde_json::Value;

use crate::args::DecideArgs;
use crate::exit::{CannotRun, Ended, Exit};
use crate::input;
use crate::layout::Layout;
use crate::modules::{Asking, Loaded, Modules};
use crate::output::{self, Answered, Decided};
use crate::printer::Printer;

pub(crate) fn run(args: &DecideArgs, printer: &mut Printer) -> Ended {
    let context: Context = input::document(&args.context, "context")?;
    if !args.settings.is_empty() && args.settings.len() != args.modules.len() {
        let line = format!("{} settings for {} modules", args.settings.len(), args.modules.len());
        return Err(CannotRun::new(line, "give `--settings` once per `--module`, or not at all"));
    }
    let modules = Modules::open(&args.cache)?;
    let loaded: Vec<Loaded> =
        args.modules.iter().map(|module| modules.load(module)).collect::<Result<_, _>>()?;
    let mut contexts = Vec::with_capacity(loaded.len());
    for (position, module) in loaded.iter().enumerate() {
        let settings = settings_of(args, position, module, &context)?;
        contexts.push(Context { settings, ..context.clone() });
    }
    let decided = ask(&loaded, &contexts);
    output::show(args.output, &decided, printer, human)?;
    match decided.end {
        End::Decided(_) | End::NoOpinion => Ok(Exit::AsExpected),
        End::Fault { entry, fault } => {
            let module = loaded.get(entry).map(|module| module.name.as_str()).unwrap_or_default();
            Err(CannotRun::new(explain::fault(module, &fault), super::fault_help(fault.kind)))
        }
    }
}

/// The settings of one module: its own file, else those that the context carries, else the schema's defaults.
fn settings_of(
    args: &DecideArgs,
    position: usize,
    module: &Loaded,
    context: &Context,
) -> Result<Settings, CannotRun> {
    let (document, place) = match args.settings.get(position) {
        Some(place) => (input::object(place)?, place.name()),
        None if !context.settings.json.is_empty() => {
            (recorded(context)?, "settings of the context".to_owned())
        }
        None => (Value::Object(serde_json::Map::new()), "default settings".to_owned()),
    };
    let settings = settings::accept(&document, &module.manifest().settings_schema)
        .map_err(|problems| super::wrong_settings(&place, &module.name, &problems))?;
    module.validate(&settings).map_err(|problems| super::wrong_settings(&place, &module.name, &problems))?;
    Ok(settings)
}

fn recorded(context: &Context) -> Result<Value, CannotRun> {
    serde_json::from_str(&context.settings.json).map_err(|error| {
        let help = "leave `settings.json` of the context empty, or give `--settings`";
        CannotRun::new(format!("`settings.json` of the context is not JSON: {error}"), help)
    })
}

/// Runs the chain; `contexts` has one entry per module.
pub(crate) fn ask(loaded: &[Loaded], contexts: &[Context]) -> Decided {
    let entries: Vec<Entry> = loaded.iter().map(Loaded::entry).collect();
    let trigger = contexts.first().map(|context| context.failure.trigger);
    let mut asking = Asking::new(loaded, contexts);
    let run = match trigger {
        Some(trigger) => chain::run(&entries, trigger, |position, proposed| asking.ask(position, proposed)),
        None => chain::Run { said: Vec::new(), end: End::NoOpinion },
    };
    let modules = run.said.iter().zip(loaded).map(|(said, module)| answered(said, module, &asking)).collect();
    Decided { modules, end: run.end }
}

fn answered(said: &Said, module: &Loaded, asking: &Asking<'_>) -> Answered {
    let call = asking.call(said.entry);
    Answered {
        module: module.name.clone(),
        policy: format!("{} {}", module.manifest().name, module.manifest().version),
        digest: module.digest.to_string(),
        word: said.word.clone(),
        fuel: call.map(|call| call.fuel_used),
        log: call.map(|call| call.log.clone()).unwrap_or_default(),
    }
}

fn human(decided: &Decided) -> String {
    let mut layout = Layout::default();
    for (entry, answered) in decided.modules.iter().enumerate() {
        let said = Said { entry, word: answered.word.clone() };
        layout.paragraph(&explain::said(&answered.module, &said));
        if let Word::Decided(decision) = &answered.word {
            layout.list("actions", decision.actions.iter().map(super::action));
        }
        layout.list("log", answered.log.iter().map(|line| explain::line(line)));
        layout.labelled("policy", &answered.policy);
        layout.labelled("digest", &answered.digest);
        if let Some(fuel) = answered.fuel {
            layout.labelled("fuel", &fuel.to_string());
        }
    }
    let names: Vec<&str> = decided.modules.iter().map(|answered| answered.module.as_str()).collect();
    // A fault stands above with its entry, and once more in the error that follows.
    if !matches!(decided.end, End::Fault { .. }) {
        layout.gap();
        layout.paragraph(&explain::end(&names, &decided.end));
    }
    layout.into_text()
}
