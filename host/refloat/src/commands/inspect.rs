//! `refloat inspect MODULE`: what a policy component is, before anybody lets it decide.
//!
//! In: a component. Out: contract track, imports, exports, manifest, a summary of its settings, digest and cost.
//! Calls `describe` and nothing else: no context is needed.

use policy_core::explain;
use policy_core::manifest::Manifest;
use serde_json::Value;

use crate::args::InspectArgs;
use crate::exit::{Ended, Exit};
use crate::layout::Layout;
use crate::modules::{Loaded, Modules};
use crate::output::{self, Inspected, Setting};
use crate::printer::Printer;

pub(crate) fn run(args: &InspectArgs, printer: &mut Printer) -> Ended {
    let module = Modules::open(&args.cache)?.load(&args.module)?;
    let inspected = inspected(&module);
    output::show(args.output, &inspected, printer, human)?;
    Ok(Exit::AsExpected)
}

fn inspected(module: &Loaded) -> Inspected {
    let manifest = module.manifest();
    let inspection = module.policy().inspection();
    Inspected {
        module: module.name.clone(),
        digest: module.digest.to_string(),
        bytes: inspection.size,
        track: module.policy().track().text().to_owned(),
        imports: inspection.imports.clone(),
        exports: inspection.exports.clone(),
        settings: settings(manifest),
        manifest: manifest.clone(),
        load_milliseconds: module.load_milliseconds,
    }
}

/// The first level of a settings schema.
fn settings(manifest: &Manifest) -> Vec<Setting> {
    let schema: Value = serde_json::from_str(&manifest.settings_schema).unwrap_or_default();
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let properties = schema.get("properties").and_then(Value::as_object);
    let setting = |(name, property): (&String, &Value)| Setting {
        name: name.clone(),
        default: property.get("default").cloned(),
        required: required.contains(&name.as_str()),
        description: property.get("description").and_then(Value::as_str).unwrap_or_default().to_owned(),
    };
    properties.into_iter().flatten().map(setting).collect()
}

fn human(inspected: &Inspected) -> String {
    let manifest = &inspected.manifest;
    let mut layout = Layout::default();
    layout.paragraph(&format!("{} {} ({})", manifest.name, manifest.version, explain::word(&manifest.role)));
    layout.paragraph(&explain::line(&manifest.description));
    layout.labelled("module", &inspected.module);
    layout.labelled("digest", &inspected.digest);
    layout.labelled("size", &format!("{} bytes", inspected.bytes));
    layout.labelled("contract", &inspected.track);
    layout.labelled("exports", &listed(&inspected.exports));
    layout.labelled("imports", &listed(&inspected.imports));
    let triggers: Vec<String> = manifest.triggers.iter().map(explain::word).collect();
    layout.labelled("triggers", &if triggers.is_empty() { "all".to_owned() } else { triggers.join(", ") });
    let actions: Vec<String> = manifest.actions.iter().map(policy_core::decision::ActionKind::text).collect();
    layout.labelled("actions", &listed(&actions));
    layout.list("settings", inspected.settings.iter().map(setting_line));
    layout.labelled("loaded in", &format!("{} ms", inspected.load_milliseconds));
    layout.into_text()
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn setting_line(setting: &Setting) -> String {
    let default = match (&setting.default, setting.required) {
        (Some(default), _) => format!("[default: {default}]"),
        (None, true) => "[required]".to_owned(),
        (None, false) => String::new(),
    };
    format!("{}: {} {default}", setting.name, explain::line(&setting.description))
}
