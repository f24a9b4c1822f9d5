//! Scenarios on a real API server: the controller and Kargo's model as its clients, in virtual time.
//! In: a running server, a Project of its own, a scenario. Out: what came of it, as in memory; writes are counted from
//! the audit log. Installation, namespace and webhooks are made in real time, before virtual time begins.
//! It must not know what is played.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Client, Config};
use kube_memory::User;
use kube_memory::audit::Requests;
use policy_api::rights::{DEFAULT_ACCOUNT, Needed};
use policy_core::name::ProjectName;
use policy_engine::Engine;
use serde_json::Value;
use simulator::clock::VirtualClock;
use simulator::ground::{Ground, GroundError, Looked, Trouble, View};
use simulator::{Played, Scenario, Setup, stage_set};

use crate::admission::AdmissionServer;
use crate::apiserver::{ADMIN, ApiServer, REFLOAT};
use crate::audit::Mark;
use crate::kargo::make_project;
use crate::kargo_webhooks::{register, serve, wait_until_in_force};
use crate::stage_play::ours_installed;
use crate::virtual_time::HeldTime;

/// A Project with Kargo's webhooks, on which one scenario can be played.
pub struct RealStage {
    server: &'static ApiServer,
    project: String,
    webhooks: AdmissionServer,
    /// Set when virtual time begins; until then the webhooks live in real time.
    time: Arc<OnceLock<HeldTime>>,
    admin: Config,
    refloat: Config,
}

impl RealStage {
    /// Makes the Project and puts webhooks in front of it.
    ///
    /// # Errors
    /// When the server refuses, or no port or thread can be had.
    pub async fn open(server: &'static ApiServer, project: &str) -> anyhow::Result<Self> {
        let client = server.client(ADMIN).await?;
        ours_installed(server, &client).await?;
        make_project(&client, project).await?;
        let time: Arc<OnceLock<HeldTime>> = Arc::default();
        let shown = Arc::clone(&time);
        let clock = move || shown.get().map_or_else(jiff::Timestamp::now, HeldTime::shown);
        let webhooks = serve(server.config(ADMIN).await?, Arc::new(clock))?;
        register(&client, &webhooks, project).await?;
        wait_until_in_force(&client, project).await?;
        // Hours pass between two bytes of a watch, in virtual time.
        let (mut admin, mut refloat) = (server.config(ADMIN).await?, server.config(REFLOAT).await?);
        for config in [&mut admin, &mut refloat] {
            config.read_timeout = None;
        }
        Ok(Self { server, project: project.to_owned(), webhooks, time, admin, refloat })
    }

    /// Plays a scenario, in a runtime of its own: not to be called from async code.
    ///
    /// # Errors
    /// When it cannot be set up, or the server cannot be asked.
    pub fn play(
        self,
        scenario: &Scenario,
        engine: &Arc<Engine>,
        components: BTreeMap<String, Vec<u8>>,
    ) -> anyhow::Result<Played> {
        let mut scenario = scenario.clone();
        scenario.world.project.clone_from(&self.project);
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?;
        runtime.block_on(async {
            let ground = RealGround::new(self)?;
            let setup = Setup { scenario: &scenario, seed: 0, engine: Arc::clone(engine), components };
            Ok(simulator::play_on(ground, &setup).await?)
        })
    }
}

/// The same, once virtual time runs.
struct RealGround {
    stage: RealStage,
    time: HeldTime,
    admin: Client,
    mark: Mark,
}

impl RealGround {
    fn new(stage: RealStage) -> anyhow::Result<Self> {
        let time = HeldTime::new();
        stage.time.set(time.clone()).ok().context("virtual time begins once")?;
        let admin = time.holding(Client::try_from(stage.admin.clone())?);
        Ok(Self { time, admin, mark: Mark::START, stage })
    }
}

impl Ground for RealGround {
    fn clock(&self) -> VirtualClock {
        self.time.clock()
    }

    fn client(&self, user: &User) -> Result<Client, GroundError> {
        Ok(self.time.holding(Client::try_from(acting_as(user, &self.stage.admin, &self.stage.refloat))?))
    }

    fn objects(&self, scenario: &Scenario) -> Vec<Value> {
        let mut objects = stage_set::world(scenario);
        objects.retain(|object| object.get("kind").is_none_or(|kind| kind != "Namespace"));
        objects
    }

    async fn in_force(&self, _scenario: &Scenario) -> Result<(), GroundError> {
        Ok(rights_are_in_force(&self.admin, &self.stage.project).await?)
    }

    async fn look<T>(
        &self,
        project: &str,
        kinds: &[Looked],
        look: impl FnOnce(&View<'_>) -> T,
    ) -> Result<T, GroundError> {
        look_at(&self.admin, project, kinds, look).await
    }

    /// Every look costs the moment that time stands still for.
    fn look_every(&self) -> Duration {
        Duration::from_secs(5)
    }

    fn count_from_here(&mut self) -> Result<(), GroundError> {
        self.mark = self.stage.server.audit().mark()?;
        Ok(())
    }

    fn requests(&self) -> Result<Requests, GroundError> {
        Ok(self.stage.server.audit().since(self.mark)?.namespace(&self.stage.project))
    }

    fn trouble(&mut self, trouble: Trouble) -> Result<(), GroundError> {
        match webhooks_are_down(&trouble)? {
            true => self.stage.webhooks.down(),
            false => self.stage.webhooks.up()?,
        }
        Ok(())
    }

    fn hash(&self) -> Option<String> {
        None
    }
}

/// Whether the trouble is that Kargo's webhooks are down, or that they are up again: the only one that can be had here.
pub(crate) fn webhooks_are_down(trouble: &Trouble) -> Result<bool, GroundError> {
    match trouble {
        Trouble::Webhooks { down } => Ok(*down),
        Trouble::Requests { .. }
        | Trouble::NextCreate { .. }
        | Trouble::CutOff { .. }
        | Trouble::LastWords { .. } => {
            Err(format!("a real API server does not do that to requests: {trouble:?}").into())
        }
    }
}

/// How to reach the server as that user: the controller is known by its own token, everybody else is played by an admin.
pub(crate) fn acting_as(user: &User, admin: &Config, refloat: &Config) -> Config {
    let mut config = if user.name() == REFLOAT { refloat } else { admin }.clone();
    if ![REFLOAT, ADMIN].contains(&user.name()) {
        config.auth_info.impersonate = Some(user.name().to_owned());
        config.auth_info.impersonate_groups = Some(user.groups().to_vec());
    }
    config
}

/// Waits until the Project's account has its rights. A Role is taken in as a whole, so that its first rule stands for all.
pub(crate) async fn rights_are_in_force(admin: &Client, project: &str) -> anyhow::Result<()> {
    let needed = Needed { verb: "list", resource: "stages", name: None };
    let review = needed.review(&ProjectName::new(project), DEFAULT_ACCOUNT);
    let review: SubjectAccessReview = serde_json::from_value(review)?;
    let reviews: Api<SubjectAccessReview> = Api::all(admin.clone());
    let allowed = || async {
        let answer = reviews.create(&PostParams::default(), &review).await?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    };
    crate::until("the rights of the Project's account are in force", allowed).await
}

/// Reads objects of these kinds and looks at them.
pub(crate) async fn look_at<T>(
    admin: &Client,
    project: &str,
    kinds: &[Looked],
    look: impl FnOnce(&View<'_>) -> T,
) -> Result<T, GroundError> {
    let mut found: BTreeMap<Looked, Vec<Value>> = BTreeMap::new();
    for kind in kinds {
        let api: Api<DynamicObject> = Api::namespaced_with(admin.clone(), project, &resource(*kind));
        let list = api.list(&ListParams::default()).await?;
        let values = list.items.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
        found.insert(*kind, values);
    }
    Ok(look(&View(found.iter().map(|(kind, values)| (*kind, values.iter().collect())).collect())))
}

fn resource(kind: Looked) -> ApiResource {
    let (group, plural) = kind.resource();
    let version = if group.is_empty() { "v1" } else { "v1alpha1" };
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, plural), plural)
}
