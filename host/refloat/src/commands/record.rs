//! `refloat record`: the context of a failure as a file, from a cluster or from exported objects.
//!
//! In: where objects are, and which failure is meant. Out: a context that `refloat decide --context` takes, the same that
//! the controller would hand to a policy; exit 1 when nothing has failed, and a person would be the one who asks.

use policy_core::settings::Settings;

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
    let context = scene.context(&Settings::default());
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
