//! The wiring: builds every part once and starts it. Reads top to bottom like the life of a replica.
//!
//! In: [`Options`]. Out: runs until it is told to stop. As a standby it serves probes and waits for the Lease; as the
//! leader it watches and handles; when leadership is lost it drops everything and waits again.
//! Nothing in here ends the process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use policy_core::classify::catalogue::Catalogue;
use policy_core::time::Timestamp;
use policy_engine::Engine;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::access::Accesses;
use crate::admin::{self, Health};
use crate::clock::Clock;
use crate::feeds::{Feeds, Scope};
use crate::guests::Guests;
use crate::host::{ClaimTiming, Host, Memory, Next};
use crate::lease::{Lease, Waits, Wanted};
use crate::metrics::Metrics;
use crate::modules::Modules;
use crate::policies::Policies;
use crate::queue::{Queue, StageKey};
use crate::requests::Requests;
use crate::retention::{self, Fullness};
use crate::steps::Checkpoints;
use crate::stores::Stores;
use crate::{acceptance, visit};

/// Stages that are handled at the same time. Handling is waiting for the API server most of the time; guests run on
/// blocking threads, one per handler at most.
const HANDLERS: usize = 16;
/// How often policies are looked at when nothing changes: rights and ConfigMaps are not watched.
const ACCEPT_EVERY: Duration = Duration::from_secs(30);
/// Every Stage is visited after so many looks that found nothing new anywhere: watches and deadlines bring those that want
/// attention, and this is for whatever a mistake of ours has made them miss.
const LOOKS_PER_VISIT: u32 = 10;
/// Pause before a visit that failed is repeated; doubled with every failure in a row.
const AFTER_ERROR: Duration = Duration::from_secs(5);
/// The longest such pause.
const AFTER_ERRORS: Duration = Duration::from_secs(300);
/// Pause before a Stage is visited again whose visit ended in the middle.
const AFTER_PANIC: Duration = Duration::from_secs(60);

/// What a replica is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Namespace of the Lease and of ConfigMaps that ClusterPolicyModules name.
    pub namespace: String,
    /// Name of the Lease.
    pub lease: String,
    /// How long the Lease is good without renewal.
    pub lease_duration: Duration,
    /// This replica's name in the Lease.
    pub identity: String,
    /// Name of the ServiceAccount that acts in each Project.
    pub account: String,
    /// Projects to look at; empty means all.
    pub scope: Scope,
    /// What failures mean: the built-in rules, after those of the platform.
    pub catalogue: Arc<Catalogue>,
    /// Namespace of Argo CD, whose Applications are read for the context; `None` reads none.
    pub argocd: Option<String>,
    /// Where probes and metrics are served; `None` for nowhere.
    pub listen: Option<SocketAddr>,
    /// Where guests run.
    pub guests: Guests,
    /// Kill switch: watch and record, write nothing to Kargo anywhere.
    pub stopped: bool,
    /// Crash points, for tests.
    pub checkpoints: Checkpoints,
}

/// The controller could not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Probes cannot be served.
    #[error("failed to listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// Parts that outlive a term as leader.
struct Replica {
    client: kube::Client,
    options: Options,
    clock: Clock,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    engine: Arc<Engine>,
}

/// Runs a replica until `stop` is cancelled.
///
/// # Errors
/// When it cannot start. Whatever goes wrong later is logged and tried again.
pub async fn run(
    client: kube::Client,
    engine: Arc<Engine>,
    options: Options,
    clock: Clock,
    stop: CancellationToken,
) -> Result<(), RunError> {
    run_counting(client, engine, options, clock, stop, Arc::default()).await
}

/// [`run`], with what it counts in somebody else's hands, too.
///
/// # Errors
/// As [`run`].
pub async fn run_counting(
    client: kube::Client,
    engine: Arc<Engine>,
    options: Options,
    clock: Clock,
    stop: CancellationToken,
    metrics: Arc<Metrics>,
) -> Result<(), RunError> {
    let replica = Replica { engine, metrics, health: Arc::new(Health::default()), client, options, clock };
    let mut server = JoinSet::new();
    if let Some(address) = replica.options.listen {
        serve(&replica, address, &mut server).await?;
    }
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = terms(&replica) => {}
    }
    drop(server);
    replica.lease().release().await;
    Ok(())
}

/// Serves probes and metrics until `server` is dropped.
async fn serve(
    replica: &Replica,
    address: SocketAddr,
    server: &mut JoinSet<std::io::Result<()>>,
) -> Result<(), RunError> {
    let listen = |source| RunError::Listen { address, source };
    let listener = tokio::net::TcpListener::bind(address).await.map_err(listen)?;
    let bound = listener.local_addr().map_err(listen)?;
    tracing::info!(address = %bound, "serving probes and metrics");
    server.spawn(admin::serve(listener, Arc::clone(&replica.health), Arc::clone(&replica.metrics)));
    Ok(())
}

/// One term as leader after the other.
async fn terms(replica: &Replica) {
    let lease = replica.lease();
    loop {
        replica.health.set_ready(false);
        let waits = |waits| replica.health.set_ready(waits == Waits::ForTheLeader);
        let acquired = lease.acquire(waits).await;
        replica.metrics.leader.set(1);
        tracing::info!(identity = replica.options.identity, "leading");
        let host = Arc::new(replica.host(acquired.previous));
        tokio::select! {
            biased;
            () = lease.hold(acquired.sent, || host.memory.has_caught_up()) => {}
            () = replica.lead(Arc::clone(&host)) => {}
        }
        replica.metrics.leader.set(0);
        tracing::warn!(identity = replica.options.identity, "no longer leading");
    }
}

impl Replica {
    fn lease(&self) -> Lease {
        let options = &self.options;
        let wanted = Wanted {
            namespace: &options.namespace,
            name: &options.lease,
            identity: &options.identity,
            duration: options.lease_duration,
        };
        Lease::new(self.client.clone(), wanted, self.clock.clone())
    }

    /// Watches and handles until the future is dropped. Everything that it started ends with it.
    async fn lead(&self, host: Arc<Host>) {
        let mut tasks = JoinSet::new();
        let feeds = Feeds {
            client: self.client.clone(),
            stores: Arc::clone(&host.stores),
            queue: Arc::clone(&host.queue),
            policies_changed: Arc::clone(&host.policies_changed),
            scope: self.options.scope.clone(),
            account: Arc::clone(&host.account),
        };
        self.health.set_ready(false);
        feeds.start(&mut tasks);
        host.stores.complete().await;
        let basis = acceptance::refresh(&host, &self.options.namespace, None).await;
        acceptance::visit_all(&host);
        self.health.set_ready(true);
        host.catch_up();
        tracing::info!(rules = self.options.catalogue.version(), "watching");
        tasks.spawn(accept(Arc::clone(&host), self.options.namespace.clone(), basis));
        let sweeping = Arc::clone(&host);
        tasks.spawn(async move { retention::sweep_for_ever(&sweeping).await });
        handle(host).await;
    }

    fn host(&self, previous_leader: Option<Timestamp>) -> Host {
        let stores = Arc::new(Stores::default());
        let modules = Arc::new(Modules::new(Arc::clone(&self.engine), self.options.guests));
        Host {
            requests: Requests::new(self.client.clone(), Arc::clone(&self.metrics), &self.options.account),
            policies: Arc::new(Policies::new(Arc::clone(&stores), modules)),
            stores,
            queue: Arc::new(Queue::default()),
            policies_changed: Arc::default(),
            clock: self.clock.clone(),
            metrics: Arc::clone(&self.metrics),
            checkpoints: self.options.checkpoints,
            timing: ClaimTiming::default(),
            catalogue: Arc::clone(&self.options.catalogue),
            account: Arc::from(self.options.account.as_str()),
            argocd: self.options.argocd.as_deref().map(Arc::from),
            stopped: self.options.stopped,
            previous_leader,
            leading_since: self.clock.now(),
            accesses: Accesses::default(),
            memory: Memory::default(),
            guests: self.options.guests,
            fullness: Fullness::default(),
        }
    }
}

/// Looks at policies and modules whenever one changes, and now and then.
async fn accept(host: Arc<Host>, namespace: String, mut basis: Option<acceptance::Basis>) {
    let mut n_quiet = 0_u32;
    loop {
        tokio::select! {
            biased;
            () = host.policies_changed.notified() => {}
            () = tokio::time::sleep(ACCEPT_EVERY) => {}
        }
        let now = acceptance::refresh(&host, &namespace, basis.as_ref()).await;
        n_quiet = if now.is_some() && now == basis { n_quiet.saturating_add(1) } else { 0 };
        basis = now;
        if n_quiet.is_multiple_of(LOOKS_PER_VISIT) {
            acceptance::visit_all(&host);
        }
    }
}

/// Takes Stages from the queue for ever. One handler per Stage, a bounded number at a time.
async fn handle(host: Arc<Host>) {
    let permits = Arc::new(Semaphore::new(HANDLERS));
    let mut handlers = JoinSet::new();
    loop {
        let key = host.queue.next().await;
        host.metrics.queue.set(i64::try_from(host.queue.len()).unwrap_or(i64::MAX));
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        while let Some(ended) = handlers.try_join_next() {
            if let Err(error) = ended {
                tracing::error!(error = &error as &dyn std::error::Error, "a handler ended in the middle");
            }
        }
        let host = Arc::clone(&host);
        handlers.spawn(async move {
            let turn = Turn { host: &host, key: &key, next: Some(AFTER_PANIC) };
            one(turn).await;
            drop(permit);
        });
    }
}

/// A Stage's turn with a handler. However it ends, the Stage is given back to the queue: a bug in one visit must not
/// keep its Stage busy for ever.
struct Turn<'a> {
    host: &'a Host,
    key: &'a StageKey,
    /// When the Stage is looked at again.
    next: Option<Duration>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(pause) = self.next {
            self.host.queue.push_at(self.key.clone(), tokio::time::Instant::now() + pause);
        }
        self.host.queue.done(self.key);
        self.host.catch_up();
    }
}

/// One visit with its error policy: a lost race is repeated at once, anything else after a pause that grows.
async fn one(mut turn: Turn<'_>) {
    let next = match visit::visit(turn.host, turn.key).await {
        Ok(next) => {
            turn.host.memory.went_well(turn.key);
            next
        }
        Err(error) if error.is_lost_race() => Next::After(Duration::from_millis(200)),
        Err(error) => {
            let failures = turn.host.memory.went_wrong(turn.key);
            let pause = AFTER_ERROR.saturating_mul(2_u32.saturating_pow(failures.min(16))).min(AFTER_ERRORS);
            let error = &error as &dyn std::error::Error;
            tracing::warn!(stage = %turn.key, error, "visit not finished, again in {} s", pause.as_secs());
            Next::After(pause)
        }
    };
    turn.next = match next {
        Next::After(pause) => Some(pause),
        Next::Await => None,
    };
}
