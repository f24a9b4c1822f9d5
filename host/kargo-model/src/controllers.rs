//! What Kargo's controllers (and Argo Rollouts for its AnalysisRuns) write next for one Stage.
//! In go the world, the Stage's key, the script and ids; out come writes in the order in which Kargo makes them, also
//! the half-finished states in between that an observer sees. Calling it again after they were carried out gives what
//! comes next; an empty answer means that everything rests. It must not carry out anything.
//! Source: `regular_stages.go:430-560` (order of the parts), `control_flow_stages.go` (those are left alone).

use serde_json::{Value, json};

use crate::ids::IdSource;
use crate::names::REFRESH;
use crate::object::{annotation, map, put, put_or_remove, remove, text};
use crate::project_config::{AutoPromotion, auto_promotion};
use crate::script::Script;
use crate::stage::{Stage, summarize};
use crate::world::{Effect, Kind, ObjectKey, World};
use crate::{
    analysis, auto_promotion, conditions, freight, health, holds, promotion, recording, verification,
};

/// The next writes for the Stage under `key` and everything that hangs on it. Promotions come first, then
/// its AnalysisRuns, then the Stage; the first of the three that has something to write is the answer. (Were the
/// Stage to look at a new AnalysisRun first, its verification would show the empty phase for a moment.)
pub fn next(world: &World, key: &ObjectKey, script: &Script, ids: &mut dyn IdSource) -> Vec<Effect> {
    let Some(stage) = world.find(key).filter(|stage| !Stage(stage).is_control_flow()) else {
        return Vec::new();
    };
    let promotions = promotions(world, stage, script);
    if !promotions.is_empty() {
        return promotions;
    }
    let runs = analysis_runs(world, stage, script);
    if !runs.is_empty() {
        return runs;
    }
    reconcile_stage(world, stage, script, ids)
}

fn promotions(world: &World, stage: &Value, script: &Script) -> Vec<Effect> {
    let view = Stage(stage);
    world
        .promotions_of(view.namespace(), view.name())
        .map(|one| promotion::reconcile(world, one, script))
        .find(|effects| !effects.is_empty())
        .unwrap_or_default()
}

fn analysis_runs(world: &World, stage: &Value, script: &Script) -> Vec<Effect> {
    let label = crate::names::label_value(Stage(stage).name());
    world
        .list(Kind::AnalysisRun, Stage(stage).namespace())
        .filter(|run| crate::object::label(run, crate::names::STAGE) == Some(&label))
        .filter_map(|run| analysis::progress(world, run, stage, script))
        .collect()
}

/// One reconcile of a Stage. Kargo patches the status after each part; so does this.
fn reconcile_stage(world: &World, stage: &Value, script: &Script, ids: &mut dyn IdSource) -> Vec<Effect> {
    let auto = auto_promotion(world, Stage(stage));
    let mut pass = Pass { world, stored: stage.clone(), stage: stage.clone(), effects: Vec::new() };
    let name = Stage(stage).name().to_owned();
    let promotions: Vec<&Value> = world.promotions_of(Stage(stage).namespace(), &name).collect();

    recording::sync(&mut pass.stage, &promotions, auto, world.now);
    pass.save();
    if let Err(problem) = pass.sync_freight() {
        return pass.fail(&format!("failed to sync Freight: {problem}"));
    }
    health::assess(&mut pass.stage, script, world.now);
    pass.save();
    let writes = verification::verify(world, &mut pass.stage, ids);
    pass.effects.extend(writes);
    pass.save();
    pass.effects.extend(verification::mark_verified(world, &pass.stage));
    let effective = holds::effective(Stage(&pass.stage), &promotions, auto);
    let shown = (!effective.is_empty()).then(|| Value::Object(effective.clone()));
    put_or_remove(&mut pass.stage, &["status", "effectiveAutoPromotionHolds"], shown);
    pass.save();
    match auto {
        AutoPromotion::Off => remove(&mut pass.stage, &["status", "autoPromotionEnabled"]),
        AutoPromotion::On => {
            put(&mut pass.stage, &["status", "autoPromotionEnabled"], json!(true));
            match auto_promotion::due(world, Stage(&pass.stage), &effective) {
                Ok(due) => pass.effects.extend(due.into_iter().map(Effect::Create)),
                Err(problem) => return pass.fail(&format!("failed to auto-promote Freight: {problem}")),
            }
        }
    }
    pass.finish()
}

struct Pass<'a> {
    world: &'a World,
    /// What the API server has.
    stored: Value,
    /// What this pass has made of it.
    stage: Value,
    effects: Vec<Effect>,
}

impl Pass<'_> {
    fn save(&mut self) {
        summarize(&mut self.stage, self.world.now);
        self.write();
    }

    fn write(&mut self) {
        self.effects.extend(verification::status_patch(&self.stored, &self.stage));
        self.stored = self.stage.clone();
    }

    fn fail(mut self, problem: &str) -> Vec<Effect> {
        let condition = conditions::Condition::new("Ready", conditions::FALSE, "ReconcileError", problem);
        conditions::set(&mut self.stage, &condition, self.world.now);
        self.write();
        self.effects
    }

    fn finish(mut self) -> Vec<Effect> {
        summarize(&mut self.stage, self.world.now);
        if let Some(token) = annotation(&self.stage, REFRESH).map(|token| json!(token)) {
            put(&mut self.stage, &["status", "lastHandledRefresh"], token);
        }
        self.write();
        self.effects
    }

    /// `currentlyIn` of all Freight follows the current collection.
    fn sync_freight(&mut self) -> Result<(), String> {
        let view = Stage(&self.stage);
        let (namespace, name) = (view.namespace(), view.name());
        let current = view.current_collection();
        let gone = self.world.list(Kind::Freight, namespace).filter(|one| {
            freight::Freight(one).is_currently_in(name)
                && current.is_none_or(|current| !freight::includes(current, freight::Freight(one).name()))
        });
        let mut writes: Vec<Effect> = gone
            .filter_map(|one| verification::status_patch(one, &freight::left(one, name, self.world.now)))
            .collect();
        for item in current.and_then(|current| map(current, &["items"])).into_iter().flatten() {
            let wanted = text(item.1, &["name"]);
            let Some(one) = self.world.get(Kind::Freight, namespace, wanted) else {
                return Err(format!("Freight {wanted:?} not found in namespace {namespace:?}"));
            };
            if !freight::Freight(one).is_currently_in(name) {
                writes.extend(verification::status_patch(one, &freight::arrived(one, name, self.world.now)));
            }
        }
        self.effects.extend(writes);
        Ok(())
    }
}
