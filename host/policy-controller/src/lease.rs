//! Leadership by a `coordination.k8s.io/v1` Lease: at most one replica handles failures.
//!
//! In: an API client, an identity. Out: [`Lease::acquire`] waits until this replica leads and says since when nobody
//! watched; [`Lease::hold`] renews and returns when leadership is lost. Every write is guarded by resourceVersion.
//! That somebody led does not say that they watched: a replica may end again and again before it has seen anything. So an
//! annotation says until when failures were looked for.
//! A Lease alone never makes acting safe: a claim in an Incident does. Existing crates read clocks of their own or
//! do not follow kube 5, and these two hundred lines must also run in virtual time.

use std::time::Duration;

use jiff::Timestamp as Wall;
use k8s_openapi::api::coordination::v1::{Lease as Object, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, PostParams};
use policy_api::names::WATCHED;
use policy_core::time::Timestamp;
use tokio::time::{Instant, timeout, timeout_at};

use crate::clock::Clock;

/// How long a Lease is good without renewal, unless told otherwise: a leader outlives twenty seconds without an API server.
/// Kubernetes' own controllers use 15 s. Whoever ends in order gives its Lease up, so only a crash waits for this.
pub const DURATION: Duration = Duration::from_secs(30);

/// A Lease that this replica wants.
pub struct Lease {
    api: Api<Object>,
    name: String,
    identity: String,
    duration: Duration,
    clock: Clock,
}

/// Where a Lease is and who wants it.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// The replica's name.
    pub identity: &'a str,
    /// How long it is good without renewal. It is renewed three times in that time; a renewal that failed is repeated
    /// soon, and a holder that could not renew for two thirds of it stops before others may start.
    pub duration: Duration,
}

/// What a replica learns when it becomes the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acquired {
    /// Until when a leader is known to have watched; `None` on the very first start.
    pub previous: Option<Timestamp>,
    /// Since when the Lease is its own, on its monotonic clock, at the latest.
    pub sent: Instant,
}

/// The Lease could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("failed to {operation} Lease `{name}`")]
pub struct LeaseError {
    operation: &'static str,
    name: String,
    source: kube::Error,
}

/// What a replica waits for that does not lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// Somebody else leads.
    ForTheLeader,
    /// The API server does not answer, or refuses.
    ForTheServer,
}

/// What was seen of somebody else's Lease, and when on our own monotonic clock: wall clocks of two machines are
/// never compared.
struct Seen {
    resource_version: Option<String>,
    at: Instant,
}

impl Lease {
    /// A Lease that a replica wants.
    pub fn new(client: kube::Client, wanted: Wanted<'_>, clock: Clock) -> Self {
        let api = Api::namespaced(client, wanted.namespace);
        let (name, identity) = (wanted.name.to_owned(), wanted.identity.to_owned());
        Self { api, name, identity, duration: wanted.duration, clock }
    }

    fn period(&self) -> Duration {
        self.duration / 3
    }

    /// Pause before a renewal that failed is repeated: there is time for several before leadership is lost, so that one
    /// lost request does not make a replica begin anew. client-go waits 2 s of 15 s, too.
    fn pause(&self) -> Duration {
        self.duration / 15
    }

    /// Waits until this replica leads. Errors of the API server are logged and tried again; `waits` is told after each try
    /// whether somebody else leads, or nobody can be asked.
    pub async fn acquire(&self, waits: impl Fn(Waits)) -> Acquired {
        let mut seen: Option<Seen> = None;
        loop {
            // An answer that comes late says what was true when it was asked for.
            match timeout(self.period(), self.try_acquire(&mut seen, Instant::now())).await {
                Ok(Ok(Some(acquired))) => return acquired,
                Ok(Ok(None)) => waits(Waits::ForTheLeader),
                Err(_) => {
                    waits(Waits::ForTheServer);
                    tracing::warn!("no Lease yet: the API server takes too long");
                }
                Ok(Err(error)) => {
                    waits(Waits::ForTheServer);
                    tracing::warn!(error = &error as &dyn std::error::Error, "no Lease yet");
                }
            }
            tokio::time::sleep(self.period()).await;
        }
    }

    /// Renews until leadership is lost that was acquired with a request of that time. Renewals say whether this replica
    /// watches by then.
    pub async fn hold(&self, sent: Instant, watches: impl Fn() -> bool) {
        let (mut renewed, mut pause) = (sent, self.period());
        let mut kept = None;
        while renewed.elapsed() < self.period() * 2 {
            tokio::time::sleep(pause).await;
            let sent = Instant::now();
            // A request may hang for minutes, and by then somebody else leads.
            match timeout_at(renewed + self.period() * 2, self.renew(&mut kept, watches())).await {
                Ok(Ok(true)) => (renewed, pause) = (sent, self.period()),
                Ok(Ok(false)) | Err(_) => return,
                Ok(Err(error)) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "Lease not renewed");
                    pause = self.pause();
                }
            }
        }
    }

    /// Gives the Lease up at once, so that another replica need not wait. Best effort, and quick.
    pub async fn release(&self) {
        if timeout(self.period(), self.try_release()).await.is_err() {
            tracing::debug!("Lease not released in time");
        }
    }

    async fn try_release(&self) {
        let Ok(Some(mut object)) = self.get().await else { return };
        if holder(&object) != Some(self.identity.as_str()) {
            return;
        }
        if let Some(spec) = object.spec.as_mut() {
            spec.holder_identity = None;
        }
        if let Err(error) = self.replace(&object).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "Lease not released");
        }
    }

    async fn try_acquire(
        &self,
        seen: &mut Option<Seen>,
        sent: Instant,
    ) -> Result<Option<Acquired>, LeaseError> {
        let Some(object) = self.get().await? else {
            return Ok(self.create().await?.then_some(Acquired { previous: None, sent }));
        };
        let free = holder(&object).is_none_or(|holder| holder.is_empty() || holder == self.identity);
        if !free && !self.has_expired(&object, seen) {
            return Ok(None);
        }
        let previous = watched_until(&object);
        let mut mine = object;
        // Kept with the Lease: the answer to this write may be lost, or this replica may end before it has seen anything.
        if let Some(previous) = previous {
            note_watched(&mut mine, previous);
        }
        let transitions = mine.spec.as_ref().and_then(|spec| spec.lease_transitions).unwrap_or(0);
        mine.spec = Some(LeaseSpec { lease_transitions: Some(transitions.saturating_add(1)), ..self.spec() });
        Ok(self.replace(&mine).await?.map(|_| Acquired { previous, sent }))
    }

    /// False when somebody else leads. `kept` is the Lease as the last renewal left it, which need not be read again:
    /// whoever changed it since makes the write fail, and then it is read.
    async fn renew(&self, kept: &mut Option<Object>, watches: bool) -> Result<bool, LeaseError> {
        if let Some(object) = kept.take() {
            *kept = self.replace(&self.renewed(object, watches)).await?;
            if kept.is_some() {
                return Ok(true);
            }
        }
        let Some(object) = self.get().await? else { return self.create().await };
        if holder(&object) != Some(self.identity.as_str()) {
            return Ok(false);
        }
        *kept = self.replace(&self.renewed(object, watches)).await?;
        Ok(kept.is_some())
    }

    fn renewed(&self, mut object: Object, watches: bool) -> Object {
        if watches {
            note_watched(&mut object, self.clock.now());
        }
        let old = object.spec.take().unwrap_or_default();
        object.spec = Some(LeaseSpec {
            lease_transitions: old.lease_transitions,
            acquire_time: old.acquire_time,
            ..self.spec()
        });
        object
    }

    fn spec(&self) -> LeaseSpec {
        let now = Wall::from_second(i64::from(self.clock.now().0)).ok().map(MicroTime);
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.duration.as_secs()).ok(),
            acquire_time: now.clone(),
            renew_time: now,
            ..LeaseSpec::default()
        }
    }

    async fn get(&self) -> Result<Option<Object>, LeaseError> {
        self.api.get_opt(&self.name).await.map_err(|source| self.error("read", source))
    }

    /// False when somebody else was quicker.
    async fn create(&self) -> Result<bool, LeaseError> {
        let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
        let object = Object { metadata, spec: Some(self.spec()) };
        let created = won(self.api.create(&PostParams::default(), &object).await);
        created.map(|created| created.is_some()).map_err(|source| self.error("create", source))
    }

    /// The Lease as stored; `None` when somebody else was quicker: the object still carries the resourceVersion that was
    /// read.
    async fn replace(&self, object: &Object) -> Result<Option<Object>, LeaseError> {
        won(self.api.replace(&self.name, &PostParams::default(), object).await)
            .map_err(|source| self.error("update", source))
    }

    /// Whether nobody has renewed it for its whole duration, as watched from here.
    fn has_expired(&self, object: &Object, seen: &mut Option<Seen>) -> bool {
        let resource_version = object.metadata.resource_version.clone();
        // Its holder goes by its own duration, which may be longer during a change of settings.
        let theirs = object.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
        let theirs = theirs.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
        let duration = theirs.unwrap_or_default().max(self.duration);
        match seen {
            Some(seen) if seen.resource_version == resource_version => seen.at.elapsed() >= duration,
            Some(_) | None => {
                *seen = Some(Seen { resource_version, at: Instant::now() });
                false
            }
        }
    }

    fn error(&self, operation: &'static str, source: kube::Error) -> LeaseError {
        LeaseError { operation, name: self.name.clone(), source }
    }
}

fn won<T>(answer: Result<T, kube::Error>) -> Result<Option<T>, kube::Error> {
    match answer {
        Ok(object) => Ok(Some(object)),
        // Changed or deleted by somebody else.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(None),
        Err(error) => Err(error),
    }
}

fn holder(object: &Object) -> Option<&str> {
    object.spec.as_ref()?.holder_identity.as_deref()
}

/// Until when failures were looked for. A Lease that does not say so was held by an older version, which watched.
fn watched_until(object: &Object) -> Option<Timestamp> {
    let noted = object.metadata.annotations.as_ref().and_then(|all| all.get(WATCHED));
    let noted = noted.and_then(|text| text.parse::<Wall>().ok());
    let renewed = || Some(object.spec.as_ref()?.renew_time.as_ref()?.0);
    u32::try_from(noted.or_else(renewed)?.as_second()).ok().map(Timestamp)
}

fn note_watched(object: &mut Object, until: Timestamp) {
    let text = policy_api::convert::time(until).0.to_string();
    object.metadata.annotations.get_or_insert_default().insert(WATCHED.to_owned(), text);
}
