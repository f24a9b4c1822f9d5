//! Answers cases about the deciding half of the core: `run: guardrails`, `plan`, `chain`, `explain` and `assemble`.
//!
//! In: a case, whose `input` is laid over `guard_base.yaml` (objects merge, lists replace, `null` removes). Out: what
//! the core says, as JSON. Nothing here decides anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use policy_core::assemble::{self, World};
use policy_core::chain::{self, Entry};
use policy_core::classify::catalogue::Catalogue;
use policy_core::context::Context;
use policy_core::decision::{Answer, Decision};
use policy_core::fleet::FleetSignals;
use policy_core::guardrails::g23_guest_fault::{self, CallEnd, Called, FaultTally};
use policy_core::guardrails::{self, Input, Seen};
use policy_core::guest_fault::GuestFault;
use policy_core::incident::{Closed, Delivery, IncidentState};
use policy_core::rules::Rules;
use policy_core::settings::Settings;
use policy_core::snapshot::{
    AnalysisRunSnapshot, ApplicationSnapshot, ProjectFreight, ProjectSnapshot, PromotionSnapshot,
    StageSnapshot,
};
use policy_core::time::Timestamp;
use policy_core::{explain, plan};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// A situation: what guardrails, plan and assembly look at.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Situation {
    /// The time of the check.
    pub now: Timestamp,
    /// The rules in force.
    pub rules: Rules,
    /// The Project.
    pub project: ProjectSnapshot,
    /// The Stage now.
    pub stage: StageSnapshot,
    /// What the decision saw, when the Stage has moved since.
    #[serde(default)]
    pub seen: Option<Seen>,
    /// Promotions.
    pub promotions: Vec<PromotionSnapshot>,
    /// Freight.
    pub freight: ProjectFreight,
    /// Stages next to it.
    #[serde(default)]
    pub neighbours: Vec<StageSnapshot>,
    /// Argo CD Applications.
    #[serde(default)]
    pub applications: Vec<ApplicationSnapshot>,
    /// What fails elsewhere.
    #[serde(default)]
    pub fleet: Option<FleetSignals>,
    /// The AnalysisRun.
    #[serde(default)]
    pub analysis_run: Option<AnalysisRunSnapshot>,
    /// The incident.
    pub incident: IncidentState,
    /// What the policy got.
    pub context: Context,
    /// Deliveries to the Stage.
    #[serde(default)]
    pub deliveries: Vec<Delivery>,
    /// The cluster's kill switch.
    #[serde(default)]
    pub stopped: bool,
    /// Kargo Enterprise.
    #[serde(default)]
    pub enterprise_rollback: bool,
    /// The decision.
    #[serde(default)]
    pub decision: Decision,
    /// How earlier calls of the module ended (G23).
    #[serde(default)]
    pub calls: Option<Vec<PastCall>>,
    /// A guest fault instead of a decision.
    #[serde(default)]
    pub fault: Option<GuestFault>,
    /// Nobody had an opinion.
    #[serde(default)]
    pub no_opinion: bool,
}

impl Situation {
    /// The base with `changes` laid over it.
    ///
    /// # Errors
    /// When the result is no situation; the text says where.
    pub fn with(changes: &Value) -> Result<Self, String> {
        let mut value: Value = serde_saphyr::from_str(include_str!("guard_base.yaml"))
            .map_err(|error| format!("guard_base.yaml: {error}"))?;
        lay_over(&mut value, changes);
        read(&value, "input")
    }

    /// Calls `look` with this situation as guardrails see it.
    pub fn look<T>(&self, look: impl FnOnce(&Input<'_>) -> T) -> T {
        let seen = self.seen.clone().unwrap_or_else(|| Seen::of(&self.stage));
        look(&Input {
            now: self.now,
            context: &self.context,
            incident: &self.incident,
            rules: &self.rules,
            project: &self.project,
            stage: &self.stage,
            seen: &seen,
            promotions: &self.promotions,
            freight: &self.freight,
            deliveries: &self.deliveries,
            stopped: self.stopped,
            enterprise_rollback: self.enterprise_rollback,
        })
    }
}

/// One earlier call of a component (G23).
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PastCall {
    /// The Stage that it was for.
    pub stage: String,
    /// What was called.
    pub called: Called,
    /// How it ended.
    pub end: CallEnd,
    /// When.
    pub at: Timestamp,
}

/// Runs a case: `None` when the kind is not one of these.
#[must_use]
pub fn run(kind: &str, case: &Value) -> Option<Result<Value, String>> {
    let input = case.get("input").cloned().unwrap_or_else(|| json!({}));
    match kind {
        "guardrails" => Some(Situation::with(&input).and_then(|situation| guardrails(&situation))),
        "plan" => Some(Situation::with(&input).and_then(|situation| planned(&situation))),
        "chain" => Some(chained(&input)),
        "explain" => Some(explained(&input)),
        "assemble" => Some(assembled(&input)),
        _ => None,
    }
}

fn guardrails(situation: &Situation) -> Result<Value, String> {
    if let Some(calls) = &situation.calls {
        return write(&tallied(calls));
    }
    write(&situation.look(|input| guardrails::check(&situation.decision, input)))
}

/// Tells each Stage's memory of the calls in their order, then asks whether the first one's component is disabled.
fn tallied(calls: &[PastCall]) -> Value {
    let mut stages: BTreeMap<&str, Vec<FaultTally>> = BTreeMap::new();
    for call in calls {
        let own = stages.remove(call.stage.as_str()).unwrap_or_default();
        let others: Vec<FaultTally> = stages.values().flatten().cloned().collect();
        let after =
            g23_guest_fault::after(&own, &others, &call.called, call.end, call.at, "used up its fuel");
        stages.insert(&call.stage, after);
    }
    let called = calls.first().map(|call| call.called.clone()).unwrap_or_default();
    let all = stages.values().flatten();
    json!({
        "faultsInARow": g23_guest_fault::faults_in_a_row(all.clone(), &called),
        "disabled": g23_guest_fault::disabled(all, &called).map(|fault| explain::fault("retry", &fault)),
    })
}

fn planned(situation: &Situation) -> Result<Value, String> {
    let writes = situation.look(|input| {
        if let Some(fault) = &situation.fault {
            plan::fault("retry-transient", fault, input)
        } else if situation.no_opinion {
            plan::of_chain(&chain::Run { said: Vec::new(), end: chain::End::NoOpinion }, &[], input).writes
        } else {
            let verdicts = guardrails::check(&situation.decision, input);
            plan::plan(&situation.decision, &verdicts, input)
        }
    });
    write(&writes)
}

/// `input`: `entries` and `trigger` for the chain, `answers` by position: an answer, or `{fault: ...}`.
fn chained(input: &Value) -> Result<Value, String> {
    let entries: Vec<Entry> = read(&input["entries"], "entries")?;
    let trigger = read(&input["trigger"], "trigger")?;
    let mut shown = Vec::new();
    let mut problem = None;
    let run = chain::run(&entries, trigger, |position, proposed| {
        shown.push(json!({"entry": position, "sees": proposed.map(|decision| decision.explanation.clone())}));
        let answer = &input["answers"][position];
        match answer.get("fault") {
            Some(fault) => read::<GuestFault>(fault, "fault").map_or_else(
                |error| {
                    problem = Some(error);
                    Ok(Answer::Pass)
                },
                Err,
            ),
            None => Ok(read(answer, "answers").unwrap_or_else(|error| {
                problem = Some(error);
                Answer::Pass
            })),
        }
    });
    match problem {
        Some(problem) => Err(problem),
        None => Ok(json!({"asked": shown, "run": write(&run)?})),
    }
}

/// `input`: a situation; all of its sentences come out. `closed` and `fault` add theirs.
fn explained(input: &Value) -> Result<Value, String> {
    let mut changes = input.clone();
    let closed = changes.as_object_mut().and_then(|fields| fields.remove("closed"));
    let situation = Situation::with(&changes)?;
    let (verdicts, writes) = situation.look(|input| {
        let verdicts = guardrails::check(&situation.decision, input);
        let writes = plan::plan(&situation.decision, &verdicts, input);
        (verdicts, writes)
    });
    let actions: Vec<String> = situation
        .decision
        .actions
        .iter()
        .zip(&verdicts)
        .map(|(action, verdict)| explain::action(action, verdict, situation.now))
        .collect();
    let writes: Vec<String> = writes.iter().map(|one| explain::write(one, situation.now)).collect();
    let mut answer = json!({
        "failure": explain::failure(&situation.incident.current),
        "classification": explain::classification(&situation.context.classification),
        "policy": explain::guest("my-policy", &situation.decision.explanation),
        "actions": actions,
        "plan": writes,
    });
    if let Some(closed) = closed {
        answer["closed"] = explain::closed(&read::<Closed>(&closed, "closed")?).into();
    }
    if let Some(fault) = &situation.fault {
        answer["fault"] = explain::fault("my-policy", fault).into();
    }
    Ok(answer)
}

/// `input.show`: JSON Pointers into the context that is assembled from the rest; `input.repeat` makes a step message
/// that long. What other parts of the core compute (classification, targets) has cases of its own.
fn assembled(input: &Value) -> Result<Value, String> {
    let mut changes = input.clone();
    let fields = changes.as_object_mut().ok_or("`input` is no object")?;
    let show: Vec<String> = read(&fields.remove("show").unwrap_or_else(|| json!([])), "show")?;
    let repeat = fields.remove("repeat").and_then(|value| value.as_u64()).unwrap_or(0);
    let mut situation = Situation::with(&changes)?;
    for step in situation.promotions.iter_mut().flat_map(|promotion| &mut promotion.steps) {
        step.message = step.message.repeat(usize::try_from(repeat).unwrap_or(0).max(1));
    }
    let context = context_of(&situation);
    let value = write(&context)?;
    let shown: serde_json::Map<String, Value> = show
        .into_iter()
        .map(|path| (path.clone(), value.pointer(&path).cloned().unwrap_or(Value::Null)))
        .collect();
    Ok(json!({
        "fits": assemble::cut::size(&context) <= situation.rules.context_bytes as usize,
        "truncated": context.truncated,
        "shown": shown,
    }))
}

/// The context that is assembled from a situation.
pub fn context_of(situation: &Situation) -> Context {
    assemble::context(&World {
        now: situation.now,
        seed: situation.context.seed,
        failure: &situation.incident.current,
        project: &situation.project,
        stage: &situation.stage,
        promotions: &situation.promotions,
        freight: &situation.freight,
        neighbours: &situation.neighbours.iter().cloned().map(Arc::new).collect::<Vec<_>>(),
        applications: &situation.applications,
        fleet: situation.fleet.as_ref(),
        remembered: None,
        analysis_run: situation.analysis_run.as_ref(),
        incident: &situation.incident,
        catalogue: Catalogue::built_in(),
        rules: &situation.rules,
        settings: &Settings::default(),
        state: None,
        deliveries: &situation.deliveries,
    })
}

fn read<T: DeserializeOwned>(value: &Value, what: &str) -> Result<T, String> {
    T::deserialize(value).map_err(|error| format!("`{what}`: {error}"))
}

fn write(value: &impl serde::Serialize) -> Result<Value, String> {
    serde_json::to_value(value).map_err(|error| error.to_string())
}

/// Objects merge, `null` removes, everything else replaces. A list of objects can be changed by position with an
/// object whose keys are positions.
fn lay_over(base: &mut Value, changes: &Value) {
    match (base, changes) {
        (Value::Object(fields), Value::Object(changes)) => {
            for (key, change) in changes {
                if change.is_null() {
                    fields.remove(key);
                } else {
                    lay_over(fields.entry(key.clone()).or_insert(Value::Null), change);
                }
            }
        }
        (Value::Array(items), Value::Object(changes)) => {
            for (position, change) in changes {
                if let Some(item) =
                    position.parse::<usize>().ok().and_then(|position| items.get_mut(position))
                {
                    lay_over(item, change);
                }
            }
        }
        (base, change) => *base = change.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use policy_core::guardrails::{ALL, Check};

    use super::*;

    /// Ids by what the case files of a folder expect of them: `(id, "refuse" | "postpone")`.
    fn objections() -> BTreeSet<(String, String)> {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/guardrails");
        let mut found = BTreeSet::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            let case: Value = serde_saphyr::from_str(&text).unwrap();
            for verdict in case["expect"].as_array().into_iter().flatten() {
                for by in verdict["by"].as_array().into_iter().flatten() {
                    let kind = by[1].as_object().and_then(|fields| fields.keys().next()).unwrap();
                    found.insert((by[0].as_str().unwrap().to_owned(), kind.clone()));
                }
            }
        }
        found
    }

    #[test]
    fn every_guardrail_has_cases() {
        let objections = objections();
        let files: Vec<String> =
            std::fs::read_dir(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/guardrails"))
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
        for guardrail in ALL {
            let prefix = format!("{}-", guardrail.id.to_lowercase());
            match guardrail.check {
                Check::Elsewhere(_) if guardrail.id == "G22" => {}
                Check::Elsewhere(_) => {
                    assert!(files.iter().any(|file| file.starts_with(&prefix)), "{prefix}")
                }
                Check::Action(_) | Check::InList(_) | Check::AfterOthers => {
                    assert!(
                        objections.iter().any(|(id, _)| id == guardrail.id),
                        "{} never objects",
                        guardrail.id
                    );
                    let allows = format!("{prefix}allow");
                    assert!(files.iter().any(|file| file.starts_with(&allows)), "no case {allows}*.yaml");
                }
            }
        }
        for id in ["G4", "G5", "G7", "G9"] {
            assert!(objections.contains(&(id.to_owned(), "postpone".to_owned())), "{id} never postpones");
        }
    }

    #[test]
    fn the_keys_of_extra_are_documented() {
        let page =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/context.md")).unwrap();
        for (record, key) in assemble::EXTRA_KEYS {
            assert!(
                page.contains(&format!("| `{record}` | `{key}` |")),
                "{record}.{key} is not in docs/context.md"
            );
        }
    }
}
