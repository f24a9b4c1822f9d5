//! `refloat simulate FILE`: plays a scenario against a model of Kargo, in virtual time.
//!
//! In: a scenario, a seed, perhaps another policy. Out: the timeline and what came of it; exit 1 when that is not what
//! the scenario expects. The controller and the components are the real ones; nothing is sent anywhere.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kargo_model::Outcome;
use policy_core::classify::catalogue::Catalogue;
use policy_core::time::format_duration;
use serde_json::Value;
use simulator::{Played, Problem, Scenario, Setup};

use crate::args::SimulateArgs;
use crate::exit::{CannotRun, Ended, Exit};
use crate::input::{self, Place};
use crate::layout::Layout;
use crate::modules;
use crate::objects;
use crate::output::{self, Simulated};
use crate::printer::{self, Printer};
use crate::rules;

pub(crate) fn run(args: &SimulateArgs, printer: &mut Printer) -> Ended {
    let Some(place) = &args.scenario else {
        printer.answer(&schema()?);
        return Ok(Exit::AsExpected);
    };
    let origin = Origin { scenario: place.name(), policy: args.policy.as_ref().map(Place::name) };
    let name = &origin.scenario;
    let mut scenario: Scenario = input::checked(input::object(place)?, name, "scenario")?;
    if let Some(place) = &args.policy {
        scenario.policies = BTreeMap::from([(FROM_THE_COMMAND_LINE.to_owned(), policy(place)?)]);
        // What the scenario says of its own policies is not said of this one.
        scenario.expect.not_accepted.clear();
    }
    if let Some(place) = &args.rules {
        let text = input::text(place)?;
        rules::added(Catalogue::built_in(), &text, place)?;
        scenario.rules = Some(text);
    }
    sensible(&scenario, &origin)?;
    let folder = match place {
        Place::File(path) => path.parent().map(Path::to_path_buf).unwrap_or_default(),
        Place::Standard => PathBuf::new(),
    };
    resolve_captures(&mut scenario, args.captures.as_deref(), name)?;
    let components = components(&scenario, &folder, name)?;
    let engine = Arc::new(modules::engine(&args.cache)?);
    let setup = Setup { scenario: &scenario, seed: args.seed, engine, components };
    let played = play(&setup, &origin)?;
    let document = Simulated::of(&scenario.title, args.seed, &played);
    output::show(args.output, &document, printer, |_| human(&scenario, args.seed, &played))?;
    Ok(if played.differences.is_empty() { Exit::AsExpected } else { Exit::Differs })
}

/// The JSON Schema of scenarios, for editors.
fn schema() -> Result<String, CannotRun> {
    let text = serde_json::to_string_pretty(&Scenario::schema());
    text.map(|text| text + "\n").map_err(|error| CannotRun::from_error(&error, "report this"))
}

/// The name of the FailurePolicy that `--policy` gives.
const FROM_THE_COMMAND_LINE: &str = "from-the-command-line";

/// The files that make up what is played.
pub(super) struct Origin {
    /// The scenario's.
    pub(super) scenario: String,
    /// That of the FailurePolicy that is played instead of the scenario's own.
    pub(super) policy: Option<String>,
}

impl Origin {
    /// A problem by its file and the path in that.
    fn refuse(&self, problem: Problem) -> CannotRun {
        let within = format!("policies.{FROM_THE_COMMAND_LINE}");
        let of_policy = problem.path.strip_prefix(&within).zip(self.policy.as_ref());
        match of_policy {
            Some((path, file)) => {
                no_sense(file, path.trim_start_matches('.'), &problem.message, problem.help)
            }
            None => no_sense(&self.scenario, &problem.path, &problem.message, problem.help),
        }
    }
}

/// A scenario that makes sense, or its first problem by file and path.
pub(super) fn read(value: Value, origin: &Origin) -> Result<Scenario, CannotRun> {
    let scenario: Scenario = input::checked(value, &origin.scenario, "scenario")?;
    sensible(&scenario, origin)?;
    Ok(scenario)
}

fn sensible(scenario: &Scenario, origin: &Origin) -> Result<(), CannotRun> {
    scenario.problems().into_iter().next().map_or(Ok(()), |problem| Err(origin.refuse(problem)))
}

fn no_sense(file: &str, path: &str, message: &str, help: String) -> CannotRun {
    let path = if path.is_empty() { "the top" } else { path };
    CannotRun::new(format!("`{file}` makes no sense at `{path}`: {message}"), help)
}

/// The spec of the one FailurePolicy in a file of objects, or a file that is a spec.
fn policy(place: &Place) -> Result<Value, CannotRun> {
    let name = place.name();
    let mut objects = objects::in_text(&input::text(place)?, &name)?;
    objects.retain(|object| !object.is_null());
    let kind = |object: &Value| object.get("kind").and_then(Value::as_str).map(str::to_owned);
    match objects.as_slice() {
        [] => return Ok(input::an_object(Value::Null, &name)?),
        [object] if kind(object).is_none() => return Ok(input::an_object(object.clone(), &name)?),
        [_, ..] => {}
    }
    let is_policy = |object: &&Value| kind(object).as_deref() == Some("FailurePolicy");
    let policies: Vec<&Value> = objects.iter().filter(is_policy).collect();
    match policies.as_slice() {
        [policy] => Ok(policy.get("spec").cloned().unwrap_or_default()),
        [] => {
            let kinds: Vec<String> = objects.iter().filter_map(kind).collect();
            let line = format!("`{name}` holds no FailurePolicy; it holds: {}", kinds.join(", "));
            let help = match kinds.iter().any(|kind| kind == "ClusterFailurePolicy") {
                true => "what its `spec.default` says can be the `spec` of a FailurePolicy",
                false => "`refloat enable PROJECT` prints one to begin with",
            };
            Err(CannotRun::new(line, help))
        }
        several => {
            let line = format!("`{name}` holds {} FailurePolicies, exactly one is needed", several.len());
            Err(CannotRun::new(line, "leave the others out, or write them into the scenario's `policies`"))
        }
    }
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

/// Plays a scenario whose policies the controller accepts. On a terminal it says how far it is when that takes a while.
pub(super) fn play(setup: &Setup<'_>, origin: &Origin) -> Result<Played, CannotRun> {
    if let Some(problem) = simulator::refused(setup) {
        return Err(origin.refuse(problem));
    }
    let seconds = Arc::<AtomicU64>::default();
    let so_far = || {
        let passed = u32::try_from(seconds.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
        format!("playing `{}`: {} of virtual time so far", origin.scenario, format_duration(passed))
    };
    printer::accompanied(so_far, || simulator::play_telling(setup, &seconds)).map_err(|error| {
        CannotRun::from_error(&error, "what the world holds at the beginning has to be possible")
            .in_file(&origin.scenario)
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
