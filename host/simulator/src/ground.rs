//! What a scenario is played on: an API server, what can be seen of it, and what can go wrong with it.
//!
//! In: a play that wants clients, looks and trouble. Out: those. [`Memory`] is the one of `refloat simulate`; the tests
//! have another on a real kube-apiserver. Nothing here knows what is played.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use kargo_model::ControlPlane;
use kube::Client;
use kube::api::ApiResource;
use kube_memory::audit::Requests;
use kube_memory::{ApiServer, Rbac, User};
use serde_json::Value;
use tokio::sync::Notify;

use crate::clock::VirtualClock;
use crate::disturb::Disturbance;
use crate::feed::{self, Feed};
use crate::kargo::Director;
use crate::scenario::{Accident, Scenario};
use crate::stage_set;
use crate::timeline::text;
use crate::webhooks::Webhooks;

/// When virtual time begins in memory: a Monday morning. Deterministic, and after every build of Kargo that the model
/// knows.
const EPOCH: &str = "2026-01-05T09:00:00Z";

/// Why a server could not be asked.
pub type GroundError = Box<dyn std::error::Error + Send + Sync>;

/// Kinds that a play looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Looked {
    /// Kargo's.
    Stages,
    /// Kargo's.
    Promotions,
    /// Refloat's.
    Incidents,
    /// Refloat's.
    FailurePolicies,
    /// Kubernetes'.
    Events,
}

impl Looked {
    /// API group and plural.
    pub fn resource(self) -> (&'static str, &'static str) {
        match self {
            Self::Stages => ("kargo.akuity.io", "stages"),
            Self::Promotions => ("kargo.akuity.io", "promotions"),
            Self::Incidents => ("refloat.dev", "incidents"),
            Self::FailurePolicies => ("refloat.dev", "failurepolicies"),
            Self::Events => ("", "events"),
        }
    }
}

/// Objects of a Project as they stand at one moment, in order of their names.
#[derive(Debug, Default)]
pub struct View<'a>(pub BTreeMap<Looked, Vec<&'a Value>>);

impl View<'_> {
    /// All of a kind; none when nobody asked for them.
    pub fn list(&self, kind: Looked) -> impl Iterator<Item = &Value> {
        self.0.get(&kind).into_iter().flatten().copied()
    }

    /// One by its name.
    pub fn find(&self, kind: Looked, name: &str) -> Option<&Value> {
        self.list(kind).find(|object| text(object, "/metadata/name") == name)
    }
}

/// Something that goes wrong, or is right again.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// Kargo's webhooks are down, or not.
    Webhooks {
        /// Whether they are.
        down: bool,
    },
    /// Requests of the controller are disturbed by this seed from now on.
    Requests {
        /// The seed.
        seed: u64,
    },
    /// The next Promotion that the controller asks for has an accident.
    NextCreate {
        /// Which.
        accident: Accident,
    },
    /// No request of that replica arrives any more, or they do again.
    CutOff {
        /// Its number, from 1.
        replica: u32,
        /// Whether they do not.
        cut_off: bool,
    },
    /// The next Promotion that this replica creates is its last request: it never gets there, or its answer does not.
    LastWords {
        /// Its number, from 1.
        replica: u32,
        /// Whether the Promotion is created.
        arrives: bool,
        /// Told when it has happened.
        happened: Arc<Notify>,
    },
}

/// Whose Kargo's controllers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controllers {
    /// The model's, which are a client of the ground like any other.
    Model,
    /// The ground's own, which it lets end things as it was told.
    Own,
}

/// An API server with Kargo's webhooks: under tokio's paused clock, or under one that runs where Kargo is real.
pub trait Ground {
    /// The time of day here.
    fn clock(&self) -> VirtualClock;

    /// A client of that user. The controller's replicas are one user, told apart by [`replica_group`].
    ///
    /// # Errors
    /// When none can be made.
    fn client(&self, user: &User) -> Result<Client, GroundError>;

    /// What stands in a Project of a kind, and how it changes, as `client` may see it.
    fn feed(&self, client: &Client, project: &str, resource: &ApiResource) -> Feed {
        feed::watched(client, project, resource)
    }

    /// Kargo's controllers are to start, and things are to end as `director` says.
    ///
    /// # Errors
    /// When they are the ground's own and cannot be started.
    fn start_kargo(&mut self, director: &Arc<Director>) -> Result<Controllers, GroundError> {
        let _ = director;
        Ok(Controllers::Model)
    }

    /// The ground's own controllers of Kargo stop.
    fn stop_kargo(&mut self) {}

    /// What has to be created before Kargo starts, in that order.
    fn objects(&self, scenario: &Scenario) -> Vec<Value>;

    /// Waits until what was created is in force, which a server may take a moment for.
    fn in_force(&self, scenario: &Scenario) -> impl Future<Output = Result<(), GroundError>>;

    /// Looks at objects of these kinds in a Project.
    fn look<T>(
        &self,
        project: &str,
        kinds: &[Looked],
        look: impl FnOnce(&View<'_>) -> T,
    ) -> impl Future<Output = Result<T, GroundError>>;

    /// A number that is another one whenever an object of these kinds has changed, where there is one.
    fn version(&self, kinds: &[Looked]) -> Option<u64> {
        let _ = kinds;
        None
    }

    /// How often the end of a play is looked for.
    fn look_every(&self) -> Duration;

    /// How long a play goes on at most after its last moment, when it does not say so itself; also, how long its
    /// beginning may take.
    fn patience(&self) -> Duration {
        Duration::from_secs(6 * 3_600)
    }

    /// From now on requests count.
    ///
    /// # Errors
    /// When the server's log cannot be read.
    fn count_from_here(&mut self) -> Result<(), GroundError>;

    /// The requests that count.
    ///
    /// # Errors
    /// When the server's log cannot be read.
    fn requests(&self) -> Result<Requests, GroundError>;

    /// Something goes wrong, or is right again.
    ///
    /// # Errors
    /// When that cannot be had here.
    fn trouble(&mut self, trouble: Trouble) -> Result<(), GroundError>;

    /// One hash over all requests and answers, where there is an order of them.
    fn hash(&self) -> Option<String>;
}

/// The group that tells replicas of the controller apart, which are one user.
pub fn replica_group(replica: u32) -> String {
    format!("refloat:replica:{replica}")
}

/// A Kubernetes API server in memory.
#[derive(Debug)]
pub struct Memory {
    server: ApiServer,
    clock: VirtualClock,
    disturbance: Disturbance,
    n_before: usize,
}

impl Memory {
    /// A server whose ids come from `seed`, with Kargo's webhooks, whose own accounts are `kargo`. The controller is
    /// `controller`.
    pub fn new(seed: u64, controller: &'static str, kargo: ControlPlane) -> Self {
        Self::telling(seed, controller, kargo, Arc::default())
    }

    /// The same, and whenever the server looks at its clock, `seconds` shows how many have passed.
    pub fn telling(
        seed: u64,
        controller: &'static str,
        kargo: ControlPlane,
        seconds: Arc<AtomicU64>,
    ) -> Self {
        let clock = VirtualClock::starting_at(EPOCH.parse().unwrap_or_default());
        let began = clock.now().as_second();
        let told = move || {
            let now = clock.now();
            let passed = u64::try_from(now.as_second().saturating_sub(began)).unwrap_or_default();
            seconds.store(passed, Ordering::Relaxed);
            now
        };
        let server = ApiServer::new(seed, told, stage_set::resources().to_vec());
        server.set_authorizer(Rbac);
        server.set_admission(Webhooks::new(seed.wrapping_add(1), Arc::new(move || clock.now()), kargo));
        let disturbance = Disturbance::new(controller);
        server.set_faults(disturbance.clone());
        Self { server, clock, disturbance, n_before: 0 }
    }

    /// The server, for whoever wants to look at everything in it.
    pub fn server(&self) -> ApiServer {
        self.server.clone()
    }
}

impl Ground for Memory {
    fn clock(&self) -> VirtualClock {
        self.clock
    }

    fn client(&self, user: &User) -> Result<Client, GroundError> {
        Ok(self.server.client(user))
    }

    fn feed(&self, _client: &Client, project: &str, resource: &ApiResource) -> Feed {
        self.server.follow(&resource.group, &resource.plural, project).boxed()
    }

    fn objects(&self, scenario: &Scenario) -> Vec<Value> {
        let installed = stage_set::installation().into_iter();
        let definitions = stage_set::definitions(scenario.world.definitions);
        installed.chain(definitions).chain(stage_set::world(scenario)).collect()
    }

    async fn in_force(&self, _scenario: &Scenario) -> Result<(), GroundError> {
        Ok(())
    }

    async fn look<T>(
        &self,
        project: &str,
        kinds: &[Looked],
        look: impl FnOnce(&View<'_>) -> T,
    ) -> Result<T, GroundError> {
        Ok(self.server.look(|objects| {
            let list = |kind: &Looked| {
                let (group, plural) = kind.resource();
                (*kind, objects.list(group, plural, project).into_iter().map(Arc::as_ref).collect())
            };
            look(&View(kinds.iter().map(list).collect()))
        }))
    }

    fn version(&self, kinds: &[Looked]) -> Option<u64> {
        self.server.look(|objects| {
            let resources = kinds.iter().map(|kind| kind.resource());
            resources.map(|(group, plural)| objects.version_of(group, plural)).max()
        })
    }

    fn look_every(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn count_from_here(&mut self) -> Result<(), GroundError> {
        self.n_before = self.server.n_requests();
        Ok(())
    }

    fn requests(&self) -> Result<Requests, GroundError> {
        Ok(self.server.requests_since(self.n_before))
    }

    fn trouble(&mut self, trouble: Trouble) -> Result<(), GroundError> {
        if let Trouble::Webhooks { down } = trouble {
            self.server.set_webhooks_down(down);
        }
        self.disturbance.meet(trouble);
        Ok(())
    }

    fn hash(&self) -> Option<String> {
        Some(self.server.log_hash())
    }
}
