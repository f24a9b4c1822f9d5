//! `refloat demo`: six incidents from beginning to end, in a second and without a cluster.
//!
//! In: the scenarios in `demo/scenarios`, built into the program. Out: for each its timeline. They are played like those
//! of `refloat simulate`: the real controller and real components against a model of Kargo. `--captured` plays what was
//! captured from a running Kargo instead.

use std::path::Path;
use std::sync::Arc;

use simulator::Setup;

use crate::args::DemoArgs;
use crate::exit::{CannotRun, Ended, Exit};
use crate::input;
use crate::layout::Layout;
use crate::modules;
use crate::printer::Printer;

use super::simulate::Origin;
use super::{captured, simulate};

/// Name and text of each scenario, in the order in which they are played.
const SCENARIOS: &[(&str, &str)] = &[
    ("push-race", include_str!("../../demo/scenarios/push-race.yaml")),
    ("bad-freight", include_str!("../../demo/scenarios/bad-freight.yaml")),
    ("step-hint", include_str!("../../demo/scenarios/step-hint.yaml")),
    ("never-answers", include_str!("../../demo/scenarios/never-answers.yaml")),
    ("exhausted", include_str!("../../demo/scenarios/exhausted.yaml")),
    ("person", include_str!("../../demo/scenarios/person.yaml")),
];

pub(crate) fn run(args: &DemoArgs, printer: &mut Printer) -> Ended {
    if args.captured {
        return captured::run(args, printer);
    }
    let chosen = chosen(args.scenario.as_deref())?;
    let engine = Arc::new(modules::engine(&args.cache)?);
    let mut exit = Exit::AsExpected;
    for (position, (name, text)) in chosen.iter().enumerate() {
        let file = format!("demo/scenarios/{name}.yaml");
        let origin = Origin { scenario: file.clone(), policy: None };
        let scenario = simulate::read(input::parse_object(text, &file)?, &origin)?;
        let components = simulate::components(&scenario, Path::new(""), &file)?;
        let setup = Setup { scenario: &scenario, seed: 0, engine: Arc::clone(&engine), components };
        let played = simulate::play(&setup, &origin)?;
        let mut layout = Layout::default();
        if position > 0 {
            layout.gap();
        }
        layout.paragraph(&format!("{} (`refloat demo --scenario {name}`)", scenario.title));
        simulate::story(&played, &mut layout);
        if !played.differences.is_empty() {
            exit = Exit::Differs;
            simulate::verdict(&played, &mut layout);
        }
        printer.answer(&layout.into_text());
    }
    Ok(exit)
}

fn chosen(name: Option<&str>) -> Result<Vec<(&'static str, &'static str)>, CannotRun> {
    let Some(name) = name else { return Ok(SCENARIOS.to_vec()) };
    let found: Vec<_> = SCENARIOS.iter().copied().filter(|(known, _)| *known == name).collect();
    if found.is_empty() {
        let names: Vec<&str> = SCENARIOS.iter().map(|(name, _)| *name).collect();
        let line = format!("there is no scenario `{name}` in the demo");
        return Err(CannotRun::new(line, format!("there are: {}", names.join(", "))));
    }
    Ok(found)
}
