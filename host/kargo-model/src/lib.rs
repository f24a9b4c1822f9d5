//! A model of Kargo v1.11.2 that tests use in place of Kargo: what its webhooks do to Promotions and Stages, and
//! what its controllers write. In go objects as JSON values, the time, a source of ids and a script that says how
//! steps, health and verification end; out come admitted objects, denials, or [`Effect`]s to write.
//! Pure and deterministic: no IO, no clock, no randomness. It must not depend on any other crate of ours, and it is
//! right only where it agrees with the objects captured from a running Kargo.

pub mod admission;
pub mod analysis;
pub mod auto_promotion;
pub mod candidate;
pub mod cluster;
mod conditions;
pub mod controllers;
pub mod expression;
pub mod freight;
pub mod health;
pub mod holds;
pub mod ids;
pub mod merge;
pub mod names;
pub mod object;
pub mod project_config;
pub mod promotion;
pub mod queue;
pub mod recording;
pub mod script;
pub mod stage;
pub mod steps;
pub mod time;
pub mod verification;
pub mod world;

pub use admission::{Access, AccessReview, AdmissionRequest, ControlPlane, Denial, Operation, User};
pub use cluster::Cluster;
pub use ids::{IdSource, SeededIds};
pub use script::{Attempts, Outcome, PromotionRule, Script, VerificationOutcome, VerificationRule};
pub use world::{Effect, Kind, ObjectKey, World};
