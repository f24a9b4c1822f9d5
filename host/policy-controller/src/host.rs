//! Everything that handling a Stage needs, in one place: clients, stores, policies, clocks.
//!
//! In: parts that [`crate::run`] built. Out: shared references for the handler. Holds no state of its own but what
//! only this process can know: since when it has watched somebody's claim.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use policy_core::classify::catalogue::Catalogue;
use policy_core::name::{FailureId, IncidentName, ProjectName};
use policy_core::time::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::access::Accesses;
use crate::clock::Clock;
use crate::guests::Guests;
use crate::metrics::Metrics;
use crate::policies::Policies;
use crate::queue::{Queue, StageKey};
use crate::requests::Requests;
use crate::retention::Fullness;
use crate::steps::Checkpoints;
use crate::stores::Stores;

/// Times of the claim protocol (product definition, section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimTiming {
    /// A create is sent only within this time after its claim. The API server gives it up 5 s later, see the adapter.
    pub send_within: Duration,
    /// A claim without outcome is taken over only after it was watched for this long: longer than sending and giving
    /// up together, so that whatever was sent has either arrived or never will.
    pub watch_for: Duration,
}

impl Default for ClaimTiming {
    fn default() -> Self {
        Self { send_within: Duration::from_secs(10), watch_for: Duration::from_secs(20) }
    }
}

/// Everything that handling a Stage needs.
pub struct Host {
    /// Requests to the API server.
    pub requests: Requests,
    /// What the watches saw.
    pub stores: Arc<Stores>,
    /// Stages that want attention.
    pub queue: Arc<Queue>,
    /// Which policies rule which Stage.
    pub policies: Arc<Policies>,
    /// Notified when policies have to be looked at again.
    pub policies_changed: Arc<Notify>,
    /// The time of day.
    pub clock: Clock,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Crash points.
    pub checkpoints: Checkpoints,
    /// Times of the claim protocol.
    pub timing: ClaimTiming,
    /// What failures mean: the built-in rules, after those of the platform.
    pub catalogue: Arc<Catalogue>,
    /// The account's name in each Project.
    pub account: Arc<str>,
    /// Namespace of Argo CD; `None` when its Applications are not looked at.
    pub argocd: Option<Arc<str>>,
    /// The kill switch of the whole cluster.
    pub stopped: bool,
    /// Until when the last leader is known to have watched, if there ever was one.
    pub previous_leader: Option<Timestamp>,
    /// Since when this replica leads.
    pub leading_since: Timestamp,
    /// What was found out about rights and about Kargo.
    pub accesses: Accesses,
    /// What only this process knows.
    pub memory: Memory,
    /// Where guests run.
    pub guests: Guests,
    /// How full the DecisionRecords are.
    pub fullness: Fullness,
}

impl Host {
    /// What there was to do when this process became the leader has been done once, if nothing is left to do now.
    pub fn catch_up(&self) {
        if self.queue.is_calm() {
            self.memory.has_caught_up.store(true, Ordering::Release);
        }
    }
}

/// What only this process knows. Lost in a restart without harm.
#[derive(Default)]
pub struct Memory {
    claims: Mutex<BTreeMap<(ProjectName, IncidentName, u32, u32), Instant>>,
    ignored: Mutex<BTreeSet<FailureId>>,
    failed_visits: Mutex<BTreeMap<StageKey, u32>>,
    orphans: Mutex<BTreeMap<StageKey, Instant>>,
    owed: Mutex<BTreeSet<FailureId>>,
    waited: Mutex<BTreeSet<(StageKey, IncidentName)>>,
    has_caught_up: AtomicBool,
}

impl Memory {
    /// Since when this process has watched a claim, on its own monotonic clock. The first call for a claim starts it.
    pub fn watching_since(
        &self,
        project: &ProjectName,
        incident: &IncidentName,
        number: u32,
        claims: u32,
    ) -> Instant {
        let mut seen = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (project.clone(), incident.clone(), number, claims);
        *seen.entry(key).or_insert_with(Instant::now)
    }

    /// For how long no policy has ruled a Stage with open incidents. The first call starts it.
    pub fn orphaned_for(&self, key: &StageKey) -> Duration {
        let mut orphans = self.orphans.lock().unwrap_or_else(PoisonError::into_inner);
        orphans.entry(key.clone()).or_insert_with(Instant::now).elapsed()
    }

    /// A policy rules the Stage.
    pub fn is_ruled(&self, key: &StageKey) {
        self.orphans.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// A failure wants an Incident and was seen in time: it gets one, however long that takes.
    pub fn owe(&self, failure: &FailureId) {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner).insert(failure.clone());
    }

    /// Whether a failure was seen in time that has no Incident yet.
    pub fn owes(&self, failure: &FailureId) -> bool {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner).contains(failure)
    }

    /// It has one.
    pub fn owe_no_more(&self, failure: &FailureId) {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner).remove(failure);
    }

    /// An incident waits for Kargo.
    pub fn waits(&self, key: &StageKey, incident: &IncidentName) {
        let waiting = (key.clone(), incident.clone());
        self.waited.lock().unwrap_or_else(PoisonError::into_inner).insert(waiting);
    }

    /// Whether this process has seen an incident wait for Kargo.
    pub fn waited(&self, key: &StageKey, incident: &IncidentName) -> bool {
        let waiting = (key.clone(), incident.clone());
        self.waited.lock().unwrap_or_else(PoisonError::into_inner).contains(&waiting)
    }

    /// Whether nobody but this process need look at failures of before: it has caught up, and no visit has to be repeated.
    pub fn has_caught_up(&self) -> bool {
        self.has_caught_up.load(Ordering::Acquire)
            && self.failed_visits.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// A visit to a Stage was finished.
    pub fn went_well(&self, key: &StageKey) {
        self.failed_visits.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// A visit to a Stage could not be finished. How many before it could not, without one that could in between.
    pub fn went_wrong(&self, key: &StageKey) -> u32 {
        let mut failed = self.failed_visits.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failed.entry(key.clone()).or_default();
        let before = *count;
        *count = count.saturating_add(1);
        before
    }

    /// Leaves a failure alone from now on. Whether it was not left alone before, so that it is counted once.
    pub fn leave_alone(&self, failure: &FailureId) -> bool {
        self.ignored.lock().unwrap_or_else(PoisonError::into_inner).insert(failure.clone())
    }

    /// Whether a failure is left alone.
    pub fn leaves_alone(&self, failure: &FailureId) -> bool {
        self.ignored.lock().unwrap_or_else(PoisonError::into_inner).contains(failure)
    }
}

/// What a visit to a Stage asks for next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing before something changes.
    Await,
    /// Another visit after this time.
    After(Duration),
}

impl Next {
    /// The sooner of two.
    pub fn or_sooner(self, other: Self) -> Self {
        match (self, other) {
            (Self::Await, next) | (next, Self::Await) => next,
            (Self::After(one), Self::After(two)) => Self::After(one.min(two)),
        }
    }
}
