//! What makes no sense in the FailurePolicies and modules of a scenario.
//!
//! What a cluster would say when it is told to apply them, and what the controller would say when it is asked to accept
//! them, but for what only a module knows: that is judged in [`crate::acceptance`], with the modules loaded.

use kube::CustomResourceExt as _;
use policy_api::accept::{self, Author, Module};
use policy_api::crd::FailurePolicy;
use policy_api::crd::cluster_failure_policy::Caps;
use policy_api::crd::condition::reasons;
use policy_api::crd::policy_body::{ChainEntry, ModuleKind, PolicyBody};
use policy_api::crd::selector::Selector;
use policy_core::name::StageName;
use policy_core::target;
use serde_json::Value;

use super::{Problem, server};
use crate::scenario::Scenario;

const HELP: &str = "it is the `spec` of a FailurePolicy; `kubectl explain failurepolicy.spec` has its fields";

/// A FailurePolicy as it is put in place at one moment.
pub(crate) struct Put<'a> {
    /// Where that stands in the scenario.
    pub(crate) path: String,
    /// The policy's name.
    pub(crate) name: &'a str,
    /// Its whole spec: what changes in time is merged into what was there.
    pub(crate) spec: Value,
    /// Whether there was none of that name before.
    pub(crate) is_new: bool,
}

impl Put<'_> {
    /// What is wrong in it, with the field's JSON Pointer as a path of the scenario.
    pub(crate) fn problem(&self, found: &accept::Problem, help: impl Into<String>) -> Problem {
        Problem::new(format!("{}{}", self.path, dotted(&found.path)), found.message.clone(), help)
    }

    /// What it says, but for the Stages and the priority, which a cluster's default has not; `None` when it is no policy.
    pub(crate) fn body(&self) -> Option<PolicyBody> {
        serde_json::from_value(body_of(&self.spec)).ok()
    }
}

/// Every FailurePolicy that is ever put in place, in the order of the file.
pub(crate) fn all(scenario: &Scenario) -> Vec<Put<'_>> {
    let in_time = scenario
        .timeline
        .iter()
        .enumerate()
        .filter_map(|(n, moment)| Some((format!("timeline[{n}].policies"), moment.policies.as_ref()?)));
    let first = std::iter::once(("policies".to_owned(), &scenario.policies));
    first
        .chain(in_time)
        .flat_map(|(path, policies)| {
            policies.iter().map(move |(name, spec)| (format!("{path}.{name}"), name, spec))
        })
        .map(|(path, name, given)| {
            let mut spec = scenario.policies.get(name).cloned().unwrap_or_default();
            kargo_model::merge::apply(&mut spec, given);
            let is_new = path.starts_with("policies.") || !scenario.policies.contains_key(name);
            Put { path, name, spec, is_new }
        })
        .collect()
}

pub(super) fn problems(scenario: &Scenario) -> Vec<Problem> {
    let schema = schema();
    all(scenario).iter().filter_map(|put| of_spec(scenario, put, &schema)).collect()
}

/// The first thing that is wrong with a policy.
fn of_spec(scenario: &Scenario, put: &Put<'_>, schema: &Value) -> Option<Problem> {
    let may_be_refused = scenario.expect.not_accepted.iter().any(|name| name == put.name);
    by_server(put, schema)
        .or_else(|| of_selector(scenario, put).filter(|_| !may_be_refused))
        .or_else(|| by_controller(scenario, put).filter(|_| !may_be_refused))
}

/// What a cluster would refuse, or drop without a word.
fn by_server(put: &Put<'_>, schema: &Value) -> Option<Problem> {
    let (spec, path) = (&put.spec, &put.path);
    if let Some((field, known)) = unknown_field(spec, schema, "") {
        let message = format!("unknown field `{}`", field.rsplit('.').next().unwrap_or_default());
        return Some(Problem::new(format!("{path}{field}"), message, format!("there are: {known}")));
    }
    if let Err(error) = serde_path_to_error::deserialize::<_, PolicyBody>(body_of(spec)) {
        let field = error.path().to_string();
        let field = if field == "." { String::new() } else { format!(".{field}") };
        return Some(Problem::new(format!("{path}{field}"), error.inner().to_string(), HELP));
    }
    let (pointer, message) = server::refused(spec, schema)?;
    Some(Problem::new(format!("{path}{}", dotted(&pointer)), message, HELP))
}

/// A selector that is no pattern, or that selects nothing from the beginning. A policy that selects nothing from some moment
/// on is a story.
fn of_selector(scenario: &Scenario, put: &Put<'_>) -> Option<Problem> {
    let selector: Selector = serde_json::from_value(put.spec.get("stageSelector")?.clone()).ok()?;
    if let Some(found) = accept::selector_problem(Some(&selector)) {
        let help = "write a name, `glob:prod-*`, or `regex:` and an expression such as `^prod-`";
        return Some(put.problem(&found, help));
    }
    let core = selector.to_core();
    let stages = &scenario.world.stages;
    let mut selected = stages
        .iter()
        .filter(|stage| target::matches(&core, &StageName::new(stage.name.as_str()), &stage.labels));
    let selects_nothing = put.is_new && selected.next().is_none();
    let names: Vec<&str> = stages.iter().map(|stage| stage.name.as_str()).collect();
    selects_nothing.then(|| {
        let path = format!("{}.stageSelector", put.path);
        let message = format!("no Stage is selected by {}", selector.text());
        Problem::new(path, message, format!("there are: {}", names.join(", ")))
    })
}

/// What the controller does not accept, as far as that can be said without the modules.
fn by_controller(scenario: &Scenario, put: &Put<'_>) -> Option<Problem> {
    let body = put.body()?;
    let caps = Caps::default();
    let found = accept::problems(&body, Author::Project, &caps, |entry| module(scenario, entry));
    // What the modules themselves say is known only when they are loaded.
    let first = found.into_iter().find(|problem| problem.reason != reasons::MODULE_NOT_READY)?;
    let help = if first.reason == reasons::MODULE_NOT_FOUND {
        "a module has to be named under `modules`, a built-in policy is named with `builtin`"
    } else {
        HELP
    };
    Some(put.problem(&first, help))
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
pub(super) fn schema() -> Value {
    let definition = serde_json::to_value(FailurePolicy::crd()).unwrap_or_default();
    let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
    definition.pointer(spec).map(whole).unwrap_or_default()
}

/// Bounds as people write them: the definition's own are all fractions (`10.0`).
fn whole(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(name, value)| (name.clone(), whole(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(whole).collect()),
        Value::Number(number) => {
            let text = number.to_string();
            let digits = text.strip_suffix(".0").and_then(|digits| digits.parse::<i64>().ok());
            digits.map_or_else(|| schema.clone(), Value::from)
        }
        Value::Null | Value::Bool(_) | Value::String(_) => schema.clone(),
    }
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
