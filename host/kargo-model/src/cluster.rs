//! A whole Project in memory: objects, admission on the way in, controllers that run until everything rests.
//! In go what people and programs send, out come the answers they would get and the objects afterwards. Pure: each
//! [`Cluster::settle`] happens at one moment; time moves only through [`Cluster::advance`].
//! It is no API server: no versions, no watches, no permissions but `promote`.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::admission::request::CONTROLLER;
use crate::admission::{
    self, Access, AdmissionRequest, Denial, Operation, PROMOTION_WEBHOOK, STAGE_WEBHOOK, User, promote_review,
};
use crate::ids::{IdSource, SeededIds};
use crate::object::{name, namespace, put, text};
use crate::script::Script;
use crate::time::stamp_value;
use crate::world::{Effect, Kind, ObjectKey, World};
use crate::{controllers, merge};

/// Rounds after which something is taken to run in circles.
const ROUNDS: usize = 1_000;

/// A Project in memory.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Its objects.
    pub world: World,
    /// How things end.
    pub script: Script,
    /// Users without the verb `promote`; everybody else has it.
    pub without_promote: BTreeSet<String>,
    ids: SeededIds,
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
            ids: SeededIds::new(seed),
        }
    }

    /// Lets time pass.
    pub fn advance(&mut self, by: SignedDuration) {
        self.world.now = self.world.now.saturating_add(by).unwrap_or(self.world.now);
    }

    /// Creates an object as `user`; Promotions and Stages pass admission.
    ///
    /// # Errors
    /// [`Refused::Status`] with the body that a client of the API server gets.
    pub fn create(&mut self, user: &str, object: Value) -> Result<Value, Refused> {
        let admitted = self.admit(user, object)?;
        self.world.put(admitted.clone());
        Ok(admitted)
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
        self.review(&mut request)?;
        self.world.put(request.object.clone());
        Ok(request.object)
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
        Ok(())
    }

    fn existing(&self, key: &ObjectKey) -> Result<Value, Refused> {
        let not_found = || {
            let (kind, group) = (key.kind.name(), crate::names::GROUP);
            Refused::Status(Denial::NotFound { kind, group, name: key.name.clone() }.status())
        };
        self.world.find(key).cloned().ok_or_else(not_found)
    }

    /// Mutating webhook, schema, validating webhook, in the API server's order.
    fn review(&mut self, request: &mut AdmissionRequest) -> Result<(), Refused> {
        let through = |webhook| move |denial: Denial| Refused::Status(denial.status_through(webhook));
        match Kind::from_name(text(request.subject(), &["kind"])) {
            Some(Kind::Promotion) => {
                if request.operation != Operation::Delete {
                    request.object = admission::mutate_promotion(request, &self.world, &mut self.ids)
                        .map_err(through(PROMOTION_WEBHOOK))?;
                    self.generate_name(request);
                    let plain = |denial: Denial| Refused::Status(denial.status());
                    admission::check_promotion(&request.object).map_err(plain)?;
                }
                let asked = promote_review(request).user.name;
                let access =
                    if self.without_promote.contains(&asked) { Access::Denied } else { Access::Allowed };
                admission::validate_promotion(request, &self.world, access)
                    .map_err(through(PROMOTION_WEBHOOK))
            }
            Some(Kind::Stage) => {
                if request.operation != Operation::Delete {
                    request.object =
                        admission::mutate_stage(request, &self.world).map_err(through(STAGE_WEBHOOK))?;
                }
                admission::validate_stage(request, &self.world).map_err(through(STAGE_WEBHOOK))
            }
            _ => Ok(()),
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

    /// Carries out the next writes of one Stage's controllers, and says how many there were.
    ///
    /// # Errors
    /// [`Refused::Status`] when a Promotion that Kargo creates by itself is refused.
    pub fn step(&mut self, stage: &ObjectKey) -> Result<usize, Refused> {
        let effects = controllers::next(&self.world, stage, &self.script, &mut self.ids);
        for effect in &effects {
            match effect {
                Effect::Create(object) if text(object, &["kind"]) == "Promotion" => {
                    self.create(CONTROLLER, object.clone())?;
                }
                Effect::Create(_) | Effect::Patch { .. } | Effect::PatchStatus { .. } => {
                    self.world.apply(effect)
                }
            }
        }
        Ok(effects.len())
    }

    /// Runs the controllers of all Stages until none has anything to write.
    ///
    /// # Errors
    /// As [`Cluster::step`]; [`Refused::Restless`] when that never happens.
    pub fn settle(&mut self) -> Result<(), Refused> {
        for _ in 0..ROUNDS {
            let mut writes = 0;
            for stage in self.world.stages() {
                writes += self.step(&stage)?;
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
