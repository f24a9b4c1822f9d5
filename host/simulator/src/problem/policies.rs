//! What makes no sense in the FailurePolicies and modules of a scenario.
//!
//! What a cluster would say when it is told to apply them, and what the controller would say when it is asked to accept
//! them, but for settings: those are for the module to judge.

use kube::CustomResourceExt as _;
use policy_api::accept::{self, Author, Module};
use policy_api::crd::FailurePolicy;
use policy_api::crd::cluster_failure_policy::Caps;
use policy_api::crd::condition::reasons;
use policy_api::crd::policy_body::{ChainEntry, ModuleKind, PolicyBody};
use serde_json::Value;

use super::Problem;
use crate::scenario::Scenario;

const HELP: &str = "it is the `spec` of a FailurePolicy; `kubectl explain failurepolicy.spec` has its fields";

pub(super) fn problems(scenario: &Scenario) -> Vec<Problem> {
    let schema = schema();
    let in_time = scenario
        .timeline
        .iter()
        .enumerate()
        .filter_map(|(n, moment)| Some((format!("timeline[{n}].policies"), moment.policies.as_ref()?)));
    let all = std::iter::once(("policies".to_owned(), &scenario.policies)).chain(in_time);
    all.flat_map(|(path, policies)| {
        policies
            .iter()
            .filter_map(|(name, spec)| {
                // What changes in time is merged into what was there.
                let mut whole = scenario.policies.get(name).cloned().unwrap_or_default();
                kargo_model::merge::apply(&mut whole, spec);
                of_spec(scenario, &whole, &schema, &format!("{path}.{name}"))
            })
            .collect::<Vec<_>>()
    })
    .collect()
}

/// The first thing that is wrong with a whole spec.
fn of_spec(scenario: &Scenario, spec: &Value, schema: &Value, path: &str) -> Option<Problem> {
    if let Some((field, known)) = unknown_field(spec, schema, "") {
        let message = format!("unknown field `{}`", field.rsplit('.').next().unwrap_or_default());
        return Some(Problem::new(format!("{path}{field}"), message, format!("there are: {known}")));
    }
    let body: PolicyBody = match serde_path_to_error::deserialize(body_of(spec)) {
        Ok(body) => body,
        Err(error) => {
            let field = error.path().to_string();
            let field = if field == "." { String::new() } else { format!(".{field}") };
            return Some(Problem::new(format!("{path}{field}"), error.inner().to_string(), HELP));
        }
    };
    let caps = Caps::default();
    let found = accept::problems(&body, Author::Project, &caps, |entry| module(scenario, entry));
    // What the modules themselves say is known only when they are loaded.
    let first = found.into_iter().find(|problem| problem.reason != reasons::MODULE_NOT_READY)?;
    let help = if first.reason == reasons::MODULE_NOT_FOUND {
        "a module has to be named under `modules`, a built-in policy is named with `builtin`"
    } else {
        HELP
    };
    Some(Problem::new(format!("{path}{}", dotted(&first.path)), first.message, help))
}

fn module(scenario: &Scenario, entry: &ChainEntry) -> Module {
    let (is_known, known): (bool, Vec<String>) = match (&entry.module, &entry.builtin) {
        (Some(module), _) => (
            module.kind == ModuleKind::ClusterPolicyModule && scenario.modules.contains_key(&module.name),
            scenario.modules.keys().cloned().collect(),
        ),
        (None, builtin) => {
            let known = policy_source::builtins();
            let is_known = builtin.as_ref().is_some_and(|name| known.contains(&name.as_str()));
            // A program that was built without policies says so when they are loaded.
            (is_known || known.is_empty(), known.into_iter().map(str::to_owned).collect())
        }
    };
    if is_known { Module::NotReady(String::new()) } else { Module::Missing(known) }
}

/// The part of a FailurePolicy's spec that a ClusterFailurePolicy's default has, too.
fn body_of(spec: &Value) -> Value {
    let mut body = spec.clone();
    if let Some(fields) = body.as_object_mut() {
        fields.remove("priority");
        fields.remove("stageSelector");
    }
    body
}

/// `/chain/0/module` as `.chain[0].module`.
fn dotted(pointer: &str) -> String {
    let parts = pointer.split('/').skip(1);
    parts
        .map(|part| match part.parse::<usize>() {
            Ok(number) => format!("[{number}]"),
            Err(_) => format!(".{part}"),
        })
        .collect()
}

/// The schema of a FailurePolicy's spec.
fn schema() -> Value {
    let definition = serde_json::to_value(FailurePolicy::crd()).unwrap_or_default();
    let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
    definition.pointer(spec).cloned().unwrap_or_default()
}

/// The path of a field that the schema does not have, and those that it has there: a cluster refuses or drops it.
fn unknown_field(value: &Value, schema: &Value, path: &str) -> Option<(String, String)> {
    match value {
        Value::Object(fields) => {
            // Without `properties` anything may stand there, as in the settings of a module.
            let known = schema.get("properties")?.as_object()?;
            fields.iter().find_map(|(name, value)| match known.get(name) {
                Some(schema) => unknown_field(value, schema, &format!("{path}.{name}")),
                None => {
                    let known: Vec<&str> = known.keys().map(String::as_str).collect();
                    Some((format!("{path}.{name}"), known.join(", ")))
                }
            })
        }
        Value::Array(items) => {
            let schema = schema.get("items")?;
            let all = items.iter().enumerate();
            all.into_iter().find_map(|(n, item)| unknown_field(item, schema, &format!("{path}[{n}]")))
        }
        _ => None,
    }
}
