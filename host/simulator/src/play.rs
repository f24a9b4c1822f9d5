//! Plays one scenario from its set-up to its end, in virtual time and in one order.
//!
//! In: a [`Setup`] and a [`Ground`]. Out: a [`Played`]. Everything runs on one thread under a clock that is paused: time
//! passes only while everything waits, so that a decision takes none of it. What needs real time, such as compiling a
//! component, happens on that thread while nothing else does. A seed above 0 disturbs the controller's requests: some are
//! late, some are lost, some are carried out and their answer is lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use kargo_model::ControlPlane;
use kube_memory::User;
use kube_memory::audit::Requests;
use policy_core::classify::catalogue::Catalogue;
use policy_engine::Engine;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use crate::expect::{self, Difference, Facts};
use crate::ground::{Controllers, Ground, GroundError, Looked, Memory, Trouble, View};
use crate::kargo::{self, Director};
use crate::names::FreightNames;
use crate::people::{self, Stage};
use crate::replicas::{self, CONTROLLER, Replicas, Start};
use crate::scenario::{Moment, Scenario, Switch};
use crate::script;
use crate::stage_set;
use crate::timeline::{self, Entry, Recorder};

/// How often it is looked whether the set-up is done.
const LOOK: Duration = Duration::from_secs(1);
/// How long everything must rest before it is the end: longer than a settled Stage is waited for.
const REST: Duration = Duration::from_secs(30);
/// How long policies may take to be judged before the scenario begins all the same.
const JUDGED: Duration = Duration::from_secs(60);

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
    /// What the controller counted, as `/metrics` would say it, all replicas one after the other.
    pub metrics: String,
    /// One hash over all requests and answers, set-up included; `None` on a server that has no order of them.
    pub hash: Option<String>,
}

/// A scenario could not be played.
#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    /// No runtime.
    #[error("failed to start the clock")]
    Runtime(#[source] std::io::Error),
    /// An object of the set-up was refused.
    #[error("failed to create {object}: {why}")]
    Create {
        /// Kind and name.
        object: String,
        /// Why, as the server says.
        why: String,
    },
    /// The server cannot be asked.
    #[error("failed to ask the API server")]
    Ground(#[from] GroundError),
    /// A Stage never came to hold what it is to hold at the beginning.
    #[error("Stage `{stage}` does not come to hold `{freight}` before the beginning: {because}")]
    SetUp {
        /// The Stage.
        stage: String,
        /// The Freight.
        freight: String,
        /// What became of its newest Promotion or verification.
        because: String,
    },
}

/// Plays a scenario.
///
/// # Errors
/// When it cannot be set up. What goes wrong later is in what came of it.
pub fn play(setup: &Setup<'_>) -> Result<Played, PlayError> {
    play_telling(setup, &Arc::default())
}

/// The same, and `seconds` always shows how many have passed, virtual ones, for whoever waits for the end.
///
/// # Errors
/// As [`play`].
pub fn play_telling(setup: &Setup<'_>, seconds: &Arc<AtomicU64>) -> Result<Played, PlayError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .map_err(PlayError::Runtime)?;
    let control_plane = setup.scenario.world.control_plane.as_deref();
    let kargo = control_plane.and_then(|text| ControlPlane::matching(text).ok()).unwrap_or_default();
    runtime.block_on(async {
        play_on(Memory::telling(setup.seed, CONTROLLER, kargo, Arc::clone(seconds)), setup).await
    })
}

/// Plays a scenario on a ground, inside of a runtime whose clock is as the ground wants it.
///
/// # Errors
/// When it cannot be set up, or the server cannot be asked.
pub async fn play_on<G: Ground>(ground: G, setup: &Setup<'_>) -> Result<Played, PlayError> {
    let mut play = Play::set(ground, setup).await?;
    play.begin().await?;
    play.timeline().await?;
    play.rest().await?;
    play.end().await
}

/// A scenario being played.
struct Play<'a, G> {
    ground: G,
    setup: &'a Setup<'a>,
    admin: kube::Client,
    director: Arc<Director>,
    names: FreightNames,
    recorder: Recorder,
    tasks: JoinSet<()>,
    kargo: Option<Kargo>,
    refloat: Replicas,
    before: Vec<String>,
}

/// Kargo's controllers while they run.
enum Kargo {
    Model(AbortHandle),
    Own,
}

impl<'a, G: Ground> Play<'a, G> {
    /// Sets everything up but the controller: what Stages are to hold, they hold.
    async fn set(ground: G, setup: &'a Setup<'a>) -> Result<Self, PlayError> {
        let scenario = setup.scenario;
        let (objects, later) = (ground.objects(scenario), stage_set::later_freight(scenario));
        let names = FreightNames::of(objects.iter().filter(is_freight).chain(&later));
        let mut play = Self {
            admin: ground.client(&User::admin())?,
            director: Arc::new(Director::new(script::before(scenario, &names))),
            names,
            recorder: Recorder::new(),
            tasks: JoinSet::new(),
            kargo: None,
            refloat: Replicas::default(),
            before: Vec::new(),
            setup,
            ground,
        };
        for object in &objects {
            play.create(object).await?;
        }
        play.ground.in_force(scenario).await?;
        play.start_kargo(setup.seed)?;
        for stage in &scenario.world.stages {
            for freight in &stage.holds {
                let on = Stage { project: play.project(), name: &stage.name };
                let _ = people::promote(&play.admin, on, play.names.name(freight)).await;
                play.wait_until_held(on, freight, stage.verification).await?;
            }
        }
        // Kargo may have promoted by itself what a Stage is to hold, and goes on with that: it is part of the set-up, too.
        play.becomes(&people::CALM, people::is_calm).await?;
        let script = script::named(scenario, &scenario.script, &play.names);
        play.director.change(|now| *now = script);
        Ok(play)
    }

    /// Looks every second until it is so; false when it does not come.
    async fn becomes(&self, kinds: &[Looked], is_so: impl Fn(&View<'_>) -> bool) -> Result<bool, PlayError> {
        let until = Instant::now() + self.ground.patience();
        while Instant::now() < until {
            if self.ground.look(self.project(), kinds, &is_so).await? {
                return Ok(true);
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(false)
    }

    fn project(&self) -> &'a str {
        &self.setup.scenario.world.project
    }

    fn start(&self) -> Start {
        // Rules that cannot be read are one of the scenario's problems, and it is without those.
        let catalogue = self.setup.scenario.catalogue().unwrap_or_else(|_| Catalogue::built_in().clone());
        Start {
            project: self.project().to_owned(),
            engine: Arc::clone(&self.setup.engine),
            catalogue: Arc::new(catalogue),
        }
    }

    async fn create(&self, object: &serde_json::Value) -> Result<(), PlayError> {
        people::create(&self.admin, object).await.map_err(|source| PlayError::Create {
            object: format!(
                "{} `{}`",
                timeline::text(object, "/kind"),
                timeline::text(object, "/metadata/name")
            ),
            why: refusal(&source),
        })
    }

    async fn wait_until_held(&self, on: Stage<'_>, freight: &str, verified: bool) -> Result<(), PlayError> {
        let name = self.names.name(freight);
        let holds = |view: &View<'_>| people::holds(view, on.name, name, verified);
        if self.becomes(&[Looked::Stages], holds).await? {
            return Ok(());
        }
        let kinds = [Looked::Stages, Looked::Promotions];
        let why = self.ground.look(on.project, &kinds, |view| people::why_not_held(view, on.name)).await?;
        let because = self.names.plain(&why);
        Err(PlayError::SetUp { stage: on.name.to_owned(), freight: freight.to_owned(), because })
    }

    /// Puts policies in place, starts the controller, and lets the scenario begin once its policies are judged.
    async fn begin(&mut self) -> Result<(), PlayError> {
        let (setup, project) = (self.setup, self.project());
        for (name, bytes) in &setup.components {
            for object in stage_set::module(name, bytes) {
                self.create(&object).await?;
            }
        }
        for (name, spec) in &setup.scenario.policies {
            self.create(&stage_set::policy(project, name, spec)).await?;
        }
        self.start_refloat()?;
        let until = Instant::now() + JUDGED;
        while Instant::now() < until {
            tokio::time::sleep(LOOK).await;
            let kinds = [Looked::FailurePolicies];
            if self.ground.look(project, &kinds, people::policies_are_judged).await? {
                break;
            }
        }
        self.before = self.ground.look(project, &[Looked::Promotions], people::promotions).await?;
        self.ground.count_from_here()?;
        if setup.seed > 0 {
            self.ground.trouble(Trouble::Requests { seed: setup.seed })?;
        }
        self.recorder = Recorder::new();
        let (names, recorder) = (self.names.clone(), self.recorder.clone());
        for problem in self.ground.look(project, &[Looked::FailurePolicies], people::not_accepted).await? {
            self.recorder.note("refloat", problem);
        }
        let feeds = timeline::feeds(|resource| self.ground.feed(&self.admin, project, resource));
        self.tasks.spawn(async move { timeline::watch(feeds, &names, &recorder).await });
        // The onlooker has seen what is there before the first thing happens.
        tokio::time::sleep(Duration::from_millis(1)).await;
        Ok(())
    }

    fn start_kargo(&mut self, seed: u64) -> Result<(), PlayError> {
        if self.ground.start_kargo(&self.director)? == Controllers::Own {
            self.kargo = Some(Kargo::Own);
            return Ok(());
        }
        let client = self.ground.client(&kargo::controller())?;
        let (director, clock) = (Arc::clone(&self.director), self.ground.clock());
        let feeds = kargo::feeds(|resource| self.ground.feed(&client, self.project(), resource));
        let playing = async move {
            let ended = kargo::control(client, feeds, &director, seed.wrapping_add(2), || clock.now()).await;
            if let Err(error) = ended {
                tracing::error!(error = &error as &dyn std::error::Error, "Kargo's controllers ended");
            }
        };
        self.kargo = Some(Kargo::Model(self.tasks.spawn(playing)));
        Ok(())
    }

    fn start_refloat(&mut self) -> Result<(), PlayError> {
        let start = self.start();
        Ok(self.refloat.start(self.setup.scenario.replicas, &start, &self.ground, &mut self.tasks)?)
    }

    async fn timeline(&mut self) -> Result<(), PlayError> {
        for moment in &self.setup.scenario.timeline {
            let at = self.recorder.began() + Duration::from_secs(u64::from(moment.seconds()));
            tokio::time::sleep_until(at).await;
            self.happen(moment).await?;
        }
        Ok(())
    }

    async fn happen(&mut self, moment: &Moment) -> Result<(), PlayError> {
        let scenario = self.setup.scenario;
        if let Some(piece) = &moment.freight {
            let discovered = self.ground.clock().now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            self.say(
                people::create(&self.admin, &stage_set::freight(scenario, piece, &discovered)).await,
                "kargo",
            );
        }
        if let Some(script) = &moment.script {
            let script = script::named(scenario, script, &self.names);
            self.director.change(|now| *now = script);
        }
        for (name, spec) in moment.policies.iter().flatten() {
            let object = stage_set::policy(&scenario.world.project, name, spec);
            self.say(people::put_policy(&self.admin, &object).await, "the platform team");
        }
        self.switch(moment).await?;
        self.act(moment).await
    }

    /// What goes up and down.
    async fn switch(&mut self, moment: &Moment) -> Result<(), PlayError> {
        if let Some(switch) = moment.webhooks {
            self.recorder.note("kargo", format!("its webhooks are {}", word(switch)));
            self.ground.trouble(Trouble::Webhooks { down: switch == Switch::Down })?;
        }
        if let Some(switch) = moment.kargo {
            self.recorder.note("kargo", format!("its controllers are {}", word(switch)));
            match (switch, self.kargo.take()) {
                (Switch::Down, Some(Kargo::Model(task))) => task.abort(),
                (Switch::Down, Some(Kargo::Own)) => self.ground.stop_kargo(),
                (Switch::Up, None) => self.start_kargo(self.setup.seed.wrapping_add(100))?,
                (_, kargo) => self.kargo = kargo,
            }
        }
        if let Some(accident) = moment.next_create {
            self.ground.trouble(Trouble::NextCreate { accident })?;
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
            match switch {
                Switch::Down => self.refloat.die(),
                Switch::Up => self.start_refloat()?,
            }
        }
        if let Some(fate) = moment.leader {
            let start = self.start();
            let on = replicas::Stage { recorder: &self.recorder, tasks: &mut self.tasks };
            self.refloat.meet(fate, &start, &mut self.ground, on).await?;
        }
        Ok(())
    }

    /// What people do. A refusal is shown, as they would see it.
    async fn act(&self, moment: &Moment) -> Result<(), PlayError> {
        let project = self.project();
        let person = |by: &str| self.ground.client(&User::with_groups(by, vec!["system:masters".to_owned()]));
        if let Some(promote) = &moment.promote {
            let on = Stage { project, name: &promote.stage };
            let freight = self.names.name(&promote.freight);
            self.say(people::promote(&person(&promote.by)?, on, freight).await, &promote.by);
        }
        if let Some(abort) = &moment.abort {
            let open = |view: &View<'_>| people::open_promotion(view, &abort.stage, abort.newest);
            let open = self.ground.look(project, &[Looked::Promotions], open).await?;
            let what = format!("aborts the Promotion of `{}`", abort.stage);
            self.tries(&abort.by, &what, open.is_none().then_some("no Promotion there is under way"));
            if let Some(open) = open {
                self.say(people::abort(&person(&abort.by)?, project, &open).await, &abort.by);
            }
        }
        if let Some(abort) = &moment.abort_verification {
            let on = Stage { project, name: &abort.stage };
            let id = self.look_at_stages(|view| people::running_verification(view, &abort.stage)).await?;
            let what = format!("aborts the verification of `{}`", abort.stage);
            self.tries(&abort.by, &what, id.is_none().then_some("none is running"));
            if let Some(id) = id {
                self.say(people::abort_verification(&person(&abort.by)?, on, id).await, &abort.by);
            }
        }
        if let Some(again) = &moment.reverify {
            let on = Stage { project, name: &again.stage };
            let id = self.look_at_stages(|view| people::verification(view, &again.stage)).await?;
            let what = format!("has `{}` verified again", again.stage);
            self.tries(&again.by, &what, id.is_none().then_some("it was not verified before"));
            if let Some(id) = id {
                self.say(people::reverify(&person(&again.by)?, on, id).await, &again.by);
            }
        }
        if let Some(annotate) = &moment.annotate {
            let on = Stage { project, name: &annotate.stage };
            self.recorder.note(annotate.by.as_str(), format!("annotates Stage `{}`", annotate.stage));
            self.say(people::annotate(&person(&annotate.by)?, on, &annotate.annotations).await, &annotate.by);
        }
        Ok(())
    }

    async fn look_at_stages<T>(&self, look: impl FnOnce(&View<'_>) -> T) -> Result<T, PlayError> {
        Ok(self.ground.look(self.project(), &[Looked::Stages], look).await?)
    }

    /// Writes down what somebody does, or that it comes to nothing.
    fn tries(&self, who: &str, what: &str, but: Option<&str>) {
        let text = but.map_or_else(|| what.to_owned(), |but| format!("{what}: nothing happens, {but}"));
        self.recorder.note(who, text);
    }

    fn say(&self, result: Result<(), kube::Error>, who: &str) {
        if let Err(error) = result {
            self.recorder.note(who, format!("is refused: {}", self.names.plain(&refusal(&error))));
        }
    }

    /// Lets time pass until everything rests, or for as long as the scenario says.
    async fn rest(&self) -> Result<(), PlayError> {
        if let Some(seconds) = self.setup.scenario.until_seconds() {
            let end = self.recorder.began() + Duration::from_secs(u64::from(seconds));
            tokio::time::sleep_until(end).await;
            return Ok(());
        }
        let end = self.recorder.elapsed() + self.ground.patience();
        let (every, mut calm) = (self.ground.look_every(), Duration::ZERO);
        let (mut is_calm, mut looked_at) = (false, None);
        while self.recorder.elapsed() < end && calm < REST {
            tokio::time::sleep(every).await;
            let version = self.ground.version(&people::CALM);
            // What has not changed is as calm as it was.
            if version.is_none() || version != looked_at {
                is_calm = self.ground.look(self.project(), &people::CALM, people::is_calm).await?;
                looked_at = version;
            }
            // A replica that waits for the Lease of a dead leader is about to look at what has happened.
            calm = if is_calm && self.refloat.are_led() { calm + every } else { Duration::ZERO };
        }
        Ok(())
    }

    async fn end(mut self) -> Result<Played, PlayError> {
        self.tasks.abort_all();
        let (scenario, requests) = (self.setup.scenario, self.ground.requests()?);
        let facts = |view: &View<'_>| expect::facts(view, scenario, &self.names, &self.before, &requests);
        let facts = self.ground.look(self.project(), &expect::LOOKED, facts).await?;
        Ok(Played {
            timeline: self.recorder.entries(),
            lasted: self.recorder.elapsed(),
            differences: expect::differences(&scenario.expect, &facts),
            facts,
            requests,
            metrics: self.refloat.metrics(),
            hash: self.ground.hash(),
        })
    }
}

fn is_freight(object: &&serde_json::Value) -> bool {
    timeline::text(object, "/kind") == "Freight"
}

fn word(switch: Switch) -> &'static str {
    match switch {
        Switch::Up => "up",
        Switch::Down => "down",
    }
}

/// What the server says, without what the client makes of it.
fn refusal(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}
