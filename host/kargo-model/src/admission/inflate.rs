//! Steps that refer to a PromotionTask become the task's steps. In go the template's steps and the Promotion's
//! variables, out come the steps to store. Only once, at creation: a task edited later changes no Promotion.
//! Source: `pkg/api/promotion.go:274-444`; captures `a/task-steps`, `f/responses.json` (task-missing, task-required-var-missing).

use serde_json::{Value, json};

use super::Denial;
use crate::names::GROUP;
use crate::object::{list, put, remove, text};
use crate::world::{Kind, World};

/// The template's steps with aliases filled in and tasks replaced by their steps.
pub(super) fn inflate(
    world: &World,
    project: &str,
    steps: &[Value],
    promotion_vars: &[Value],
) -> Result<Vec<Value>, Denial> {
    let mut inflated = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let Some(task) = step.get("task") else {
            inflated.push(with_alias(step, alias(step, "step", index)));
            continue;
        };
        let task_alias = alias(step, "task", index);
        let spec = task_spec(world, project, task)?;
        let step_vars = list(step, &["vars"]);
        let vars = task_vars(list(spec, &["vars"]), promotion_vars, step_vars).map_err(|problem| {
            let task = text(task, &["name"]);
            Denial::Internal {
                problem: format!(
                    "failed to inflate Promotion steps: inflate task steps for task {task:?} ({task_alias:?}): {problem}"
                ),
            }
        })?;
        for (index, task_step) in list(spec, &["steps"]).iter().enumerate() {
            let alias = format!("{task_alias}::{}", alias(task_step, "step", index));
            let mut task_step = with_alias(task_step, alias);
            let all: Vec<Value> = vars.iter().chain(list(&task_step, &["vars"])).cloned().collect();
            match all.is_empty() {
                true => remove(&mut task_step, &["vars"]),
                false => put(&mut task_step, &["vars"], Value::Array(all)),
            }
            inflated.push(task_step);
        }
    }
    Ok(inflated)
}

/// The step's own alias, or `<kind>-<n>` counted from 1.
fn alias(step: &Value, kind: &str, index: usize) -> String {
    match text(step, &["as"]).trim() {
        "" => format!("{kind}-{}", index + 1),
        alias => alias.to_owned(),
    }
}

fn with_alias(step: &Value, alias: String) -> Value {
    let mut step = step.clone();
    put(&mut step, &["as"], json!(alias));
    step
}

fn task_spec<'a>(world: &'a World, project: &str, task: &Value) -> Result<&'a Value, Denial> {
    let name = text(task, &["name"]);
    let (kind, found) = match text(task, &["kind"]) {
        "ClusterPromotionTask" => ("ClusterPromotionTask", world.get(Kind::ClusterPromotionTask, "", name)),
        _ => ("PromotionTask", world.get(Kind::PromotionTask, project, name)),
    };
    let not_found = || Denial::NotFound { kind, group: GROUP, name: name.to_owned() };
    found.and_then(|found| found.get("spec")).ok_or_else(not_found)
}

/// The task's defaults, except for what the Promotion defines, then the step's own. A variable without a value
/// anywhere is an error.
fn task_vars(task: &[Value], promotion: &[Value], step: &[Value]) -> Result<Vec<Value>, String> {
    let defines = |vars: &[Value], name: &str| {
        vars.iter().any(|var| text(var, &["name"]) == name && !text(var, &["value"]).is_empty())
    };
    let mut vars = Vec::new();
    for var in task.iter().filter(|var| !defines(promotion, text(var, &["name"]))) {
        let name = text(var, &["name"]);
        if !text(var, &["value"]).is_empty() {
            vars.push(var.clone());
        } else if !defines(step, name) {
            return Err(format!("missing value for variable {name:?}"));
        }
    }
    vars.extend_from_slice(step);
    Ok(vars)
}
