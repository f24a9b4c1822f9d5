//! `refloat record`: the context of a failure as a file, from a cluster or from exported objects.
//!
//! In: where objects are, and which failure is meant. Out: a context that `refloat decide --context` takes, the same that
//! the controller would hand to a policy; exit 1 when nothing has failed, and a person would be the one who asks.

use policy_core::settings::{self, Settings};
use serde_json::Value;

use crate::args::{ContextFormat, RecordArgs};
use crate::exit::{CannotRun, Ended, Exit};
use crate::printer::Printer;
use crate::rules;
use crate::scene::Scene;
use crate::source;

pub(crate) fn run(args: &RecordArgs, printer: &mut Printer) -> Ended {
    let catalogue = rules::catalogue(&args.rules.rules)?;
    let gathered = source::gather(&args.source, args.failure.as_ref(), printer)?;
    let found = Scene::find(&gathered.objects, &gathered.wanted, gathered.now)?;
    let scene = Scene { catalogue: &catalogue, ..found };
    let context = scene.context(&settings_of(&scene, args.policy.as_deref())?);
    let impossible = |error: &dyn std::error::Error| CannotRun::from_error(error, "please report this");
    let text = match args.output {
        ContextFormat::Json => serde_json::to_string_pretty(&context).map_err(|error| impossible(&error))?,
        ContextFormat::Yaml => serde_saphyr::to_string(&context).map_err(|error| impossible(&error))?,
    };
    printer.answer(&text);
    if scene.has_failed() {
        return Ok(Exit::AsExpected);
    }
    printer.talk(&format!(
        "warning: nothing has failed in Stage `{}`: this is what a policy would get if a person asked",
        scene.stage.name
    ));
    Ok(Exit::Differs)
}

/// The settings of one policy of the chain that is in force, as they are written there: `decide` fills in defaults.
/// None without a chain.
fn settings_of(scene: &Scene<'_>, policy: Option<&str>) -> Result<Settings, CannotRun> {
    let chain = scene.chain();
    let entry = match policy {
        None => chain.first(),
        Some(name) => match chain.iter().find(|entry| entry.name == name) {
            Some(entry) => Some(entry),
            None => return Err(no_policy(scene, name)),
        },
    };
    let empty = || Value::Object(serde_json::Map::new());
    let document = entry.map(|entry| entry.settings.clone().unwrap_or_else(empty));
    Ok(document.map_or_else(Settings::default, |document| settings::as_given(&document)))
}

fn no_policy(scene: &Scene<'_>, name: &str) -> CannotRun {
    let names: Vec<String> = scene.chain().iter().map(|entry| format!("`{}`", entry.name)).collect();
    let stage = &scene.stage.name;
    if names.is_empty() {
        let help = "give the Project's FailurePolicies with `--from` as well, or leave `--policy` out";
        return CannotRun::new(format!("no FailurePolicy that is given rules Stage `{stage}`"), help);
    }
    CannotRun::new(
        format!("the chain of Stage `{stage}` has no policy `{name}`"),
        format!("it has {}", names.join(", ")),
    )
}
