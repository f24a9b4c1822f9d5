//! What Kargo's controllers (and Argo Rollouts for its AnalysisRuns) write next for one Stage.
//! In go the world, the Stage's key, the script and ids; out come writes in the order in which Kargo makes them, also
//! the half-finished states in between that an observer sees. Calling it again after they were carried out gives what
//! comes next; an empty answer means that everything rests, until [`Controllers::next_wake`]. It must not carry out
//! anything. Source: `regular_stages.go:430-560` (order of the parts), `control_flow_stages.go` (those are left alone).

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::attempt::retries_after;
use crate::ids::{IdSource, SeededIds};
use crate::names::REFRESH;
use crate::object::{annotation, map, put, put_or_remove, remove, text};
use crate::project_config::{AutoPromotion, auto_promotion};
use crate::promotion::{Phase, Promotion};
use crate::script::Script;
use crate::stage::{Stage, summarize};
use crate::steps::WorkDir;
use crate::triggers::Seen;
use crate::world::{Effect, Kind, ObjectKey, World};
use crate::{
    auto_promotion, conditions, freight, health, holds, promotion, recording, rollouts, soak, verification,
};

/// After this long a Stage is reconciled although nothing happened (`regular_stages.go:425`).
pub const REQUEUE: SignedDuration = SignedDuration::from_mins(5);

/// Kargo's controllers, running: what they have seen and so will not look at again. A new one is a controller that just
/// started and looks at everything once. For each Stage it stands between two of its reconciles only.
#[derive(Clone, Debug, Default)]
pub struct Controllers {
    stages: BTreeMap<ObjectKey, Memory>,
    /// Promotions whose work directory is gone.
    lost: BTreeMap<ObjectKey, Timestamp>,
}

/// What is kept of a Stage's last reconcile.
#[derive(Clone, Debug)]
struct Memory {
    seen: Seen,
    at: Timestamp,
    then: Then,
    /// Reconciles in a row that ended in an error.
    errors: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    /// It wrote something: another one follows at once (`RequeueAfter: 100 * time.Millisecond`, or the watch on what was
    /// written).
    Again,
    /// Nothing was left to write.
    Rests,
    /// It ended in an error and is tried again with increasing delays.
    Retries,
}

/// What is next for the Stage under `key`, as controllers see it that have just started. See [`Controllers::next`].
pub fn next(world: &World, key: &ObjectKey, script: &Script, ids: &mut dyn IdSource) -> Vec<Effect> {
    Controllers::default().next(world, key, script, ids)
}

/// When something changes by itself, if nothing else happens: steps, timeouts, retries, AnalysisRuns, soak times. See
/// [`Controllers::next_wake`], which also knows of the five-minute requeue.
pub fn next_wake(world: &World, key: &ObjectKey, script: &Script) -> Option<Timestamp> {
    let stage = world.find(key).filter(|stage| !Stage(stage).is_control_flow())?;
    let soaked = soak::matures(world, Stage(stage));
    [Controllers::default().wake_of_others(world, stage, script), soaked].into_iter().flatten().min()
}

impl Controllers {
    /// Controllers that have just started on `world`, with the work directories of running Promotions kept or lost
    /// (captures `m/restart`, `m/restart-wiped`).
    pub fn restarted(world: &World, work_dirs: WorkDirs) -> Self {
        let mut started = Self::default();
        if work_dirs == WorkDirs::Lost {
            let running = world.all(Kind::Promotion).filter(|one| Promotion(one).phase() == Phase::Running);
            started.lost = running.filter_map(ObjectKey::of).map(|key| (key, world.now)).collect();
        }
        started
    }

    /// The next writes for the Stage under `key` and everything that hangs on it. Promotions come first, then
    /// its AnalysisRuns, then the Stage; the first of the three that has something to write is the answer. (Were the
    /// Stage to look at a new AnalysisRun first, its verification would show the empty phase for a moment.)
    /// The Stage is looked at only when something happened that Kargo watches, or five minutes after the last time.
    pub fn next(
        &mut self,
        world: &World,
        key: &ObjectKey,
        script: &Script,
        ids: &mut dyn IdSource,
    ) -> Vec<Effect> {
        let Some(stage) = world.find(key).filter(|stage| !Stage(stage).is_control_flow()) else {
            return Vec::new();
        };
        let promotions = self.promotions(world, stage, script);
        if !promotions.is_empty() {
            return promotions;
        }
        let runs = rollouts::next(world, stage, script);
        if !runs.is_empty() {
            return runs;
        }
        let seen = Seen::now(world, stage, script);
        let Some(at) = self.stages.get(key).map_or(Some(world.now), |memory| memory.due(&seen, world.now))
        else {
            return Vec::new();
        };
        let (effects, end) = match at == world.now {
            true => reconcile_stage(world, stage, script, ids),
            false => reconcile_stage(&world.at(at), stage, script, ids),
        };
        let errors = self.stages.get(key).map_or(0, |memory| memory.errors);
        let (then, errors) = match end {
            End::Failed => (Then::Retries, errors.saturating_add(1)),
            End::Done if effects.is_empty() => (Then::Rests, 0),
            // Whether its writes are refused is not known yet.
            End::Done if effects.iter().any(is_new_run) => (Then::Rests, errors),
            End::Done => (Then::Again, errors),
        };
        self.stages.insert(key.clone(), Memory { seen, at, then, errors });
        effects
    }

    /// When something is next for the Stage under `key` if nothing else happens; a moment that is not in the future
    /// means now. `None` when everything rests for good.
    pub fn next_wake(&self, world: &World, key: &ObjectKey, script: &Script) -> Option<Timestamp> {
        let stage = world.find(key).filter(|stage| !Stage(stage).is_control_flow())?;
        let requeue = match self.stages.get(key) {
            None => Some(world.now),
            Some(memory) => memory.next(world, stage, script),
        };
        [self.wake_of_others(world, stage, script), requeue].into_iter().flatten().min()
    }

    /// What Kargo writes when the API server answered `effect` with the `Status` `refusal`. Of the writes that were asked
    /// for together with `effect`, those after it must not be carried out, when this says anything
    /// (captures `k/auto-promotion-denied-invalid`, `l/webhooks-down`).
    pub fn refused(
        &mut self,
        world: &World,
        key: &ObjectKey,
        effect: &Effect,
        refusal: &Value,
    ) -> Vec<Effect> {
        let Some(stage) = world.find(key) else { return Vec::new() };
        let Some(problem) = problem(world, stage, effect, refusal) else {
            // It goes on, and will not try again by itself.
            if let (Effect::Create(_), Some(memory)) = (effect, self.stages.get_mut(key)) {
                memory.then = Then::Rests;
            }
            return Vec::new();
        };
        if let Some(memory) = self.stages.get_mut(key) {
            memory.then = Then::Retries;
            memory.errors = memory.errors.saturating_add(1);
        }
        let mut pass = Pass::on(world, stage);
        if matches!(effect, Effect::Create(_)) {
            put(&mut pass.stage, &["status", "autoPromotionEnabled"], json!(true));
        }
        pass.fail(&problem);
        pass.effects
    }

    fn promotions(&mut self, world: &World, stage: &Value, script: &Script) -> Vec<Effect> {
        let view = Stage(stage);
        for one in world.promotions_of(view.namespace(), view.name()) {
            let work_dir = self.work_dir(one);
            let effects = promotion::reconcile(world, one, script, work_dir);
            if !effects.is_empty() {
                if let Some(key) = ObjectKey::of(one) {
                    self.lost.remove(&key);
                }
                return effects;
            }
        }
        Vec::new()
    }

    fn work_dir(&self, promotion: &Value) -> WorkDir {
        let since = ObjectKey::of(promotion).and_then(|key| self.lost.get(&key).copied());
        since.map_or(WorkDir::Kept, WorkDir::Lost)
    }

    /// When a Promotion or an AnalysisRun goes on by itself.
    fn wake_of_others(&self, world: &World, stage: &Value, script: &Script) -> Option<Timestamp> {
        let view = Stage(stage);
        world
            .promotions_of(view.namespace(), view.name())
            .filter_map(|one| promotion::next_wake(world, one, script, self.work_dir(one)))
            .chain(rollouts::next_wake(world, stage, script))
            .min()
    }
}

/// Whether a restart of Kargo's controller keeps the work directories on its disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WorkDirs {
    /// It does.
    #[default]
    Kept,
    /// It does not: running Promotions begin at their first step again.
    Lost,
}

impl Memory {
    /// The moment of the reconcile that is due at `now`, if one is. Requeues in between that nobody asked for had nothing
    /// to do; the newest of them is made up for.
    fn due(&self, seen: &Seen, now: Timestamp) -> Option<Timestamp> {
        if self.then == Then::Again || self.seen.misses(seen) {
            return Some(now);
        }
        if self.then == Then::Retries {
            return self.at.saturating_add(self.delay()).ok().filter(|due| now >= *due).map(|_| now);
        }
        let rounds = now.duration_since(self.at).as_secs() / REQUEUE.as_secs();
        let rounds = i32::try_from(rounds).ok().filter(|rounds| *rounds > 0)?;
        self.at.saturating_add(REQUEUE.saturating_mul(rounds)).ok()
    }

    fn delay(&self) -> SignedDuration {
        match self.then {
            Then::Again => SignedDuration::ZERO,
            Then::Rests => REQUEUE,
            Then::Retries => retries_after(self.errors) - retries_after(self.errors.saturating_sub(1)),
        }
    }

    /// When the Stage is looked at next, if that changes anything.
    fn next(&self, world: &World, stage: &Value, script: &Script) -> Option<Timestamp> {
        let due = self.at.saturating_add(self.delay()).ok()?;
        if self.seen.misses(&Seen::now(world, stage, script)) {
            return Some(world.now);
        }
        if self.then != Then::Rests {
            return Some(due);
        }
        let then = world.at(due);
        if !reconcile_stage(&then, stage, script, &mut SeededIds::new(0)).0.is_empty() {
            return Some(due);
        }
        let soaked = soak::matures(&then, Stage(stage))?;
        let rounds = soaked.duration_since(due).as_secs().max(0) / REQUEUE.as_secs() + 1;
        due.saturating_add(REQUEUE.saturating_mul(i32::try_from(rounds).unwrap_or(i32::MAX))).ok()
    }
}

/// After a new AnalysisRun Kargo waits to be woken (`regular_stages.go:495-502`).
fn is_new_run(effect: &Effect) -> bool {
    matches!(effect, Effect::Create(object) if text(object, &["kind"]) == "AnalysisRun")
}

/// What Kargo's reconcile ends with when `effect` is refused; nothing when it goes on.
fn problem(world: &World, stage: &Value, effect: &Effect, refusal: &Value) -> Option<String> {
    let (why, project) = (text(refusal, &["message"]), Stage(stage).namespace());
    match effect {
        Effect::Create(object) if text(object, &["kind"]) == "Promotion" => {
            let freight = text(object, &["spec", "freight"]);
            world.flaws.denied_auto_promotion_stops_reconcile.then(|| {
                format!(
                    "failed to auto-promote Freight: error creating Promotion for Freight {freight:?} in namespace \
                     {project:?}: {why}"
                )
            })
        }
        Effect::PatchStatus { key, patch } if key.kind == Kind::Freight => {
            let freight = &key.name;
            Some(match patch.get("verifiedIn").is_some() && patch.get("currentlyIn").is_none() {
                true => format!(
                    "failed to verify Freight for Stage: error marking Freight {freight:?} as verified in Stage: {why}"
                ),
                false => format!(
                    "failed to sync Freight: error patching status of Freight {freight:?} in namespace {project:?}: {why}"
                ),
            })
        }
        Effect::Create(_) | Effect::Patch { .. } | Effect::PatchStatus { .. } => None,
    }
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    Done,
    Failed,
}

/// One reconcile of a Stage. Kargo patches the status after each part; so does this.
fn reconcile_stage(
    world: &World,
    stage: &Value,
    script: &Script,
    ids: &mut dyn IdSource,
) -> (Vec<Effect>, End) {
    let auto = auto_promotion(world, Stage(stage));
    let mut pass = Pass::on(world, stage);
    let name = Stage(stage).name().to_owned();
    let promotions: Vec<&Value> = world.promotions_of(Stage(stage).namespace(), &name).collect();

    recording::sync(&mut pass.stage, &promotions, auto, world);
    pass.save();
    if let Err(problem) = pass.sync_freight() {
        pass.fail(&format!("failed to sync Freight: {problem}"));
        return (pass.effects, End::Failed);
    }
    pass.flicker();
    health::assess(&mut pass.stage, script, world);
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
                Err(problem) => {
                    pass.fail(&format!("failed to auto-promote Freight: {problem}"));
                    return (pass.effects, End::Failed);
                }
            }
        }
    }
    (pass.finish(), End::Done)
}

struct Pass<'a> {
    world: &'a World,
    /// What it began with.
    began: &'a Value,
    /// What the API server has.
    stored: Cow<'a, Value>,
    /// What this pass has made of it.
    stage: Value,
    effects: Vec<Effect>,
}

impl<'a> Pass<'a> {
    fn on(world: &'a World, stage: &'a Value) -> Self {
        Self { world, began: stage, stored: Cow::Borrowed(stage), stage: stage.clone(), effects: Vec::new() }
    }

    fn save(&mut self) {
        summarize(&mut self.stage, self.world);
        self.write();
    }

    fn write(&mut self) {
        if let Some(patch) = verification::status_patch(&self.stored, &self.stage) {
            self.effects.push(patch);
            self.stored = Cow::Owned(self.stage.clone());
        }
    }

    /// The reconcile ends here and is tried again (`regular_stages.go:2303-2325`).
    fn fail(&mut self, problem: &str) {
        use conditions::{Condition, FALSE, TRUE};
        for condition in [
            Condition::new("Ready", FALSE, "ReconcileError", problem),
            Condition::new("Reconciling", TRUE, "RetryAfterError", ""),
        ] {
            conditions::set(&mut self.stage, &condition, self.world);
        }
        self.handle_refresh();
        self.write();
    }

    fn finish(mut self) -> Vec<Effect> {
        summarize(&mut self.stage, self.world);
        conditions::delete(&mut self.stage, "Reconciling");
        self.handle_refresh();
        self.write();
        self.effects
    }

    fn handle_refresh(&mut self) {
        if let Some(token) = annotation(&self.stage, REFRESH).map(|token| json!(token)) {
            put(&mut self.stage, &["status", "lastHandledRefresh"], token);
        }
    }

    /// A pass that records a hold began with a status from before the hold showed, and its second patch takes away what
    /// the answer to its first one had brought (`story/verification-failed-rollback-resume` at 2.927 s).
    fn flicker(&mut self) {
        const EFFECTIVE: [&str; 2] = ["status", "effectiveAutoPromotionHolds"];
        let durable = |stage: &Value| map(stage, &["status", "autoPromotionHolds"]).cloned();
        let last = |stage: &Value| Stage(stage).last_promotion().map(str::to_owned);
        let recorded = last(self.began) != last(&self.stage) && durable(self.began) != durable(&self.stage);
        if self.world.flaws.effective_holds_flicker && recorded {
            remove(&mut self.stage, &EFFECTIVE);
            self.write();
        }
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
