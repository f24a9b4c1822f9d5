//! What changed in a Stage's template since a Promotion was made from it.
//!
//! In: a Promotion, with digests of what it ran, and the Stage. Out: one line per change, by alias and name, never by
//! content. A retry runs the template as it is now (kargo-live.md 3), so this says whether it would be the same thing.
//! Steps of a task are in the Promotion and not in the Stage: what changed inside of a task is not known here.

use std::collections::BTreeMap;

use crate::snapshot::{PromotionSnapshot, StageSnapshot, StepSnapshot, TemplateStepSnapshot};

/// Changes from what the Promotion ran to what one would run now, in the order of the template; `None` when one of
/// the two is not known.
pub(super) fn since(ran: &PromotionSnapshot, stage: &StageSnapshot) -> Option<Vec<String>> {
    let before: Vec<&StepSnapshot> = ran.steps.iter().filter(|step| step.digest.is_some()).collect();
    if before.is_empty() || stage.template.is_empty() {
        return None;
    }
    let mut changes = Vec::new();
    for step in &stage.template {
        changes.extend(of_step(step, &before));
    }
    changes.extend(removed(&before, &stage.template));
    if changes.is_empty() && is_reordered(&before, &stage.template) {
        changes.push("the steps stand in another order".to_owned());
    }
    changes.extend(of_vars(&ran.vars, &stage.vars));
    Some(changes)
}

fn of_step(now: &TemplateStepSnapshot, before: &[&StepSnapshot]) -> Option<String> {
    let alias = &now.alias;
    if let Some(task) = &now.task {
        let is_known = before.iter().any(|step| task_of(&step.alias) == Some(alias));
        return (!is_known).then(|| format!("task `{alias}` ({task}) was added"));
    }
    let Some(old) = before.iter().find(|step| step.alias == *alias) else {
        return Some(format!("step `{alias}` ({}) was added", now.kind));
    };
    if old.kind != now.kind {
        return Some(format!("step `{alias}` runs {} instead of {}", now.kind, old.kind));
    }
    (old.digest != now.digest).then(|| format!("step `{alias}` ({}) was changed", now.kind))
}

fn removed(before: &[&StepSnapshot], now: &[TemplateStepSnapshot]) -> Vec<String> {
    let is_there = |alias: &str, is_task: bool| {
        now.iter().any(|step| step.alias == alias && step.task.is_some() == is_task)
    };
    let mut lines = Vec::new();
    for step in before {
        let line = match task_of(&step.alias) {
            Some(task) if is_there(task, true) => continue,
            Some(task) => format!("task `{task}` was removed"),
            None if is_there(&step.alias, false) => continue,
            None => format!("step `{}` ({}) was removed", step.alias, step.kind),
        };
        // Every step of a task says the same.
        if lines.last() != Some(&line) {
            lines.push(line);
        }
    }
    lines
}

fn is_reordered(before: &[&StepSnapshot], now: &[TemplateStepSnapshot]) -> bool {
    let mut was: Vec<&str> = before.iter().map(|step| task_of(&step.alias).unwrap_or(&step.alias)).collect();
    was.dedup();
    was != now.iter().map(|step| step.alias.as_str()).collect::<Vec<_>>()
}

/// The task that a step belongs to: the part before `::` (kargo-api.md 1.6).
fn task_of(alias: &str) -> Option<&str> {
    alias.split_once("::").map(|(task, _)| task)
}

fn of_vars(before: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> Vec<String> {
    let mut lines: Vec<String> = now
        .iter()
        .filter_map(|(name, digest)| match before.get(name) {
            None => Some(format!("variable `{name}` was added")),
            Some(old) if old != digest => Some(format!("variable `{name}` was changed")),
            Some(_) => None,
        })
        .collect();
    let gone = before.keys().filter(|name| !now.contains_key(*name));
    lines.extend(gone.map(|name| format!("variable `{name}` was removed")));
    lines
}
