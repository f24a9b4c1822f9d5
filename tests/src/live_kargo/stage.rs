//! A Project of a real Kargo, on which one scenario can be played in real time.
//!
//! In: a running control plane, a Project's name, a scenario. Out: what came of it; writes are counted from the audit
//! log. It must not know what is played.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use kargo_model::freight_name::freight_name;
use kargo_model::{Kind, object};
use kube::api::{DynamicObject, PostParams};
use kube::{Client, Config};
use kube_memory::User;
use kube_memory::audit::Requests;
use policy_engine::Engine;
use serde_json::{Value, json};
use simulator::clock::VirtualClock;
use simulator::ground::{Controllers, Ground, GroundError, Looked, Trouble, View};
use simulator::kargo::{Director, api};
use simulator::{Played, Scenario, Setup, stage_set};
use tokio::task::AbortHandle;

use super::processes::LiveKargo;
use super::runs::end_runs;
use crate::apiserver::{ADMIN, REFLOAT};
use crate::audit::Mark;
use crate::kargo::make_project;
use crate::real_ground::{acting_as, look_at, rights_are_in_force, webhooks_are_down};
use crate::until;

/// What is created before anything else, so that Kargo can be asked whether it takes the Freight.
const FIRST: [&str; 3] = ["Namespace", "Project", "Warehouse"];

/// A Project with its Warehouses.
pub struct LiveStage {
    kargo: &'static LiveKargo,
    scenario: Scenario,
    admin: Config,
    refloat: Config,
}

impl LiveStage {
    /// Makes the Project and its Warehouses, and waits until Kargo would take the scenario's Freight.
    ///
    /// # Errors
    /// When Kargo refuses.
    pub async fn open(kargo: &'static LiveKargo, project: &str, scenario: &Scenario) -> anyhow::Result<Self> {
        let mut scenario = scenario.clone();
        scenario.world.project = project.to_owned();
        let client = kargo.server().client(ADMIN).await?;
        make_project(&client, project).await?;
        for object in stage_set::world(&scenario) {
            if object["kind"] == "Project" || object["kind"] == "Warehouse" {
                let what = format!("Kargo takes the {} of `{project}`", object["kind"]);
                until(&what, || created(&client, &object)).await?;
            }
        }
        takes_freight(&client, &scenario).await?;
        let (mut admin, mut refloat) =
            (kargo.server().config(ADMIN).await?, kargo.server().config(REFLOAT).await?);
        for config in [&mut admin, &mut refloat] {
            config.read_timeout = None;
        }
        Ok(Self { kargo, scenario, admin, refloat })
    }

    /// Plays the scenario, in a runtime of its own: not to be called from async code.
    ///
    /// # Errors
    /// When it cannot be set up, or the server cannot be asked.
    pub fn play(self, engine: &Arc<Engine>, components: BTreeMap<String, Vec<u8>>) -> anyhow::Result<Played> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let scenario = self.scenario.clone();
            let admin = Client::try_from(self.admin.clone())?;
            let clock = VirtualClock::starting_at(jiff::Timestamp::now());
            let ground = LiveGround { stage: self, admin, clock, mark: Mark::START, runs: None };
            let setup = Setup { scenario: &scenario, seed: 0, engine: Arc::clone(engine), components };
            Ok(simulator::play_on(ground, &setup).await?)
        })
    }
}

/// Whether Kargo takes it; its webhooks see what was created a moment before a little late.
async fn created(admin: &Client, object: &Value) -> anyhow::Result<bool> {
    Ok(match simulator::people::create(admin, object).await {
        Ok(()) => true,
        Err(kube::Error::Api(status)) => status.code == 409,
        Err(_) => false,
    })
}

/// Waits until Kargo's webhooks see the Warehouses and would take all Freight that ever exists. Its names have to be those
/// that the scenario counts on.
async fn takes_freight(admin: &Client, scenario: &Scenario) -> anyhow::Result<()> {
    let dry = PostParams { dry_run: true, field_manager: None };
    let freight = api(admin, Kind::Freight, &scenario.world.project);
    for piece in scenario.pieces() {
        let posted = stage_set::freight(scenario, piece, "2026-01-05T08:00:00Z");
        let name = freight_name(&posted);
        let posted: DynamicObject = serde_json::from_value(posted)?;
        let what = format!("Kargo takes Freight `{}`", piece.name);
        until(&what, || async { Ok(freight.create(&dry, &posted).await.is_ok()) }).await?;
        let named = freight.create(&dry, &posted).await?.metadata.name.unwrap_or_default();
        ensure!(named == name, "Kargo calls Freight `{}` {named}, the model {name}", piece.name);
    }
    Ok(())
}

struct LiveGround {
    stage: LiveStage,
    admin: Client,
    clock: VirtualClock,
    mark: Mark,
    runs: Option<AbortHandle>,
}

impl LiveGround {
    fn project(&self) -> &str {
        &self.stage.scenario.world.project
    }
}

impl Ground for LiveGround {
    fn clock(&self) -> VirtualClock {
        self.clock
    }

    fn client(&self, user: &User) -> Result<Client, GroundError> {
        Ok(Client::try_from(acting_as(user, &self.stage.admin, &self.stage.refloat))?)
    }

    fn start_kargo(&mut self, director: &Arc<Director>) -> Result<Controllers, GroundError> {
        self.stage.kargo.steps.direct(self.project(), Arc::clone(director));
        self.stage.kargo.controller_up()?;
        if self.runs.is_none() {
            let (client, project) = (self.admin.clone(), self.project().to_owned());
            let director = Arc::clone(director);
            let task = tokio::spawn(async move { end_runs(client, &project, &director).await });
            self.runs = Some(task.abort_handle());
        }
        Ok(Controllers::Own)
    }

    fn stop_kargo(&mut self) {
        self.stage.kargo.controller_down();
    }

    /// With steps that ask the test, and the AnalysisTemplate that Stages name.
    fn objects(&self, scenario: &Scenario) -> Vec<Value> {
        let mut objects = vec![json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisTemplate",
            "metadata": {"name": "smoke", "namespace": self.project()},
            "spec": {"metrics": [{"name": "smoke", "provider": {"web": {"url": "http://127.0.0.1:9/"}}}]}})];
        objects.extend(stage_set::world(scenario));
        objects.retain(|object| !FIRST.iter().any(|kind| object["kind"] == *kind));
        for object in &mut objects {
            let stage = scenario.world.stages.iter().find(|stage| object["metadata"]["name"] == stage.name);
            if let Some(stage) = stage.filter(|_| object["kind"] == "Stage") {
                let steps = self.stage.kargo.steps.of_stage(scenario, stage);
                object::put(object, &["spec", "promotionTemplate", "spec", "steps"], Value::Array(steps));
            }
        }
        objects
    }

    /// Kargo's webhooks see Stages and Freight a little late.
    async fn in_force(&self, scenario: &Scenario) -> Result<(), GroundError> {
        rights_are_in_force(&self.admin, self.project()).await?;
        for stage in &scenario.world.stages {
            let promotion = json!({"apiVersion": "kargo.akuity.io/v1alpha1", "kind": "Promotion",
                "metadata": {"name": "probe", "namespace": self.project()},
                "spec": {"stage": stage.name, "freight": "none", "steps": [{"uses": "fail"}]}});
            let promotion: DynamicObject = serde_json::from_value(promotion)?;
            let dry = PostParams { dry_run: true, field_manager: None };
            let promotions = api(&self.admin, Kind::Promotion, self.project());
            until(&format!("Kargo's webhooks see Stage `{}`", stage.name), || async {
                let refused = promotions.create(&dry, &promotion).await.err();
                Ok(refused.is_some_and(|error| error.to_string().contains("Freight is not available")))
            })
            .await?;
        }
        Ok(())
    }

    async fn look<T>(
        &self,
        project: &str,
        kinds: &[Looked],
        look: impl FnOnce(&View<'_>) -> T,
    ) -> Result<T, GroundError> {
        look_at(&self.admin, project, kinds, look).await
    }

    fn look_every(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(300)
    }

    fn count_from_here(&mut self) -> Result<(), GroundError> {
        self.mark = self.stage.kargo.server().audit().mark()?;
        Ok(())
    }

    fn requests(&self) -> Result<Requests, GroundError> {
        Ok(self.stage.kargo.server().audit().since(self.mark)?.namespace(self.project()))
    }

    fn trouble(&mut self, trouble: Trouble) -> Result<(), GroundError> {
        match webhooks_are_down(&trouble)? {
            true => self.stage.kargo.webhooks_down(),
            false => self.stage.kargo.webhooks_up()?,
        }
        Ok(())
    }

    fn hash(&self) -> Option<String> {
        None
    }
}
