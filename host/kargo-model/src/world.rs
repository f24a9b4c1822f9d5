//! The objects that Kargo can see at one moment, and the writes that the model asks for.
//! In go objects as JSON values, out come look-ups; [`World::apply`] carries out an [`Effect`] in memory.
//! It must not decide anything: rules live in the modules named after them.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::admission::ControlPlane;
use crate::flaws::Flaws;
use crate::{merge, object};

/// The kinds of objects that the model knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A core Namespace; labelled as a Project or not.
    Namespace,
    /// A Kargo Project.
    Project,
    /// A Project's promotion policies.
    ProjectConfig,
    /// Where Freight comes from.
    Warehouse,
    /// A set of artifacts to promote.
    Freight,
    /// Where Freight goes.
    Stage,
    /// One promotion of Freight to a Stage.
    Promotion,
    /// Steps that Stages of one Project share.
    PromotionTask,
    /// Steps that all Projects share.
    ClusterPromotionTask,
    /// What to measure in a verification.
    AnalysisTemplate,
    /// One verification's measurements.
    AnalysisRun,
}

impl Kind {
    /// Every kind, in the order of the enum.
    pub const ALL: [Self; 11] = [
        Self::Namespace,
        Self::Project,
        Self::ProjectConfig,
        Self::Warehouse,
        Self::Freight,
        Self::Stage,
        Self::Promotion,
        Self::PromotionTask,
        Self::ClusterPromotionTask,
        Self::AnalysisTemplate,
        Self::AnalysisRun,
    ];

    /// The kind's name in `kind:` fields.
    pub fn name(self) -> &'static str {
        match self {
            Self::Namespace => "Namespace",
            Self::Project => "Project",
            Self::ProjectConfig => "ProjectConfig",
            Self::Warehouse => "Warehouse",
            Self::Freight => "Freight",
            Self::Stage => "Stage",
            Self::Promotion => "Promotion",
            Self::PromotionTask => "PromotionTask",
            Self::ClusterPromotionTask => "ClusterPromotionTask",
            Self::AnalysisTemplate => "AnalysisTemplate",
            Self::AnalysisRun => "AnalysisRun",
        }
    }

    /// The kind whose name is `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether status is a subresource. AnalysisRuns have none: capture `e/failed` shows a status that arrived with
    /// the create (`story/verification-failed-rollback-resume`, event at 0.184 s).
    pub fn has_status_subresource(self) -> bool {
        self != Self::AnalysisRun
    }
}

/// Which object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace, empty for cluster-wide kinds.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ObjectKey {
    /// A key from its parts.
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        Self { kind, namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// The key of `value`; `None` when its kind is not one of ours.
    pub fn of(value: &Value) -> Option<Self> {
        let kind = Kind::from_name(object::text(value, &["kind"]))?;
        Some(Self::new(kind, object::namespace(value), object::name(value)))
    }
}

/// One write that Kargo would make.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Merge patch of `status`; through the status subresource where the kind has one.
    PatchStatus {
        /// What to patch.
        key: ObjectKey,
        /// The patch of the value under `status`.
        patch: Value,
    },
    /// Merge patch of the object itself.
    Patch {
        /// What to patch.
        key: ObjectKey,
        /// The patch of the whole object.
        patch: Value,
    },
    /// A new object. Promotions pass admission on their way in, as the control plane's.
    Create(Value),
}

/// Whether AnalysisTemplates have to exist before a verification can start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Templates {
    /// As Kargo does: a missing template ends the verification as `Error` (capture `e/error-missing-template`).
    #[default]
    Required,
    /// Every template exists and measures one metric `smoke`: for tests that only care about the outcome.
    Assumed,
}

/// Everything that a rule may look up, at one moment.
#[derive(Clone, Debug)]
pub struct World {
    /// The moment.
    pub now: Timestamp,
    /// Who counts as the control plane.
    pub control_plane: ControlPlane,
    /// Whether AnalysisTemplates have to exist.
    pub templates: Templates,
    /// Which of Kargo's flaws there are.
    pub flaws: Flaws,
    /// Shared: a world at another moment is made for every look ahead, and one for every request that webhooks see.
    objects: Arc<BTreeMap<ObjectKey, Arc<Value>>>,
}

impl World {
    /// An empty world at `now`.
    pub fn new(now: Timestamp) -> Self {
        Self {
            now,
            control_plane: ControlPlane::default(),
            templates: Templates::default(),
            flaws: Flaws::default(),
            objects: Arc::default(),
        }
    }

    /// The same objects at another moment.
    pub(crate) fn at(&self, now: Timestamp) -> Self {
        Self { now, ..self.clone() }
    }

    /// Adds or replaces an object; one of an unknown kind is left out.
    pub fn put(&mut self, value: impl Into<Arc<Value>>) {
        let value = value.into();
        if let Some(key) = ObjectKey::of(&value) {
            self.put_under(key, value);
        }
    }

    /// Stores an object under a key that is not its own, as the API server does with what a webhook renamed during
    /// server-side apply (capture `g/ssa-phantom`).
    pub fn put_under(&mut self, key: ObjectKey, value: impl Into<Arc<Value>>) {
        Arc::make_mut(&mut self.objects).insert(key, value.into());
    }

    /// Takes an object away.
    pub fn remove(&mut self, key: &ObjectKey) -> Option<Arc<Value>> {
        Arc::make_mut(&mut self.objects).remove(key)
    }

    /// The object under `key`.
    pub fn find(&self, key: &ObjectKey) -> Option<&Value> {
        self.objects.get(key).map(Arc::as_ref)
    }

    /// The object of that kind, namespace and name.
    pub fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<&Value> {
        self.objects.get(&ObjectKey::new(kind, namespace, name)).map(Arc::as_ref)
    }

    /// All objects of a kind in a namespace, by name.
    pub fn list<'a>(&'a self, kind: Kind, namespace: &'a str) -> impl Iterator<Item = &'a Value> {
        self.objects
            .range(ObjectKey::new(kind, namespace, "")..)
            .take_while(move |(key, _)| key.kind == kind && key.namespace == namespace)
            .map(|(_, value)| value.as_ref())
    }

    /// All objects of a kind, by namespace and name.
    pub fn all(&self, kind: Kind) -> impl Iterator<Item = &Value> {
        self.objects
            .range(ObjectKey::new(kind, "", "")..)
            .take_while(move |(key, _)| key.kind == kind)
            .map(|(_, value)| value.as_ref())
    }

    /// The keys of all Stages, by namespace and name.
    pub fn stages(&self) -> Vec<ObjectKey> {
        self.objects.keys().filter(|key| key.kind == Kind::Stage).cloned().collect()
    }

    /// The Promotions of a Stage, by name; that is by age, because names carry a ULID.
    pub fn promotions_of<'a>(
        &'a self,
        namespace: &'a str,
        stage: &'a str,
    ) -> impl Iterator<Item = &'a Value> {
        self.list(Kind::Promotion, namespace)
            .filter(move |promotion| object::text(promotion, &["spec", "stage"]) == stage)
    }

    /// Carries out `effect` in memory. A patch of an object that is gone does nothing; a created object is stored as
    /// it is, so a Promotion has to pass admission before.
    pub fn apply(&mut self, effect: &Effect) {
        match effect {
            Effect::PatchStatus { key, patch } => {
                self.edit(key, |value| merge::apply(value, &json!({ "status": patch })));
            }
            Effect::Patch { key, patch } => self.edit(key, |value| merge::apply(value, patch)),
            Effect::Create(value) => self.put(value.clone()),
        }
    }

    fn edit(&mut self, key: &ObjectKey, edit: impl FnOnce(&mut Value)) {
        if let Some(value) = Arc::make_mut(&mut self.objects).get_mut(key) {
            edit(Arc::make_mut(value));
        }
    }
}
