//! A stand-in for Kargo on a real API server: its webhooks and its controllers, played by the model.
//! In: a running server, a Project to look after and a [`Script`] that says how things end. Out: Promotions that are
//! renamed, run, recorded and verified as Kargo would, written as Kargo's own account. Each stand-in looks after one
//! Project, so that tests share a server. It lives in threads of its own and ends when it is dropped. It must not
//! judge anything: every rule is in `kargo-model`, and what carries them out in `simulator`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use kargo_model::{Kind, ObjectKey, Script, object};
use kube::api::{Api, DynamicObject, PostParams};
use kube::{Client, Config};
use serde_json::{Value, json};
use simulator::feed;
use simulator::kargo::{self, Director, control, resource};
use tokio::sync::Notify;

pub use simulator::kargo::api;

use crate::admission::AdmissionServer;
use crate::apiserver::{ADMIN, ApiServer, KARGO_CONTROLLER, User};
use crate::kargo_webhooks::{register, serve, wait_until_in_force};
use crate::rights::{Grant, rule};

/// A running stand-in for one Project.
pub struct KargoStandIn {
    project: String,
    webhooks: AdmissionServer,
    controllers: Option<JoinHandle<()>>,
    config: Config,
    shared: Arc<Shared>,
}

/// What the test and the controllers' thread both reach.
struct Shared {
    director: Director,
    stop: Notify,
    seed: AtomicU64,
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
            director: Director::new(script),
            stop: Notify::new(),
            seed: AtomicU64::new(u64::from(std::process::id())),
        });
        let webhooks = serve(server.config(ADMIN).await?, Arc::new(jiff::Timestamp::now))?;
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
        self.shared.director.change(change);
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
            let _ = controllers.join();
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
                if let Err(error) = runtime.block_on(run(config, &project, &shared)) {
                    tracing_line(&format!("the controllers of `{project}` ended: {error:#}"));
                }
            })?;
            self.controllers = Some(thread);
        }
        Ok(())
    }
}

impl Drop for KargoStandIn {
    fn drop(&mut self) {
        self.stop_controllers();
    }
}

/// Kargo's controllers in real time, until they are stopped.
async fn run(config: Config, project: &str, shared: &Shared) -> anyhow::Result<()> {
    let client = Client::try_from(config)?;
    let seed = shared.seed.fetch_add(1, Ordering::Relaxed);
    let feeds = kargo::feeds(|resource| feed::watched(&client, project, resource));
    tokio::select! {
        biased;
        () = shared.stop.notified() => Ok(()),
        ended = control(client, feeds, &shared.director, seed, jiff::Timestamp::now) => Ok(ended?),
    }
}

/// One line on stderr, which the test runner shows with a test that failed.
#[allow(clippy::print_stderr, reason = "there is nobody else to tell when a thread of a test ends early")]
fn tracing_line(line: &str) {
    eprintln!("{line}");
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

/// Makes a namespace that is a Project; one that is there is fine.
pub(crate) async fn make_project(admin: &Client, project: &str) -> anyhow::Result<()> {
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
