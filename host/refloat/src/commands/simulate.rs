//! `refloat simulate FILE`: plays a scenario against a model of Kargo, in virtual time.
//!
//! In: a scenario, a seed, perhaps another policy. Out: the timeline and what came of it; exit 1 when that is not what
//! the scenario expects. The controller and the components are the real ones; nothing is sent anywhere.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kargo_model::Outcome;
use policy_core::classify::catalogue::Catalogue;
use policy_core::time::format_duration;
use policy_engine::Engine;
use serde_json::Value;
use simulator::{Played, Scenario, Setup};

use crate::args::SimulateArgs;
use crate::exit::{CannotRun, Ended, Exit};
use crate::input::{self, Place};
use crate::layout::Layout;
use crate::modules;
use crate::output::{self, Simulated};
use crate::printer::Printer;
use crate::rules;

pub(crate) fn run(args: &SimulateArgs, printer: &mut Printer) -> Ended {
    let Some(place) = &args.scenario else {
        printer.answer(&schema()?);
        return Ok(Exit::AsExpected);
    };
    let name = place.name();
    let mut scenario = read(input::object(place)?, &name)?;
    if let Some(place) = &args.policy {
        scenario = with_policy(scenario, place)?;
    }
    if let Some(place) = &args.rules {
        let text = input::text(place)?;
        rules::added(Catalogue::built_in(), &text, place)?;
        scenario.rules = Some(text);
    }
    let folder = match place {
        Place::File(path) => path.parent().map(Path::to_path_buf).unwrap_or_default(),
        Place::Standard => PathBuf::new(),
    };
    resolve_captures(&mut scenario, args.captures.as_deref(), &name)?;
    let components = components(&scenario, &folder, &name)?;
    let engine = Arc::new(modules::engine(&args.cache)?);
    let played = play(&scenario, args.seed, &engine, components)?;
    let document = Simulated::of(&scenario.title, args.seed, &played);
    output::show(args.output, &document, printer, |_| human(&scenario, args.seed, &played))?;
    Ok(if played.differences.is_empty() { Exit::AsExpected } else { Exit::Differs })
}

/// The JSON Schema of scenarios, for editors.
fn schema() -> Result<String, CannotRun> {
    let text = serde_json::to_string_pretty(&Scenario::schema());
    text.map(|text| text + "\n").map_err(|error| CannotRun::from_error(&error, "report this"))
}

/// A scenario that makes sense, or its first problem by file and path.
pub(super) fn read(value: Value, name: &str) -> Result<Scenario, CannotRun> {
    let scenario: Scenario = input::checked(value, name, "scenario")?;
    sensible(&scenario, "", name)?;
    Ok(scenario)
}

/// The first problem of a scenario, by file and path. `within` is what its path begins with in the scenario and not in
/// that file.
fn sensible(scenario: &Scenario, within: &str, file: &str) -> Result<(), CannotRun> {
    let Some(problem) = scenario.problems().into_iter().next() else { return Ok(()) };
    let path = problem.path.strip_prefix(within).unwrap_or(&problem.path);
    let path = if path.is_empty() { "the top" } else { path };
    Err(no_sense(file, path, &problem.message, problem.help))
}

fn no_sense(file: &str, path: &str, message: &str, help: String) -> CannotRun {
    CannotRun::new(format!("`{file}` makes no sense at `{path}`: {message}"), help)
}

/// The scenario with a FailurePolicy from another file in place of its own.
fn with_policy(mut scenario: Scenario, place: &Place) -> Result<Scenario, CannotRun> {
    const NAME: &str = "from-the-command-line";
    scenario.policies = BTreeMap::from([(NAME.to_owned(), policy(place)?)]);
    sensible(&scenario, &format!("policies.{NAME}."), &place.name())?;
    Ok(scenario)
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
    let mut find = |capture: &str, alias: &str| -> Option<Outcome> {
        let file = folder?.join(capture).join("promotion.yaml");
        let promotion = input::object(&Place::File(file)).ok()?;
        Outcome::of_capture(&promotion, alias)
    };
    let moments = scenario.timeline.iter_mut().enumerate();
    let later =
        moments.filter_map(|(n, moment)| Some((format!("timeline[{n}].script"), moment.script.as_mut()?)));
    for (path, script) in std::iter::once(("script".to_owned(), &mut scenario.script)).chain(later) {
        for (n, rule) in script.promotions.iter_mut().enumerate() {
            for (alias, outcome) in &mut rule.steps {
                outcome.resolve(alias, &mut find).map_err(|error| {
                    let path = format!("{path}.promotions[{n}].steps.{alias}");
                    let help = "`--captures FOLDER` says where captured step failures are";
                    no_sense(name, &path, &error.to_string(), help.to_owned())
                })?;
            }
        }
    }
    Ok(())
}

/// Bytes of a scenario's modules, which are named relative to `folder`.
pub(super) fn components(
    scenario: &Scenario,
    folder: &Path,
    name: &str,
) -> Result<BTreeMap<String, Vec<u8>>, CannotRun> {
    simulator::components(scenario, folder).map_err(|error| {
        let place = format!("{name}` at `modules.{}", error.module);
        CannotRun::from_error(&error.source, "").in_file(&place)
    })
}

/// Plays a scenario.
pub(super) fn play(
    scenario: &Scenario,
    seed: u64,
    engine: &Arc<Engine>,
    components: BTreeMap<String, Vec<u8>>,
) -> Result<Played, CannotRun> {
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
