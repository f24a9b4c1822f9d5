//! What the controller counts.
//!
//! In: calls from the places where things happen. Out: an OpenMetrics text for `/metrics`.
//! Labels are bounded: Projects, kinds and words of our own, never names of objects or texts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// A Project and one word.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct InProject {
    /// The Project.
    pub project: String,
    /// Trigger, fault kind, resolution or action kind, by metric.
    pub kind: String,
}

/// One request to the API server.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Request {
    /// `get`, `list`, `create`, `dry-run`, `update`, `patch`.
    pub verb: &'static str,
    /// Plural of the resource.
    pub resource: &'static str,
}

/// All metrics of one replica.
pub struct Metrics {
    registry: Registry,
    /// Failures that opened an incident, by trigger.
    pub failures: Family<InProject, Counter>,
    /// Failures that no policy was asked about, by reason.
    pub ignored: Family<InProject, Counter>,
    /// Decisions, by mode.
    pub decisions: Family<InProject, Counter>,
    /// Guest faults, by kind.
    pub faults: Family<InProject, Counter>,
    /// Deliveries that were sent, by action kind.
    pub deliveries: Family<InProject, Counter>,
    /// Incidents that closed, by resolution.
    pub closed: Family<InProject, Counter>,
    /// Requests to the API server.
    pub requests: Family<Request, Counter>,
    /// Stages that want attention, now or later.
    pub queue: Gauge,
    /// Bytes of DecisionRecords in the cluster at the last sweep.
    pub record_bytes: Gauge,
    /// 1 while this replica leads.
    pub leader: Gauge,
    /// Seconds that a decision took, chain and all.
    pub decision_seconds: Histogram,
    /// Fuel that a decision took.
    pub decision_fuel: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("refloat"),
            failures: Family::default(),
            ignored: Family::default(),
            decisions: Family::default(),
            faults: Family::default(),
            deliveries: Family::default(),
            closed: Family::default(),
            requests: Family::default(),
            queue: Gauge::default(),
            record_bytes: Gauge::default(),
            leader: Gauge::default(),
            // 10 µs to 1.3 s: a Rust guest takes tens of microseconds, the backstop is one second.
            decision_seconds: Histogram::new(exponential_buckets(0.000_01, 2.0, 18)),
            // 10 thousand to the default limit of 100 million and some above.
            decision_fuel: Histogram::new(exponential_buckets(10_000.0, 4.0, 8)),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("failures", "Failures that opened an incident", self.failures.clone());
        registry.register(
            "failures_ignored",
            "Failures that no policy was asked about",
            self.ignored.clone(),
        );
        registry.register("decisions", "Decisions made", self.decisions.clone());
        registry.register("guest_faults", "Guests that gave no usable answer", self.faults.clone());
        registry.register("deliveries", "Delivery actions sent to Kargo", self.deliveries.clone());
        registry.register("incidents_closed", "Incidents that closed", self.closed.clone());
        registry.register("requests", "Requests sent to the API server", self.requests.clone());
        registry.register("queue_length", "Stages that want attention", self.queue.clone());
        registry.register("record_bytes", "Bytes of DecisionRecords", self.record_bytes.clone());
        registry.register("leader", "1 while this replica leads", self.leader.clone());
        registry.register("decision_seconds", "Time of a decision", self.decision_seconds.clone());
        registry.register("decision_fuel", "Fuel of a decision", self.decision_fuel.clone());
    }

    /// The OpenMetrics text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            Err(error) => format!("# failed to encode metrics: {error}\n"),
        }
    }

    /// Counts one request.
    pub fn request(&self, verb: &'static str, resource: &'static str) {
        self.requests.get_or_create(&Request { verb, resource }).inc();
    }
}

/// The labels for one Project and one word.
pub fn in_project(project: &policy_core::name::ProjectName, kind: impl Into<String>) -> InProject {
    InProject { project: project.to_string(), kind: kind.into() }
}
