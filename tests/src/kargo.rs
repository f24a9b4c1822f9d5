//! A stand-in for Kargo on a real API server: its webhooks and its controllers, played by the model.
//! In: a running server, a Project to look after and a [`Script`] that says how things end. Out: Promotions that are
//! renamed, run, recorded and verified as Kargo would, written as Kargo's own account. Each stand-in looks after one
//! Project, so that tests share a server. It lives in threads of its own and ends when it is dropped. It must not
//! judge anything: every rule is in `kargo-model`.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, ThreadId};
use std::time::Duration;

use anyhow::Context as _;
use futures::{FutureExt as _, StreamExt as _};
use k8s_openapi::api::authorization::v1 as authorization;
use kargo_model::admission::{self, Access, AccessReview, AdmissionRequest, Denial, Operation};
use kargo_model::world::Templates;
use kargo_model::{
    Controllers as KargoControllers, Effect, Kind, ObjectKey, Script, SeededIds, World, object,
};
use kube::api::{Api, ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::admission::{AdmissionServer, Answer, Call, serve_admission};
use crate::apiserver::{ADMIN, ApiServer, KARGO_CONTROLLER, User};
use crate::kargo_webhooks::{FREIGHT, MUTATE, PROBE, VALIDATE, register, wait_until_in_force};
use crate::rights::{Grant, rule};

/// How long the controllers wait before they try a write again that failed, as while the webhooks are down.
const RETRY_AFTER: Duration = Duration::from_millis(200);
/// The shortest rest, for what was due a moment ago.
const TICK: Duration = Duration::from_millis(20);

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

/// A running stand-in for one Project.
pub struct KargoStandIn {
    project: String,
    webhooks: AdmissionServer,
    controllers: Option<Controllers>,
    config: Config,
    shared: Arc<Shared>,
}

/// What the test and the controllers' thread both reach.
struct Shared {
    script: Mutex<Script>,
    changed: Notify,
    stop: Notify,
    seed: Mutex<u64>,
}

impl Shared {
    fn script(&self) -> Script {
        self.script.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn next_seed(&self) -> u64 {
        let mut seed = self.seed.lock().unwrap_or_else(PoisonError::into_inner);
        *seed = seed.wrapping_add(1);
        *seed
    }
}

struct Controllers {
    thread: JoinHandle<()>,
}

impl KargoStandIn {
    /// Makes `project` a Project (namespace, label) and starts webhooks and controllers for it. It comes back when
    /// the webhooks are in force. AnalysisTemplates need not exist.
    ///
    /// # Errors
    /// When the API server refuses, or no port or thread can be had.
    pub async fn start(server: &ApiServer, project: &str, script: Script) -> anyhow::Result<Self> {
        let admin = server.client(ADMIN).await?;
        make_project(&admin, project).await?;
        grant_control_plane(&admin, project).await?;
        let shared = Arc::new(Shared {
            script: Mutex::new(script),
            changed: Notify::new(),
            stop: Notify::new(),
            seed: Mutex::new(u64::from(std::process::id())),
        });
        let webhooks = serve(server.config(ADMIN).await?, Arc::clone(&shared))?;
        register(&admin, &webhooks, project).await?;
        wait_until_in_force(&admin, project).await?;
        let config = server.config(KARGO_CONTROLLER).await?;
        let mut stand_in = Self { project: project.to_owned(), webhooks, controllers: None, config, shared };
        stand_in.resume_controllers()?;
        Ok(stand_in)
    }

    /// The Project that it looks after.
    pub fn project(&self) -> &str {
        &self.project
    }

    /// Changes how things end from now on; waiting steps and runs see it at once.
    pub fn script(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.shared.script.lock().unwrap_or_else(PoisonError::into_inner));
        self.shared.changed.notify_one();
    }

    /// Takes the webhooks down: every write of a Promotion, of Freight or of a Stage's metadata is then a 500.
    pub fn webhooks_down(&mut self) {
        self.webhooks.down();
    }

    /// Brings the webhooks back.
    ///
    /// # Errors
    /// When the port or a thread cannot be had.
    pub fn webhooks_up(&mut self) -> anyhow::Result<()> {
        Ok(self.webhooks.up()?)
    }

    /// Stops the controllers: new Promotions then have no status at all (`m/controller-down`). Nothing happens when
    /// they are stopped.
    pub fn stop_controllers(&mut self) {
        if let Some(controllers) = self.controllers.take() {
            self.shared.stop.notify_one();
            // Only fails when the thread panicked, which stopped the controllers just as well.
            let _ = controllers.thread.join();
        }
    }

    /// Starts the controllers again. Nothing happens when they run.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn resume_controllers(&mut self) -> anyhow::Result<()> {
        if self.controllers.is_none() {
            let (config, project, shared) =
                (self.config.clone(), self.project.clone(), Arc::clone(&self.shared));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let thread = std::thread::Builder::new().name(format!("kargo-{project}")).spawn(move || {
                if let Err(error) = runtime.block_on(control(config, &project, &shared)) {
                    tracing_line(&format!("the controllers of `{project}` ended: {error:#}"));
                }
            })?;
            self.controllers = Some(Controllers { thread });
        }
        Ok(())
    }
}

impl Drop for KargoStandIn {
    fn drop(&mut self) {
        self.stop_controllers();
    }
}

/// One line on stderr, which the test runner shows with a test that failed.
#[allow(clippy::print_stderr, reason = "there is nobody else to tell when a thread of a test ends early")]
fn tracing_line(line: &str) {
    eprintln!("{line}");
}

/// Kind, group and version as the API server knows them.
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

/// A client for the objects of one kind in a Project.
pub fn api(client: &Client, kind: Kind, project: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), project, &resource(kind))
}

/// The object as the API server has it.
///
/// # Errors
/// As the API server says.
pub async fn get(client: &Client, key: &ObjectKey) -> anyhow::Result<Value> {
    let found = api(client, key.kind, &key.namespace).get(&key.name).await?;
    Ok(serde_json::to_value(found)?)
}

/// Creates an object by POST and returns it as stored.
///
/// # Errors
/// As the API server says; `kube::Error::Api` is the cause.
pub async fn create(client: &Client, object: &Value) -> Result<Value, kube::Error> {
    let kind = Kind::from_name(object::text(object, &["kind"])).unwrap_or(Kind::Promotion);
    let typed: DynamicObject = serde_json::from_value(object.clone()).map_err(kube::Error::SerdeError)?;
    let stored = api(client, kind, object::namespace(object)).create(&PostParams::default(), &typed).await?;
    serde_json::to_value(stored).map_err(kube::Error::SerdeError)
}

/// Kargo's account may do everything in its Projects.
async fn grant_control_plane(admin: &Client, project: &str) -> anyhow::Result<()> {
    let grant = Grant {
        name: "kargo-controller".to_owned(),
        namespace: Some(project.to_owned()),
        user: User::new(KARGO_CONTROLLER),
        rules: vec![rule("*", &["*"], &["*"])],
    };
    match grant.apply(admin).await {
        Err(error) => existing_is_fine(Err::<(), _>(error.downcast::<kube::Error>()?)),
        Ok(()) => Ok(()),
    }
}

async fn make_project(admin: &Client, project: &str) -> anyhow::Result<()> {
    let labels = json!({"kargo.akuity.io/project": "true"});
    let namespace: DynamicObject = serde_json::from_value(
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": project, "labels": labels}}),
    )?;
    let api: Api<DynamicObject> = Api::all_with(admin.clone(), &resource(Kind::Namespace));
    existing_is_fine(api.create(&PostParams::default(), &namespace).await)
}

fn existing_is_fine<T>(created: Result<T, kube::Error>) -> anyhow::Result<()> {
    match created {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        created => Ok(created.map(drop)?),
    }
}

// Webhooks

fn serve(config: Config, shared: Arc<Shared>) -> anyhow::Result<AdmissionServer> {
    let clients = Arc::new(ClientOfThread { config, made: Mutex::new(None) });
    Ok(serve_admission(move |call| {
        let (clients, shared) = (Arc::clone(&clients), Arc::clone(&shared));
        async move {
            if call.path == FREIGHT {
                return Answer::Allow;
            }
            let judged = match clients.get() {
                Ok(client) => judge(&client, &call, shared.next_seed()).await,
                Err(error) => Err(error.into()),
            };
            judged.unwrap_or_else(|error| {
                let problem = format!("the stand-in for Kargo: {error:#}");
                Answer::Deny(Denial::Internal { problem }.status())
            })
        }
    })?)
}

/// A client belongs to the async runtime that it was made in, and the webhook server gets a new thread and runtime
/// each time it comes up.
struct ClientOfThread {
    config: Config,
    made: Mutex<Option<(ThreadId, Client)>>,
}

impl ClientOfThread {
    fn get(&self) -> Result<Client, kube::Error> {
        let here = std::thread::current().id();
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        match &*made {
            Some((thread, client)) if *thread == here => Ok(client.clone()),
            _ => {
                let client = Client::try_from(self.config.clone())?;
                *made = Some((here, client.clone()));
                Ok(client)
            }
        }
    }
}

async fn judge(client: &Client, call: &Call, seed: u64) -> anyhow::Result<Answer> {
    let request = AdmissionRequest::from_review(&json!({"request": call.request}))?;
    let subject = request.subject();
    if object::name(subject) == PROBE && call.path == VALIDATE {
        return Ok(Answer::Deny(Denial::Internal { problem: "probed".to_owned() }.status()));
    }
    let kind = Kind::from_name(object::text(subject, &["kind"]));
    let world = look_up(client, &request).await?;
    let mut ids = SeededIds::new(seed);
    let answer = match (kind, call.path.as_str()) {
        (Some(Kind::Stage), MUTATE) => admission::mutate_stage(&request, &world).map(Answer::Replace),
        (Some(Kind::Stage), _) => admission::validate_stage(&request, &world).map(|()| Answer::Allow),
        (Some(Kind::Promotion), MUTATE) => {
            admission::mutate_promotion(&request, &world, &mut ids).map(Answer::Replace)
        }
        (Some(Kind::Promotion), _) => {
            let access = access(client, &admission::promote_review(&request)).await?;
            admission::validate_promotion(&request, &world, access).map(|()| Answer::Allow)
        }
        _ => Ok(Answer::Allow),
    };
    Ok(answer.unwrap_or_else(|denial| Answer::Deny(denial.status())))
}

/// What the rules may want to see, read at this moment.
async fn look_up(client: &Client, request: &AdmissionRequest) -> anyhow::Result<World> {
    let project = &request.namespace;
    let mut world = World::new(jiff::Timestamp::now());
    let namespaces: Api<DynamicObject> = Api::all_with(client.clone(), &resource(Kind::Namespace));
    if let Some(namespace) = namespaces.get_opt(project).await? {
        world.put(typed(Kind::Namespace, &namespace)?);
    }
    let is_promotion = object::text(request.subject(), &["kind"]) == "Promotion";
    let stage = object::text(request.subject(), &["spec", "stage"]);
    if !is_promotion || request.operation == Operation::Delete {
        return Ok(world);
    }
    if let Some(stage) = api(client, Kind::Stage, project).get_opt(stage).await? {
        world.put(typed(Kind::Stage, &stage)?);
    }
    if request.operation == Operation::Create {
        for kind in [Kind::Freight, Kind::Warehouse, Kind::ProjectConfig, Kind::PromotionTask] {
            for found in api(client, kind, project).list(&ListParams::default()).await? {
                world.put(typed(kind, &found)?);
            }
        }
    }
    Ok(world)
}

/// Lists leave out the kind of their items.
fn typed(kind: Kind, found: &DynamicObject) -> anyhow::Result<Value> {
    let mut value = serde_json::to_value(found)?;
    let resource = resource(kind);
    object::put(&mut value, &["kind"], json!(resource.kind));
    object::put(&mut value, &["apiVersion"], json!(resource.api_version));
    Ok(value)
}

async fn access(client: &Client, review: &AccessReview) -> anyhow::Result<Access> {
    let question = authorization::SubjectAccessReview {
        spec: authorization::SubjectAccessReviewSpec {
            user: Some(review.user.name.clone()),
            groups: Some(review.user.groups.clone()),
            resource_attributes: Some(authorization::ResourceAttributes {
                group: Some(review.group.to_owned()),
                resource: Some(review.resource.to_owned()),
                verb: Some(review.verb.to_owned()),
                namespace: Some(review.namespace.clone()),
                name: Some(review.name.clone()),
                ..Default::default()
            }),
            ..Default::default()
        },
        ..Default::default()
    };
    let answer = Api::all(client.clone()).create(&PostParams::default(), &question).await?;
    let allowed = answer.status.is_some_and(|status| status.allowed);
    Ok(if allowed { Access::Allowed } else { Access::Denied })
}

// Controllers

/// Watches the Project and lets the model write until nothing is left to write; then waits for the next change.
async fn control(config: Config, project: &str, shared: &Shared) -> anyhow::Result<()> {
    let client = Client::try_from(config)?;
    let watches = WATCHED.map(|kind| {
        watcher(api(&client, kind, project), watcher::Config::default())
            .default_backoff()
            .map(move |event| (kind, event))
            .boxed()
    });
    let mut events = futures::stream::select_all(watches);
    let mut controller = Controller {
        client,
        world: World::new(jiff::Timestamp::now()),
        kargo: KargoControllers::default(),
        ids: SeededIds::new(shared.next_seed()),
        ready: Vec::new(),
    };
    controller.world.templates = Templates::Assumed;
    let mut rest = None;
    loop {
        tokio::select! {
            biased;
            () = shared.stop.notified() => return Ok(()),
            () = shared.changed.notified() => {}
            event = events.next() => {
                let (kind, event) = event.context("all watches ended")?;
                controller.see(kind, event)?;
            }
            () = tokio::time::sleep(rest.unwrap_or_default()), if rest.is_some() => {}
        }
        while let Some(Some((kind, event))) = events.next().now_or_never() {
            controller.see(kind, event)?;
        }
        if WATCHED.iter().all(|kind| controller.ready.contains(kind)) {
            rest = controller.settle(&shared.script()).await;
        }
    }
}

struct Controller {
    client: Client,
    world: World,
    kargo: KargoControllers,
    ids: SeededIds,
    /// Kinds whose first list is complete.
    ready: Vec<Kind>,
}

impl Controller {
    fn see(
        &mut self,
        kind: Kind,
        event: watcher::Result<watcher::Event<DynamicObject>>,
    ) -> anyhow::Result<()> {
        match event {
            Ok(watcher::Event::Init) => {}
            Ok(watcher::Event::InitDone) => self.ready.push(kind),
            Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => {
                self.store(typed(kind, &object)?);
            }
            Ok(watcher::Event::Delete(object)) => {
                let gone = typed(kind, &object)?;
                if let Some(key) = ObjectKey::of(&gone) {
                    self.world.remove(&key);
                }
            }
            // The watch starts again by itself.
            Err(_) => {}
        }
        Ok(())
    }

    /// Keeps the newer one: an event may be older than the answer to a write of our own.
    fn store(&mut self, value: Value) {
        let version = |value: &Value| -> u64 {
            object::text(value, &["metadata", "resourceVersion"]).parse().unwrap_or_default()
        };
        let known = ObjectKey::of(&value).and_then(|key| self.world.find(&key).map(version));
        if known.is_none_or(|known| known <= version(&value)) {
            self.world.put(value);
        }
    }

    /// Writes what the model says until it says nothing more. The answer is how long it rests then, at most.
    async fn settle(&mut self, script: &Script) -> Option<Duration> {
        let mut rest = None;
        for stage in self.world.stages() {
            loop {
                self.world.now = jiff::Timestamp::now();
                let effects = self.kargo.next(&self.world, &stage, script, &mut self.ids);
                if effects.is_empty() {
                    break;
                }
                if self.carry_out(&stage, &effects).await.is_err() {
                    return Some(RETRY_AFTER);
                }
            }
            let wake = self.kargo.next_wake(&self.world, &stage, script);
            let wake = wake.map(|wake| wake.duration_since(self.world.now).unsigned_abs().max(TICK));
            rest = rest.into_iter().chain(wake).min();
        }
        rest
    }

    /// The writes of one round; what Kargo says of a refusal is written in place of those after it.
    async fn carry_out(&mut self, stage: &ObjectKey, effects: &[Effect]) -> anyhow::Result<()> {
        for effect in effects {
            let Err(error) = self.write(effect).await else { continue };
            if let Some(kube::Error::Api(refusal)) = error.downcast_ref() {
                let refusal = serde_json::to_value(refusal)?;
                for said in self.kargo.refused(&self.world, stage, effect, &refusal) {
                    self.write(&said).await?;
                }
            }
            return Err(error);
        }
        Ok(())
    }

    async fn write(&mut self, effect: &Effect) -> anyhow::Result<()> {
        let merge = PatchParams::default();
        let (kind, written) = match effect {
            Effect::Create(object) => {
                let kind = Kind::from_name(object::text(object, &["kind"])).context("a known kind")?;
                let new = serde_json::from_value(object.clone())?;
                let namespace = object::namespace(object);
                (kind, api(&self.client, kind, namespace).create(&PostParams::default(), &new).await)
            }
            Effect::Patch { key, patch } => {
                let api = api(&self.client, key.kind, &key.namespace);
                (key.kind, api.patch(&key.name, &merge, &Patch::Merge(patch)).await)
            }
            Effect::PatchStatus { key, patch } => {
                let (api, patch) = (api(&self.client, key.kind, &key.namespace), json!({"status": patch}));
                let patch = Patch::Merge(&patch);
                match key.kind.has_status_subresource() {
                    true => (key.kind, api.patch_status(&key.name, &merge, &patch).await),
                    false => (key.kind, api.patch(&key.name, &merge, &patch).await),
                }
            }
        };
        self.store(typed(kind, &written?)?);
        Ok(())
    }
}
