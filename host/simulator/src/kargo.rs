//! Kargo's controllers, played by its model as a client of whatever API server there is, in memory or real.
//!
//! In: feeds of what they watch, a client to write with, a [`Script`] that may change, a clock. Out: Promotions that are
//! run, recorded and verified as Kargo would. It must not judge anything: every rule is in `kargo-model`. Kargo's webhooks are in [`crate::webhooks`].

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use jiff::Timestamp;
use kargo_model::admission::request::CONTROLLER;
use kargo_model::world::Templates;
use kargo_model::{Controllers, Effect, Kind, ObjectKey, Script, SeededIds, World, object};
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Client, Resource as _};
use kube_memory::{Resource, User};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::feed::{self, Feed, News};

/// How long the controllers wait before they try a write again that failed, as while the webhooks are down.
const RETRY_AFTER: Duration = Duration::from_millis(200);
/// How often a Stage that Kargo does not look at is found to want it.
const HANGS: Duration = Duration::from_secs(60);
/// The shortest rest of the controllers: moments closer together than this are one to them.
const TICK: Duration = Duration::from_millis(1);

/// What the controllers watch.
const WATCHED: [Kind; 7] = [
    Kind::Warehouse,
    Kind::ProjectConfig,
    Kind::AnalysisTemplate,
    Kind::AnalysisRun,
    Kind::Freight,
    Kind::Promotion,
    Kind::Stage,
];

/// The user that Kargo's controllers are.
pub fn controller() -> User {
    User::with_groups(CONTROLLER, vec!["system:masters".to_owned()])
}

/// Kind, group and version as an API server knows them.
pub fn resource(kind: Kind) -> ApiResource {
    let (group, version, plural) = match kind {
        Kind::Namespace => ("", "v1", "namespaces"),
        Kind::Project => ("kargo.akuity.io", "v1alpha1", "projects"),
        Kind::ProjectConfig => ("kargo.akuity.io", "v1alpha1", "projectconfigs"),
        Kind::Warehouse => ("kargo.akuity.io", "v1alpha1", "warehouses"),
        Kind::Freight => ("kargo.akuity.io", "v1alpha1", "freights"),
        Kind::Stage => ("kargo.akuity.io", "v1alpha1", "stages"),
        Kind::Promotion => ("kargo.akuity.io", "v1alpha1", "promotions"),
        Kind::PromotionTask => ("kargo.akuity.io", "v1alpha1", "promotiontasks"),
        Kind::ClusterPromotionTask => ("kargo.akuity.io", "v1alpha1", "clusterpromotiontasks"),
        Kind::AnalysisTemplate => ("argoproj.io", "v1alpha1", "analysistemplates"),
        Kind::AnalysisRun => ("argoproj.io", "v1alpha1", "analysisruns"),
    };
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind.name()), plural)
}

/// The same as an API server in memory wants to know it.
pub fn memory_resource(kind: Kind) -> Resource {
    let known = resource(kind);
    let plain = Resource::custom(&known.group, &known.version, &known.kind, &known.plural);
    let scoped = match kind {
        Kind::Project | Kind::ClusterPromotionTask => plain.cluster_wide(),
        _ => plain,
    };
    if kind.has_status_subresource() { scoped.with_status() } else { scoped }
}

/// A client for the objects of one kind in a Project.
pub fn api(client: &Client, kind: Kind, project: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), project, &resource(kind))
}

/// How things end from now on, shared with the controllers.
#[derive(Debug, Default)]
pub struct Director {
    script: Mutex<Script>,
    hanging: Mutex<Vec<String>>,
    changed: Notify,
}

impl Director {
    /// Directs by that script.
    pub fn new(script: Script) -> Self {
        Self { script: Mutex::new(script), ..Self::default() }
    }

    /// Changes the script; waiting steps and runs see it at once.
    pub fn change(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_one();
    }

    /// Keeps the controllers from looking at these Stages, and lets them look at all others.
    pub fn hang(&self, stages: &[String]) {
        *self.hanging.lock().unwrap_or_else(PoisonError::into_inner) = stages.to_vec();
        self.changed.notify_one();
    }

    fn hangs(&self, stage: &ObjectKey) -> bool {
        self.hanging.lock().unwrap_or_else(PoisonError::into_inner).contains(&stage.name)
    }

    /// How things end from now on.
    pub fn script(&self) -> Script {
        self.script.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Kargo's controllers could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// An object cannot be read.
    #[error("failed to read an object of Kargo")]
    Read(#[from] serde_json::Error),
    /// A write was refused.
    #[error("failed to write an object of Kargo")]
    Write(#[from] kube::Error),
    /// The model wants to write something of a kind that it does not know.
    #[error("the model of Kargo wrote an object without a kind")]
    Kind,
}

/// What tells the controllers of each kind that they watch, as `feed` has it.
pub fn feeds(feed: impl Fn(&ApiResource) -> Feed) -> Vec<(Kind, Feed)> {
    WATCHED.into_iter().map(|kind| (kind, feed(&resource(kind)))).collect()
}

/// Plays the controllers of one Project, which [`feeds`] tell of what is there, until the future is dropped.
///
/// # Errors
/// When an object cannot be read.
pub async fn control(
    client: Client,
    feeds: Vec<(Kind, Feed)>,
    director: &Director,
    seed: u64,
    clock: impl Fn() -> Timestamp,
) -> Result<(), ControlError> {
    let mut events = feed::all(feeds);
    let mut playing = Playing {
        client,
        world: World::new(clock()),
        kargo: Controllers::default(),
        ids: SeededIds::new(seed),
        ready: Vec::new(),
        is_changed: true,
        clock,
    };
    playing.world.templates = Templates::Assumed;
    let mut rest = None;
    loop {
        tokio::select! {
            biased;
            () = director.changed.notified() => playing.is_changed = true,
            event = events.next() => {
                let Some((kind, news)) = event else { return Ok(()) };
                playing.see(kind, news);
            }
            () = tokio::time::sleep_until(rest.unwrap_or_else(Instant::now)), if rest.is_some() => {
                playing.is_changed = true;
            }
        }
        while let Some(Some((kind, news))) = events.next().now_or_never() {
            playing.see(kind, news);
        }
        // Most events only repeat the answers to writes of its own.
        if std::mem::take(&mut playing.is_changed) && playing.is_ready() {
            let pause = playing.settle(director).await;
            rest = pause.map(|pause| Instant::now() + pause);
        }
    }
}

struct Playing<C> {
    client: Client,
    world: World,
    kargo: Controllers,
    ids: SeededIds,
    /// Kinds whose first list is complete.
    ready: Vec<Kind>,
    /// Whether something has changed since everything was looked at.
    is_changed: bool,
    clock: C,
}

impl<C: Fn() -> Timestamp> Playing<C> {
    fn see(&mut self, kind: Kind, news: News) {
        match news {
            News::Found(object) | News::Applied(object) => self.store(object),
            News::Complete => {
                if !self.ready.contains(&kind) {
                    self.ready.push(kind);
                    self.is_changed = true;
                }
            }
            News::Gone(object) => {
                if let Some(key) = ObjectKey::of(&object) {
                    self.world.remove(&key);
                    self.is_changed = true;
                }
            }
        }
    }

    /// Keeps the newer one: an event may be older than the answer to a write of our own.
    fn store(&mut self, value: Arc<Value>) {
        let version = |value: &Value| -> u64 {
            object::text(value, &["metadata", "resourceVersion"]).parse().unwrap_or_default()
        };
        let known = ObjectKey::of(&value).and_then(|key| self.world.find(&key).map(version));
        if known.is_none_or(|known| known < version(&value)) {
            self.world.put(value);
            self.is_changed = true;
        }
    }

    fn is_ready(&self) -> bool {
        WATCHED.iter().all(|kind| self.ready.contains(kind))
    }

    /// Writes what the model says until it says nothing more. The answer is how long it rests then, at most.
    async fn settle(&mut self, director: &Director) -> Option<Duration> {
        let script = &director.script();
        let mut rest = None;
        for stage in self.world.stages() {
            let mut is_hanging = false;
            loop {
                self.world.now = (self.clock)();
                let effects = self.kargo.next(&self.world, &stage, script, &mut self.ids);
                if effects.is_empty() {
                    break;
                }
                // What a Stage's reconcile would write is lost, and asked for again at the next one.
                if director.hangs(&stage) && effects.iter().any(is_about_stage) {
                    is_hanging = true;
                    break;
                }
                if self.carry_out(&stage, &effects).await.is_err() {
                    return Some(RETRY_AFTER);
                }
            }
            let wake = self.kargo.next_wake(&self.world, &stage, script);
            let wake = wake.map(|wake| Duration::try_from(wake.duration_since(self.world.now)));
            let wake = wake.map(|wait| wait.unwrap_or_default().max(TICK));
            // What is due and not done stays due.
            let wake = wake.filter(|wait| !is_hanging || *wait > TICK);
            rest = rest.into_iter().chain(wake).chain(is_hanging.then_some(HANGS)).min();
        }
        rest
    }

    /// The writes of one round; what Kargo says of a refusal is written in place of those after it.
    async fn carry_out(&mut self, stage: &ObjectKey, effects: &[Effect]) -> Result<(), ControlError> {
        for effect in effects {
            let Err(error) = self.write(effect).await else { continue };
            if let ControlError::Write(kube::Error::Api(refusal)) = &error {
                let refusal = serde_json::to_value(refusal)?;
                for said in self.kargo.refused(&self.world, stage, effect, &refusal) {
                    self.write(&said).await?;
                }
            }
            return Err(error);
        }
        Ok(())
    }

    async fn write(&mut self, effect: &Effect) -> Result<(), ControlError> {
        // Not by `Api`: what it decodes would have to be made JSON again.
        let written: Value = self.client.request(request(effect)?).await?;
        self.store(Arc::new(written));
        Ok(())
    }
}

fn request(effect: &Effect) -> Result<http::Request<Vec<u8>>, ControlError> {
    let on = |kind: Kind, namespace: &str| {
        kube::core::Request::new(DynamicObject::url_path(&resource(kind), Some(namespace)))
    };
    let merge = PatchParams::default();
    let request = match effect {
        Effect::Create(object) => {
            let kind = Kind::from_name(object::text(object, &["kind"])).ok_or(ControlError::Kind)?;
            on(kind, object::namespace(object)).create(&PostParams::default(), serde_json::to_vec(object)?)
        }
        Effect::Patch { key, patch } => {
            on(key.kind, &key.namespace).patch(&key.name, &merge, &Patch::Merge(patch))
        }
        Effect::PatchStatus { key, patch } => {
            let (on, patch) = (on(key.kind, &key.namespace), json!({"status": patch}));
            match key.kind.has_status_subresource() {
                true => on.patch_subresource("status", &key.name, &merge, &Patch::Merge(&patch)),
                false => on.patch(&key.name, &merge, &Patch::Merge(&patch)),
            }
        }
    };
    request.map_err(|error| ControlError::Write(kube::Error::BuildRequest(error)))
}

/// Whether a write comes from a look at a Stage: at Promotions and AnalysisRuns others look.
fn is_about_stage(effect: &Effect) -> bool {
    match effect {
        Effect::Create(_) => true,
        Effect::Patch { key, .. } | Effect::PatchStatus { key, .. } => {
            !matches!(key.kind, Kind::Promotion | Kind::AnalysisRun)
        }
    }
}

/// An object as JSON, with its kind.
///
/// # Errors
/// As [`feed::typed`].
pub fn typed(kind: Kind, found: &DynamicObject) -> Result<Value, serde_json::Error> {
    feed::typed(&resource(kind), found)
}
