//! Plays one scenario from its set-up to its end, in virtual time and in one order.
//!
//! In: a [`Setup`]. Out: a [`Played`]. Everything runs on one thread under a clock that is paused: time passes only while
//! everything waits, so that a decision takes none of it. What needs real time, such as compiling a component, happens
//! on that thread while nothing else does. A seed above 0 disturbs the controller's requests: some are late, some are
//! lost, some are carried out and their answer is lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kargo_model::{ControlPlane, Script};
use kube_memory::audit::Requests;
use kube_memory::{ApiServer, Rbac, User};
use policy_controller::clock::Clock;
use policy_engine::Engine;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use crate::disturb::Disturbance;
use crate::expect::{self, Difference, Facts};
use crate::kargo::{self, Director, Webhooks};
use crate::names::FreightNames;
use crate::people::{self, Stage};
use crate::scenario::{Moment, Scenario, Switch};
use crate::stage_set;
use crate::timeline::{self, Entry, Recorder};

/// When virtual time begins: a Monday morning. Deterministic, and after every build of Kargo that the model knows.
const EPOCH: &str = "2026-01-05T09:00:00Z";
/// How often the end is looked for.
const LOOK: Duration = Duration::from_secs(1);
/// How long everything must rest before it is the end: longer than a settled Stage is waited for.
const REST: u32 = 30;
/// How long a scenario goes on at most after its last moment, when it does not say so itself.
const LONGEST: Duration = Duration::from_secs(6 * 3_600);
/// How long the set-up may take.
const SET_UP: Duration = Duration::from_secs(1_800);
/// The user that the controller is, as `refloat install` makes it.
const CONTROLLER: &str = "system:serviceaccount:refloat-system:refloat";

/// What is played.
#[derive(Clone)]
pub struct Setup<'a> {
    /// The scenario, without [`crate::Problem`]s.
    pub scenario: &'a Scenario,
    /// Where ids come from; above 0 it also disturbs.
    pub seed: u64,
    /// What runs components.
    pub engine: Arc<Engine>,
    /// Bytes of the scenario's modules, by name.
    pub components: BTreeMap<String, Vec<u8>>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Played {
    /// What an onlooker saw.
    pub timeline: Vec<Entry>,
    /// How long it took, virtual.
    pub lasted: Duration,
    /// What stands at the end.
    pub facts: Facts,
    /// How that differs from what was expected.
    pub differences: Vec<Difference>,
    /// Every request since the beginning.
    pub requests: Requests,
    /// One hash over all requests and answers, set-up included.
    pub hash: String,
}

/// A scenario could not be played.
#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    /// No runtime.
    #[error("failed to start the clock")]
    Runtime(#[source] std::io::Error),
    /// An object of the set-up was refused.
    #[error("failed to create {object}")]
    Create {
        /// Kind and name.
        object: String,
        /// Why.
        source: Box<kube::Error>,
    },
    /// A Stage never came to hold what it is to hold at the beginning.
    #[error("Stage `{stage}` does not come to hold `{freight}` verified before the beginning")]
    SetUp {
        /// The Stage.
        stage: String,
        /// The Freight.
        freight: String,
    },
}

/// Plays a scenario.
///
/// # Errors
/// When it cannot be set up. What goes wrong later is in what came of it.
pub fn play(setup: &Setup<'_>) -> Result<Played, PlayError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .map_err(PlayError::Runtime)?;
    runtime.block_on(run(setup))
}

async fn run(setup: &Setup<'_>) -> Result<Played, PlayError> {
    let mut stage = Play::set(setup).await?;
    stage.begin(setup).await?;
    stage.timeline(setup).await;
    stage.rest(setup).await;
    Ok(stage.end(setup))
}

/// A scenario being played.
struct Play {
    server: ApiServer,
    admin: kube::Client,
    director: Arc<Director>,
    names: FreightNames,
    recorder: Recorder,
    disturbance: Disturbance,
    tasks: JoinSet<()>,
    kargo: Option<AbortHandle>,
    refloat: Option<AbortHandle>,
    n_replicas: u32,
    clock: VirtualClock,
    before: Vec<String>,
    n_before: usize,
}

/// Virtual time of day.
#[derive(Clone, Copy)]
struct VirtualClock {
    epoch: Timestamp,
    started: Instant,
}

impl VirtualClock {
    fn now(self) -> Timestamp {
        let passed = SignedDuration::try_from(self.started.elapsed()).unwrap_or_default();
        self.epoch.saturating_add(passed).unwrap_or(self.epoch)
    }
}

impl Play {
    /// Sets everything up but the controller: what Stages are to hold, they hold.
    async fn set(setup: &Setup<'_>) -> Result<Self, PlayError> {
        let scenario = setup.scenario;
        let clock = VirtualClock { epoch: EPOCH.parse().unwrap_or_default(), started: Instant::now() };
        let server = ApiServer::new(setup.seed, move || clock.now(), stage_set::resources());
        server.set_authorizer(Rbac);
        let webhooks = Webhooks::new(setup.seed.wrapping_add(1), Arc::new(move || clock.now()));
        let whose =
            scenario.world.control_plane.as_deref().and_then(|text| ControlPlane::matching(text).ok());
        server.set_admission(webhooks.with_control_plane(whose.unwrap_or_default()));
        let disturbance = Disturbance::new(CONTROLLER);
        server.set_faults(disturbance.clone());
        let names = scenario.freight();
        let mut play = Self {
            admin: server.client(&User::admin()),
            director: Arc::new(Director::new(named(&scenario.script, &names))),
            names,
            recorder: Recorder::new(),
            disturbance,
            tasks: JoinSet::new(),
            kargo: None,
            refloat: None,
            n_replicas: 0,
            clock,
            before: Vec::new(),
            n_before: 0,
            server,
        };
        for object in stage_set::world(scenario) {
            play.create(&object).await?;
        }
        play.start_kargo(scenario, setup.seed);
        for stage in &scenario.world.stages {
            for freight in &stage.holds {
                let on = Stage { project: &scenario.world.project, name: &stage.name };
                let _ = people::promote(&play.admin, on, freight).await;
                play.wait_until_held(on, freight, stage.verification).await?;
            }
        }
        Ok(play)
    }

    async fn create(&self, object: &serde_json::Value) -> Result<(), PlayError> {
        people::create(&self.admin, object).await.map_err(|source| PlayError::Create {
            object: format!(
                "{} `{}`",
                timeline::text(object, "/kind"),
                timeline::text(object, "/metadata/name")
            ),
            source: Box::new(source),
        })
    }

    async fn wait_until_held(&self, on: Stage<'_>, freight: &str, verified: bool) -> Result<(), PlayError> {
        let until = Instant::now() + SET_UP;
        while Instant::now() < until {
            if people::holds(&self.server, on, freight, verified) {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
        Err(PlayError::SetUp { stage: on.name.to_owned(), freight: freight.to_owned() })
    }

    /// Puts policies in place, starts the controller, and lets the scenario begin once its policies are judged.
    async fn begin(&mut self, setup: &Setup<'_>) -> Result<(), PlayError> {
        let scenario = setup.scenario;
        for (name, bytes) in &setup.components {
            for object in stage_set::module(name, bytes) {
                self.create(&object).await?;
            }
        }
        for (name, spec) in &scenario.policies {
            self.create(&stage_set::policy(&scenario.world.project, name, spec)).await?;
        }
        self.start_refloat(setup);
        for _ in 0..60 {
            tokio::time::sleep(LOOK).await;
            if people::policies_are_judged(&self.server, &scenario.world.project) {
                break;
            }
        }
        self.before = people::promotions(&self.server, &scenario.world.project);
        self.n_before = self.server.n_requests();
        if setup.seed > 0 {
            self.disturbance.begin(setup.seed);
        }
        self.recorder = Recorder::new();
        let (client, project) = (self.admin.clone(), scenario.world.project.clone());
        let (names, recorder) = (self.names.clone(), self.recorder.clone());
        self.tasks.spawn(async move { timeline::watch(client, &project, &names, &recorder).await });
        // The onlooker has seen what is there before the first thing happens.
        tokio::time::sleep(Duration::from_millis(1)).await;
        Ok(())
    }

    fn start_kargo(&mut self, scenario: &Scenario, seed: u64) {
        let client = self.server.client(&kargo::controller());
        let (director, clock) = (Arc::clone(&self.director), self.clock);
        let project = scenario.world.project.clone();
        let playing = async move {
            let ended =
                kargo::control(client, &project, &director, seed.wrapping_add(2), || clock.now()).await;
            if let Err(error) = ended {
                tracing::error!(error = &error as &dyn std::error::Error, "Kargo's controllers ended");
            }
        };
        self.kargo = Some(self.tasks.spawn(playing));
    }

    fn start_refloat(&mut self, setup: &Setup<'_>) {
        self.n_replicas += 1;
        let options = policy_controller::Options {
            namespace: "refloat-system".to_owned(),
            lease: "refloat".to_owned(),
            lease_duration: policy_controller::lease::DURATION,
            identity: format!("refloat-{}", self.n_replicas),
            account: policy_api::rights::DEFAULT_ACCOUNT.to_owned(),
            scope: policy_controller::feeds::Scope::default(),
            listen: None,
            guests: policy_controller::guests::Guests::InPlace,
            stopped: false,
            checkpoints: policy_controller::steps::Checkpoints::default(),
        };
        let client = self.server.client(&User::new(CONTROLLER));
        let (engine, clock) = (Arc::clone(&setup.engine), self.clock);
        let clock = Clock::from_fn(move || {
            policy_core::time::Timestamp(u32::try_from(clock.now().as_second()).unwrap_or_default())
        });
        let stop = tokio_util::sync::CancellationToken::new();
        let running = async move {
            if let Err(error) = policy_controller::run(client, engine, options, clock, stop).await {
                tracing::error!(error = &error as &dyn std::error::Error, "the controller ended");
            }
        };
        self.refloat = Some(self.tasks.spawn(running));
    }

    async fn timeline(&mut self, setup: &Setup<'_>) {
        let seconds = |moment: &Moment| policy_core::time::parse_duration(&moment.at).unwrap_or_default();
        let mut moments: Vec<&Moment> = setup.scenario.timeline.iter().collect();
        moments.sort_by_key(|moment| seconds(moment));
        for moment in moments {
            let at = self.recorder.began() + Duration::from_secs(u64::from(seconds(moment)));
            tokio::time::sleep_until(at).await;
            self.happen(setup, moment).await;
        }
    }

    async fn happen(&mut self, setup: &Setup<'_>, moment: &Moment) {
        let scenario = setup.scenario;
        if let Some(piece) = &moment.freight {
            let discovered = self.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            self.say(
                people::create(&self.admin, &stage_set::freight(scenario, piece, &discovered)).await,
                "kargo",
            );
        }
        if let Some(script) = &moment.script {
            let script = named(script, &self.names);
            self.director.change(|now| *now = script);
        }
        for (name, spec) in moment.policies.iter().flatten() {
            let object = stage_set::policy(&scenario.world.project, name, spec);
            self.say(people::put_policy(&self.admin, &object).await, "the platform team");
        }
        if let Some(switch) = moment.webhooks {
            self.recorder.note("kargo", format!("its webhooks are {}", word(switch)));
            self.disturbance.webhooks(switch == Switch::Down);
        }
        if let Some(switch) = moment.kargo {
            self.recorder.note("kargo", format!("its controllers are {}", word(switch)));
            self.switch_kargo(setup, switch);
        }
        if let Some(accident) = moment.next_create {
            self.disturbance.next_create(accident);
        }
        if let Some(stages) = &moment.hangs {
            let text = match stages.as_slice() {
                [] => "it looks at every Stage again".to_owned(),
                stages => format!("it looks at `{}` no more", stages.join("`, `")),
            };
            self.recorder.note("kargo", text);
            self.director.hang(stages);
        }
        if let Some(switch) = moment.refloat {
            self.recorder.note("refloat", format!("the controller is {}", word(switch)));
            self.switch_refloat(setup, switch);
        }
        self.act(setup, moment).await;
    }

    /// What people do. A refusal is shown, as they would see it.
    async fn act(&self, setup: &Setup<'_>, moment: &Moment) {
        let project = setup.scenario.world.project.as_str();
        let person = |by: &str| self.server.client(&User::with_groups(by, vec!["system:masters".to_owned()]));
        if let Some(promote) = &moment.promote {
            let on = Stage { project, name: &promote.stage };
            self.say(people::promote(&person(&promote.by), on, &promote.freight).await, &promote.by);
        }
        if let Some(abort) = &moment.abort {
            let on = Stage { project, name: &abort.stage };
            self.recorder.note(abort.by.as_str(), format!("aborts the Promotion of `{}`", abort.stage));
            self.say(people::abort(&person(&abort.by), &self.server, on, abort.newest).await, &abort.by);
        }
        if let Some(abort) = &moment.abort_verification {
            let on = Stage { project, name: &abort.stage };
            self.recorder.note(abort.by.as_str(), format!("aborts the verification of `{}`", abort.stage));
            self.say(people::abort_verification(&person(&abort.by), &self.server, on).await, &abort.by);
        }
        if let Some(again) = &moment.reverify {
            let on = Stage { project, name: &again.stage };
            self.recorder.note(again.by.as_str(), format!("has `{}` verified again", again.stage));
            self.say(people::reverify(&person(&again.by), &self.server, on).await, &again.by);
        }
        if let Some(annotate) = &moment.annotate {
            let on = Stage { project, name: &annotate.stage };
            self.recorder.note(annotate.by.as_str(), format!("annotates Stage `{}`", annotate.stage));
            self.say(people::annotate(&person(&annotate.by), on, &annotate.annotations).await, &annotate.by);
        }
    }

    fn say(&self, result: Result<(), kube::Error>, who: &str) {
        if let Err(error) = result {
            let text = match &error {
                kube::Error::Api(status) => status.message.clone(),
                other => other.to_string(),
            };
            self.recorder.note(who, format!("is refused: {}", self.names.plain(&text)));
        }
    }

    fn switch_kargo(&mut self, setup: &Setup<'_>, switch: Switch) {
        match (switch, self.kargo.take()) {
            (Switch::Down, Some(task)) => task.abort(),
            (Switch::Up, None) => self.start_kargo(setup.scenario, setup.seed.wrapping_add(100)),
            (_, task) => self.kargo = task,
        }
    }

    fn switch_refloat(&mut self, setup: &Setup<'_>, switch: Switch) {
        match (switch, self.refloat.take()) {
            (Switch::Down, Some(task)) => task.abort(),
            (Switch::Up, None) => self.start_refloat(setup),
            (_, task) => self.refloat = task,
        }
    }

    /// Lets time pass until everything rests, and for as long as the scenario says.
    async fn rest(&self, setup: &Setup<'_>) {
        let project = setup.scenario.world.project.as_str();
        let until = setup.scenario.until_seconds().map(|seconds| Duration::from_secs(u64::from(seconds)));
        let end = self.recorder.elapsed() + LONGEST;
        let mut n_calm = 0;
        loop {
            let passed = self.recorder.elapsed();
            let is_due = until.is_none_or(|until| passed >= until);
            if (is_due && n_calm >= REST) || (until.is_none() && passed >= end) || (until.is_some() && is_due)
            {
                return;
            }
            tokio::time::sleep(LOOK).await;
            n_calm = if people::is_calm(&self.server, project) { n_calm + 1 } else { 0 };
        }
    }

    fn end(mut self, setup: &Setup<'_>) -> Played {
        self.tasks.abort_all();
        let requests = self.server.requests_since(self.n_before);
        let facts = expect::facts(&self.server, setup.scenario, &self.names, &self.before, &requests);
        Played {
            timeline: self.recorder.entries(),
            lasted: self.recorder.elapsed(),
            differences: expect::differences(&setup.scenario.expect, &facts),
            facts,
            requests,
            hash: self.server.log_hash(),
        }
    }
}

fn word(switch: Switch) -> &'static str {
    match switch {
        Switch::Up => "up",
        Switch::Down => "down",
    }
}

/// A script with Freight's names in place of its aliases.
fn named(script: &Script, names: &FreightNames) -> Script {
    let mut script = script.clone();
    let promotions = script.promotions.iter_mut().map(|rule| &mut rule.freight);
    let runs = script.verifications.iter_mut().map(|rule| &mut rule.freight);
    let health = script.health.iter_mut().map(|rule| &mut rule.freight);
    for freight in promotions.chain(runs).chain(health) {
        if names.knows(freight) {
            *freight = crate::names::name(freight);
        }
    }
    script
}
