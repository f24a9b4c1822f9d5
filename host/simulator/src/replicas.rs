//! Replicas of the controller: they start, lead, die and get cut off.
//!
//! In: a ground to play on and what happens to whom. Out: running controllers, which do not know that they are played.
//! Who leads is read from the Lease, as anybody would.

use std::sync::Arc;

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::Api;
use kube_memory::User;
use policy_controller::clock::Clock;
use policy_controller::feeds::Scope;
use policy_controller::metrics::Metrics;
use policy_core::classify::catalogue::Catalogue;
use policy_core::name::ProjectName;
use policy_engine::Engine;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};

use crate::ground::{Ground, GroundError, Trouble, replica_group};
use crate::scenario::LeaderFate;
use crate::timeline::Recorder;

/// The user that the controller is, as `refloat install` makes it.
pub(crate) const CONTROLLER: &str = "system:serviceaccount:refloat-system:refloat";
const NAMESPACE: &str = "refloat-system";

/// The replicas of one play.
#[derive(Default)]
pub(crate) struct Replicas {
    running: Vec<Replica>,
    cut_off: Vec<u32>,
    n_started: u32,
    /// What each has counted.
    metrics: Vec<Arc<Metrics>>,
}

struct Replica {
    number: u32,
    task: AbortHandle,
    metrics: Arc<Metrics>,
}

/// What every replica is started with.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    /// The Project, which is all that it looks at.
    pub(crate) project: String,
    /// What runs components.
    pub(crate) engine: Arc<Engine>,
    /// What failures mean.
    pub(crate) catalogue: Arc<Catalogue>,
}

impl Start {
    /// A Lease of each Project's own, so that plays can share a server.
    fn lease(&self) -> String {
        format!("refloat-{}", self.project)
    }

    fn options(&self, replica: u32) -> policy_controller::Options {
        policy_controller::Options {
            namespace: NAMESPACE.to_owned(),
            lease: self.lease(),
            lease_duration: policy_controller::lease::DURATION,
            identity: identity(replica),
            account: policy_api::rights::DEFAULT_ACCOUNT.to_owned(),
            scope: Scope([ProjectName::new(self.project.as_str())].into()),
            catalogue: Arc::clone(&self.catalogue),
            argocd: None,
            listen: None,
            guests: policy_controller::guests::Guests::InPlace,
            stopped: false,
            checkpoints: policy_controller::steps::Checkpoints::default(),
        }
    }
}

fn identity(replica: u32) -> String {
    format!("refloat-{replica}")
}

impl Replicas {
    /// Starts replicas until that many run.
    pub(crate) fn start<G: Ground>(
        &mut self,
        n: u32,
        start: &Start,
        ground: &G,
        tasks: &mut JoinSet<()>,
    ) -> Result<(), GroundError> {
        self.running.retain(|replica| !replica.task.is_finished());
        for _ in self.running.len()..usize::try_from(n)? {
            self.n_started += 1;
            let number = self.n_started;
            let client = ground.client(&User::with_groups(CONTROLLER, vec![replica_group(number)]))?;
            let (engine, options, clock) = (Arc::clone(&start.engine), start.options(number), ground.clock());
            let clock = Clock::from_fn(move || {
                policy_core::time::Timestamp(u32::try_from(clock.now().as_second()).unwrap_or_default())
            });
            let stop = tokio_util::sync::CancellationToken::new();
            let metrics: Arc<Metrics> = Arc::default();
            self.metrics.push(Arc::clone(&metrics));
            let counted = Arc::clone(&metrics);
            let task = tasks.spawn(async move {
                let running = policy_controller::run_counting(client, engine, options, clock, stop, counted);
                if let Err(error) = running.await {
                    tracing::error!(error = &error as &dyn std::error::Error, "the controller ended");
                }
            });
            self.running.push(Replica { number, task, metrics });
        }
        Ok(())
    }

    /// Whether one of those that run leads; also when none runs.
    pub(crate) fn are_led(&self) -> bool {
        let mut running = self.running.iter().filter(|replica| !replica.task.is_finished()).peekable();
        running.peek().is_none() || running.any(|replica| replica.metrics.leader.get() == 1)
    }

    /// What `/metrics` of each would say, one after the other.
    pub(crate) fn metrics(&self) -> String {
        self.metrics.iter().map(|metrics| metrics.text()).collect()
    }

    /// All die without a word.
    pub(crate) fn die(&mut self) {
        for replica in self.running.drain(..) {
            replica.task.abort();
        }
    }

    /// Something happens to the one that leads now.
    pub(crate) async fn meet<G: Ground>(
        &mut self,
        fate: LeaderFate,
        start: &Start,
        ground: &mut G,
        on: Stage<'_>,
    ) -> Result<(), GroundError> {
        if fate == LeaderFate::Back {
            for replica in self.cut_off.drain(..) {
                on.recorder.note("refloat", format!("`{}` can be reached again", identity(replica)));
                ground.trouble(Trouble::CutOff { replica, cut_off: false })?;
            }
            return Ok(());
        }
        let Some((number, task)) = self.leader(start, ground).await? else {
            on.recorder.note("refloat", "nobody leads");
            return Ok(());
        };
        let who = identity(number);
        match fate {
            LeaderFate::Dies => {
                on.recorder.note("refloat", format!("`{who}`, which leads, dies"));
                task.abort();
            }
            LeaderFate::DiesWithClaim | LeaderFate::DiesAfterCreate => {
                let happened = Arc::new(Notify::new());
                let arrives = fate == LeaderFate::DiesAfterCreate;
                ground.trouble(Trouble::LastWords {
                    replica: number,
                    arrives,
                    happened: Arc::clone(&happened),
                })?;
                let recorder = on.recorder.clone();
                let when = if arrives { "right after it has sent" } else { "right before it sends" };
                on.tasks.spawn(async move {
                    happened.notified().await;
                    task.abort();
                    recorder.note("refloat", format!("`{who}`, which leads, dies {when} a Promotion"));
                });
            }
            LeaderFate::CutOff => {
                on.recorder.note("refloat", format!("`{who}`, which leads, can reach nobody"));
                self.cut_off.push(number);
                ground.trouble(Trouble::CutOff { replica: number, cut_off: true })?;
            }
            LeaderFate::Back => {}
        }
        Ok(())
    }

    async fn leader<G: Ground>(
        &self,
        start: &Start,
        ground: &G,
    ) -> Result<Option<(u32, AbortHandle)>, GroundError> {
        let leases: Api<Lease> = Api::namespaced(ground.client(&User::admin())?, NAMESPACE);
        let lease = leases.get_opt(&start.lease()).await?;
        let holder = lease.and_then(|lease| lease.spec?.holder_identity).unwrap_or_default();
        let found = self.running.iter().find(|replica| identity(replica.number) == holder);
        Ok(found.map(|replica| (replica.number, replica.task.clone())))
    }
}

/// Where what happens to a replica is told, and waited for.
pub(crate) struct Stage<'a> {
    pub(crate) recorder: &'a Recorder,
    pub(crate) tasks: &'a mut JoinSet<()>,
}
