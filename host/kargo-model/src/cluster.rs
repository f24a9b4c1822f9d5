//! A whole Project in memory: objects, admission on the way in, controllers that run until everything rests.
//! In go what people and programs send, out come the answers they would get and the objects afterwards. Pure: each
//! [`Cluster::settle`] happens at one moment; time moves only through [`Cluster::advance`], which stops wherever the
//! controllers would do something. It is no API server: no versions, no watches, no permissions but `promote`.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::admission::request::{CONTROLLER, GARBAGE_COLLECTOR};
use crate::admission::{
    self, Access, AdmissionRequest, Denial, FREIGHT_WEBHOOK, Fault, Freeze, Operation, PROMOTION_WEBHOOK,
    STAGE_WEBHOOK, User, promote_review,
};
use crate::controllers::{Controllers, WorkDirs};
use crate::ids::{IdSource, SeededIds};
use crate::object::{name, namespace, put, text};
use crate::script::Script;
use crate::time::stamp_value;
use crate::world::{Effect, Kind, ObjectKey, World};
use crate::{garbage, merge, rollouts};

/// Rounds after which something is taken to run in circles.
const ROUNDS: usize = 1_000;
/// What time moves by at least, when it moves.
const TICK: SignedDuration = SignedDuration::from_millis(1);

/// A Project in memory.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Its objects.
    pub world: World,
    /// How things end.
    pub script: Script,
    /// Users without the verb `promote`; everybody else has it.
    pub without_promote: BTreeSet<String>,
    /// Whether Kargo's webhooks answer.
    pub webhooks: Webhooks,
    /// Policies that keep Promotions out.
    pub freezes: Vec<Freeze>,
    /// Every write since the beginning, in order: what a watch would have shown.
    pub changes: Vec<Change>,
    /// Kargo's controllers; none while they are down.
    kargo: Option<Controllers>,
    ids: SeededIds,
}

/// Whether Kargo's webhook server answers. While it is down, every write of a Promotion, of a Stage or of Freight with
/// its status is refused; the status of Promotions and Stages can be written (capture `l/webhooks-down`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Webhooks {
    /// It does.
    #[default]
    Up,
    /// It does not.
    Down,
}

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// When.
    pub at: Timestamp,
    /// Under which key.
    pub key: ObjectKey,
    /// The object after it; `None` once it is deleted.
    pub object: Option<Value>,
}

/// What a client sees instead of an object.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refused {
    /// A `Status` with a failure.
    #[error("{}", text(.0, &["message"]))]
    Status(Value),
    /// The controllers never came to rest.
    #[error("the model of Kargo did not come to rest after {ROUNDS} writes to Stage `{0}`")]
    Restless(String),
}

impl Cluster {
    /// An empty Project world at `now`.
    pub fn new(now: Timestamp, seed: u64) -> Self {
        Self {
            world: World::new(now),
            script: Script::default(),
            without_promote: BTreeSet::new(),
            webhooks: Webhooks::Up,
            freezes: Vec::new(),
            changes: Vec::new(),
            kargo: Some(Controllers::default()),
            ids: SeededIds::new(seed),
        }
    }

    /// Lets time pass. Whatever the controllers do by themselves meanwhile happens at its own moment.
    ///
    /// # Errors
    /// As [`Cluster::settle`].
    pub fn advance(&mut self, by: SignedDuration) -> Result<(), Refused> {
        let end = self.world.now.saturating_add(by).unwrap_or(self.world.now);
        self.settle()?;
        while let Some(wake) = self.next_wake().filter(|wake| *wake <= end) {
            let tick = self.world.now.saturating_add(TICK).unwrap_or(end);
            self.world.now = wake.max(tick).min(end);
            self.settle()?;
            if self.world.now >= end {
                return Ok(());
            }
        }
        self.world.now = end;
        self.settle()
    }

    /// When the controllers do something next if nothing else happens; not in the future means now.
    pub fn next_wake(&self) -> Option<Timestamp> {
        let stages = self.world.stages();
        let wakes = stages.iter().filter_map(|key| match &self.kargo {
            Some(kargo) => kargo.next_wake(&self.world, key, &self.script),
            None => rollouts::next_wake(&self.world, self.world.find(key)?, &self.script),
        });
        wakes.min()
    }

    /// Stops Kargo's controllers: new Promotions then have no status at all (capture `m/controller-down`). Argo Rollouts
    /// goes on.
    pub fn stop_controllers(&mut self) {
        self.kargo = None;
    }

    /// Starts Kargo's controllers, again or for the first time.
    pub fn start_controllers(&mut self, work_dirs: WorkDirs) {
        self.kargo = Some(Controllers::restarted(&self.world, work_dirs));
    }

    /// Creates an object as `user`; Promotions, Stages and Freight pass admission.
    ///
    /// # Errors
    /// [`Refused::Status`] with the body that a client of the API server gets.
    pub fn create(&mut self, user: &str, object: Value) -> Result<Value, Refused> {
        let admitted = self.admit(user, object)?;
        if let Some(key) = ObjectKey::of(&admitted) {
            self.store(key, admitted.clone());
        }
        Ok(admitted)
    }

    /// Creates a Promotion by server-side apply under the name `requested`. Kargo's webhook renames it after the API server
    /// has chosen the key: see [`crate::Flaws::apply_leaves_a_phantom`].
    ///
    /// # Errors
    /// As [`Cluster::create`]; 422 when there is an object of that name.
    pub fn apply(&mut self, user: &str, requested: &str, object: Value) -> Result<Value, Refused> {
        let key = ObjectKey::new(Kind::Promotion, namespace(&object), requested);
        if self.world.find(&key).is_some() {
            let value = format!("{requested:?}");
            let fault =
                Fault { field: "metadata.name".to_owned(), value, problem: "field is immutable".to_owned() };
            return Err(Refused::Status(Denial::invalid("Promotion", requested, fault).status()));
        }
        let admitted = self.admit(user, object)?;
        let own = ObjectKey::of(&admitted).filter(|_| !self.world.flaws.apply_leaves_a_phantom);
        self.store(own.unwrap_or(key), admitted.clone());
        Ok(admitted)
    }

    fn store(&mut self, key: ObjectKey, object: Value) {
        self.changes.push(Change { at: self.world.now, key: key.clone(), object: Some(object.clone()) });
        self.world.put_under(key, object);
    }

    /// What [`Cluster::create`] would answer, without storing anything.
    ///
    /// # Errors
    /// As [`Cluster::create`].
    pub fn dry_run(&self, user: &str, object: Value) -> Result<Value, Refused> {
        self.clone().admit(user, object)
    }

    fn admit(&mut self, user: &str, object: Value) -> Result<Value, Refused> {
        let mut request = AdmissionRequest {
            operation: Operation::Create,
            user: User::named(user),
            namespace: namespace(&object).to_owned(),
            object,
            old_object: Value::Null,
        };
        put(&mut request.object, &["metadata", "creationTimestamp"], stamp_value(self.world.now));
        put(&mut request.object, &["metadata", "uid"], json!(self.ids.uuid()));
        put(&mut request.object, &["metadata", "generation"], json!(1));
        self.review(&mut request)?;
        Ok(request.object)
    }

    /// Merge patch of an object as `user`, for annotations and labels above all.
    ///
    /// # Errors
    /// [`Refused::Status`]: not found, or refused by admission.
    pub fn patch(&mut self, user: &str, key: &ObjectKey, patch: &Value) -> Result<Value, Refused> {
        let old = self.existing(key)?;
        let mut object = old.clone();
        merge::apply(&mut object, patch);
        let mut request = AdmissionRequest {
            operation: Operation::Update,
            user: User::named(user),
            namespace: key.namespace.clone(),
            object,
            old_object: old,
        };
        if request.object.get("spec") != request.old_object.get("spec") {
            let generation = crate::object::at(&request.old_object, &["metadata", "generation"]);
            let next = generation.and_then(Value::as_i64).unwrap_or_default().saturating_add(1);
            put(&mut request.object, &["metadata", "generation"], json!(next));
        }
        self.review(&mut request)?;
        self.store(key.clone(), request.object.clone());
        Ok(request.object)
    }

    /// Merge patch of the status of an object, which no webhook of Kargo sees but that of Freight.
    ///
    /// # Errors
    /// [`Refused::Status`]: not found, or Freight while the webhooks are down or refuse it.
    pub fn patch_status(&mut self, key: &ObjectKey, patch: &Value) -> Result<Value, Refused> {
        let old_object = self.existing(key)?;
        let mut object = old_object.clone();
        merge::apply(&mut object, &json!({ "status": patch }));
        if key.kind == Kind::Freight {
            self.reach("validate", Kind::Freight)?;
            let (operation, user) = (Operation::Update, User::named(CONTROLLER));
            let namespace = key.namespace.clone();
            let request = AdmissionRequest { operation, user, namespace, object: object.clone(), old_object };
            admission::validate_freight(&request, &self.world)
                .map_err(|denial| Refused::Status(denial.status_through(FREIGHT_WEBHOOK)))?;
        }
        self.store(key.clone(), object.clone());
        Ok(object)
    }

    /// Deletes an object as `user`.
    ///
    /// # Errors
    /// [`Refused::Status`]: not found, or refused by admission.
    pub fn delete(&mut self, user: &str, key: &ObjectKey) -> Result<(), Refused> {
        let mut request = AdmissionRequest {
            operation: Operation::Delete,
            user: User::named(user),
            namespace: key.namespace.clone(),
            object: Value::Null,
            old_object: self.existing(key)?,
        };
        self.review(&mut request)?;
        self.world.remove(key);
        self.changes.push(Change { at: self.world.now, key: key.clone(), object: None });
        Ok(())
    }

    /// One run of Kargo's garbage collector on a Project; says what it deleted.
    ///
    /// # Errors
    /// As [`Cluster::delete`].
    pub fn collect_garbage(&mut self, project: &str) -> Result<Vec<ObjectKey>, Refused> {
        let due = garbage::due(&self.world, project);
        due.iter().try_for_each(|key| self.delete(GARBAGE_COLLECTOR, key))?;
        Ok(due)
    }

    fn existing(&self, key: &ObjectKey) -> Result<Value, Refused> {
        let not_found = || {
            let (kind, group) = (key.kind.name(), crate::names::GROUP);
            Refused::Status(Denial::NotFound { kind, group, name: key.name.clone() }.status())
        };
        self.world.find(key).cloned().ok_or_else(not_found)
    }

    /// Mutating webhook, schema, policies, validating webhook, in the API server's order.
    fn review(&mut self, request: &mut AdmissionRequest) -> Result<(), Refused> {
        let through = |webhook| move |denial: Denial| Refused::Status(denial.status_through(webhook));
        let writes = request.operation != Operation::Delete;
        let verb = if writes { "mutate" } else { "validate" };
        match Kind::from_name(text(request.subject(), &["kind"])) {
            Some(Kind::Promotion) => {
                self.reach(verb, Kind::Promotion)?;
                if writes {
                    request.object = admission::mutate_promotion(request, &self.world, &mut self.ids)
                        .map_err(through(PROMOTION_WEBHOOK))?;
                    self.generate_name(request);
                    let plain = |denial: Denial| Refused::Status(denial.status());
                    admission::check_promotion(&request.object).map_err(plain)?;
                }
                if let Some(refusal) = self.freezes.iter().find_map(|freeze| freeze.refusal(request)) {
                    return Err(Refused::Status(refusal));
                }
                let asked = promote_review(request).user.name;
                let access =
                    if self.without_promote.contains(&asked) { Access::Denied } else { Access::Allowed };
                admission::validate_promotion(request, &self.world, access)
                    .map_err(through(PROMOTION_WEBHOOK))
            }
            Some(Kind::Stage) => {
                self.reach(verb, Kind::Stage)?;
                if writes {
                    request.object =
                        admission::mutate_stage(request, &self.world).map_err(through(STAGE_WEBHOOK))?;
                }
                admission::validate_stage(request, &self.world).map_err(through(STAGE_WEBHOOK))
            }
            Some(Kind::Freight) => {
                self.reach(verb, Kind::Freight)?;
                if writes {
                    request.object = admission::mutate_freight(request, &self.world);
                }
                admission::validate_freight(request, &self.world).map_err(through(FREIGHT_WEBHOOK))
            }
            _ => Ok(()),
        }
    }

    fn reach(&self, verb: &str, kind: Kind) -> Result<(), Refused> {
        match self.webhooks {
            Webhooks::Up => Ok(()),
            Webhooks::Down => Err(Refused::Status(Denial::unreachable(verb, kind).status())),
        }
    }

    /// The API server's own `generateName`, which only comes into play when the webhook gave no name.
    fn generate_name(&mut self, request: &mut AdmissionRequest) {
        if name(&request.object).is_empty() {
            let prefix = text(&request.object, &["metadata", "generateName"]).to_owned();
            let tail: String = self.ids.uuid().chars().take(5).collect();
            put(&mut request.object, &["metadata", "name"], json!(format!("{prefix}{tail}")));
        }
    }

    /// Carries out the next writes of one Stage's controllers, and says how many there were. A refused one ends them, and
    /// what Kargo then says of it is written instead.
    pub fn step(&mut self, stage: &ObjectKey) -> usize {
        let effects = match (&mut self.kargo, self.world.find(stage)) {
            (Some(kargo), _) => kargo.next(&self.world, stage, &self.script, &mut self.ids),
            (None, Some(found)) => rollouts::next(&self.world, found, &self.script),
            (None, None) => Vec::new(),
        };
        for effect in &effects {
            let Err(Refused::Status(refusal)) = self.carry_out(effect) else { continue };
            let said = match &mut self.kargo {
                Some(kargo) => kargo.refused(&self.world, stage, effect, &refusal),
                None => Vec::new(),
            };
            if !said.is_empty() {
                for effect in &said {
                    // The status of a Stage, which no webhook sees.
                    let _ = self.carry_out(effect);
                }
                break;
            }
        }
        effects.len()
    }

    fn carry_out(&mut self, effect: &Effect) -> Result<(), Refused> {
        match effect {
            Effect::Create(object) => self.create(CONTROLLER, object.clone()).map(drop),
            Effect::PatchStatus { key, patch } => self.patch_status(key, patch).map(drop),
            Effect::Patch { key, patch } => self.patch(CONTROLLER, key, patch).map(drop),
        }
    }

    /// Runs the controllers of all Stages until none has anything to write.
    ///
    /// # Errors
    /// [`Refused::Restless`] when that never happens.
    pub fn settle(&mut self) -> Result<(), Refused> {
        for _ in 0..ROUNDS {
            let mut writes = 0;
            for stage in self.world.stages() {
                writes += self.step(&stage);
            }
            if writes == 0 {
                return Ok(());
            }
        }
        Err(Refused::Restless(
            self.world.stages().into_iter().map(|key| key.name).collect::<Vec<_>>().join(", "),
        ))
    }
}
