//! A Kubernetes API server in memory: kube's own client, watchers and typed calls run on it unchanged, also under
//! tokio's paused clock.
//!
//! In: requests of a [`kube::Client`] made by [`ApiServer::client`], and hooks for rights, admission and faults.
//! Out: the answers that kube-apiserver v1.34 gives; `tests/cases/api/script.yaml` is sent to both and compared.
//! Everything is a function of the seed, the order of requests and the clock that was passed in: nothing here reads
//! a clock, draws a random number or keeps anything in the order of a hash.
//! What does not exist: schemas, CEL, defaults of custom resources, managed fields, strategic merge patches,
//! server-side apply (refused, with the reason), deletion of what an owner reference points away from, graceful
//! deletion, and every kind that is not in the table of [`Resource`]s.

mod access_review;
mod admission;
mod answer;
pub mod audit;
mod authorize;
mod body;
mod call;
mod fault;
mod follow;
mod identifiers;
mod list;
mod metadata;
mod rbac;
mod refusal;
mod resource;
mod selector;
mod server;
mod store;
mod trail;
mod validate;
mod watch;
mod write;

pub use admission::{Admission, Operation, Review};
pub use authorize::{Attributes, Authorizer, Decision, Everything, User};
pub use call::Verb;
pub use fault::{Arrival, Fate, Faults, WatchEnd};
pub use follow::News;
pub use rbac::Rbac;
pub use refusal::Refusal;
pub use resource::{Resource, built_in};
pub use server::ApiServer;
pub use store::Objects;
