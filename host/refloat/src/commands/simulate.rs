//! `refloat simulate FILE`: plays a scenario against a model of Kargo, in virtual time.
//!
//! In: a scenario, a seed, perhaps another policy. Out: the timeline and what came of it; exit 1 when that is not what
//! the scenario expects. The controller and the components are the real ones; nothing is sent anywhere.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kargo_model::Outcome;
use policy_core::time::format_duration;
use policy_engine::Engine;
use policy_source::Module;
use serde_json::Value;
use simulator::{Played, Scenario, Setup};

use crate::args::SimulateArgs;
use crate::exit::{CannotRun, Ended, Exit};
use crate::input::{self, Place};
use crate::layout::Layout;
use crate::modules;
use crate::output::{self, Simulated};
use crate::printer::Printer;

pub(crate) fn run(args: &SimulateArgs, printer: &mut Printer) -> Ended {
    let name = args.scenario.name();
    let mut scenario = read(input::object(&args.scenario)?, &name)?;
    if let Some(place) = &args.policy {
        let spec = policy(place)?;
        scenario.policies = BTreeMap::from([("from-the-command-line".to_owned(), spec)]);
    }
    let folder = match &args.scenario {
        Place::File(path) => path.parent().map(Path::to_path_buf).unwrap_or_default(),
        Place::Standard => PathBuf::new(),
    };
    resolve_captures(&mut scenario, args.captures.as_deref(), &name)?;
    let engine = Arc::new(modules::engine(&args.cache)?);
    let played = play(&scenario, args.seed, &engine, &folder)?;
    let document = Simulated::of(&scenario.title, args.seed, &played);
    output::show(args.output, &document, printer, |_| human(&scenario, args.seed, &played))?;
    Ok(if played.differences.is_empty() { Exit::AsExpected } else { Exit::Differs })
}

/// A scenario that makes sense, or its first problem by file and path.
pub(super) fn read(value: Value, name: &str) -> Result<Scenario, CannotRun> {
    let scenario: Scenario = input::checked(value, name, "scenario")?;
    match scenario.problems().into_iter().next() {
        None => Ok(scenario),
        Some(problem) => {
            let line = format!("`{name}` makes no sense at `{}`: {}", problem.path, problem.message);
            Err(CannotRun::new(line, problem.help))
        }
    }
}

/// The spec of a FailurePolicy in a file, or a file that is one.
fn policy(place: &Place) -> Result<Value, CannotRun> {
    let object = input::object(place)?;
    Ok(match object.get("kind").and_then(Value::as_str) {
        Some("FailurePolicy") => object.get("spec").cloned().unwrap_or_default(),
        Some(_) | None => object,
    })
}

fn resolve_captures(scenario: &mut Scenario, folder: Option<&Path>, name: &str) -> Result<(), CannotRun> {
    let find = |capture: &str, alias: &str| -> Option<Outcome> {
        let file = folder?.join(capture).join("promotion.yaml");
        let promotion = input::object(&Place::File(file)).ok()?;
        Outcome::of_capture(&promotion, alias)
    };
    let moments = scenario.timeline.iter_mut().filter_map(|moment| moment.script.as_mut());
    for script in std::iter::once(&mut scenario.script).chain(moments) {
        script.resolve(find).map_err(|error| {
            let help = "`--captures FOLDER` says where captured step failures are";
            CannotRun::from_error(&error, help).in_file(name)
        })?;
    }
    Ok(())
}

/// Plays a scenario whose modules are named relative to `folder`.
pub(super) fn play(
    scenario: &Scenario,
    seed: u64,
    engine: &Arc<Engine>,
    folder: &Path,
) -> Result<Played, CannotRun> {
    let mut components = BTreeMap::new();
    for (name, module) in &scenario.modules {
        let loaded = match module.strip_prefix("example:") {
            Some(example) => policy_source::example(example),
            None => match Module::parse(module) {
                Module::File(path) => Module::File(folder.join(path)).load(),
                builtin => builtin.load(),
            },
        };
        let component =
            loaded.map_err(|error| CannotRun::from_error(&error, "").in_file(&format!("modules.{name}")))?;
        components.insert(name.clone(), component.bytes);
    }
    let setup = Setup { scenario, seed, engine: Arc::clone(engine), components };
    simulator::play(&setup).map_err(|error| {
        CannotRun::from_error(&error, "what the world holds at the beginning has to be possible")
    })
}

fn human(scenario: &Scenario, seed: u64, played: &Played) -> String {
    let mut layout = Layout::default();
    layout.paragraph(&scenario.title);
    layout.gap();
    story(played, &mut layout);
    layout.gap();
    let lasted = format_duration(u32::try_from(played.lasted.as_secs()).unwrap_or(u32::MAX));
    layout.paragraph(&format!("{lasted} of virtual time, {} requests, seed {seed}", played.requests.len()));
    verdict(played, &mut layout);
    layout.into_text()
}

/// The timeline, a line per entry: when, who, what.
pub(super) fn story(played: &Played, layout: &mut Layout) {
    for entry in &played.timeline {
        let at = clock(entry.at_milliseconds);
        layout.labelled(&at, &format!("{}: {}", entry.who, entry.what));
    }
}

/// What is not as expected.
pub(super) fn verdict(played: &Played, layout: &mut Layout) {
    if played.differences.is_empty() {
        layout.paragraph("everything as expected");
    }
    for difference in &played.differences {
        layout.paragraph(&format!("not as expected: `{}`", difference.path));
        layout.labelled("- expected", &difference.expected);
        layout.labelled("+ found", &difference.found);
    }
}

/// Hours, minutes, seconds and tenths since the beginning.
fn clock(milliseconds: u64) -> String {
    let (tenths, seconds) = (milliseconds / 100 % 10, milliseconds / 1_000);
    format!("{}:{:02}:{:02}.{tenths}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}
