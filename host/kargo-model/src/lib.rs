//! A model of Kargo v1.11.2 that tests use in place of Kargo: what its webhooks do to Promotions and Stages, and
//! what its controllers write. In go objects as JSON values, the time, a source of ids and a script that says how
//! steps, health and verification end; out come admitted objects, denials, or [`Effect`]s to write.
//! Pure and deterministic: no IO, no clock, no randomness. It must not depend on any other crate of ours, and it is
//! right only where it agrees with the objects captured from a running Kargo: `tests/data/captures/AGREEMENT.md`.
//!
//! Every rule stands where its subject is, with the path of Kargo's source and the captures that show it:
//!
//! | Kargo | Here |
//! |---|---|
//! | Webhooks: names, steps, tasks, actor, hold and resume, availability, `promote` | [`admission`] |
//! | What Freight is called | [`freight_name`] |
//! | The queue of a Stage and its gates | [`queue`] |
//! | One Promotion's life, aborts, origins that are inherited | [`promotion`] |
//! | Its steps: order, conditions, retries, timeouts, requests that block | [`steps`], [`outcome`] |
//! | What a Stage records, by name | [`recording`] |
//! | Health, verification, reused AnalysisRuns | [`health`], [`verification`], [`analysis`], [`rollouts`] |
//! | Auto-promotion, candidates, holds | [`auto_promotion`], [`candidate`], [`holds`], [`project_config`] |
//! | Which events wake a Stage; requeues | [`controllers`] |
//! | The garbage collector | [`garbage`] |
//! | What it does and should not | [`flaws`] |
//!
//! Who has an API server of its own asks [`Controllers::next`] until it says nothing more, carries out what it says, and
//! comes back at [`Controllers::next_wake`] or when an object changed. Who has none takes a [`Cluster`]. What tests
//! decide, from a step's text to a metric's values and how long each takes, is the [`Script`]'s.

pub mod admission;
pub mod analysis;
mod attempt;
pub mod auto_promotion;
pub mod candidate;
pub mod cluster;
mod conditions;
pub mod controllers;
pub mod expression;
pub mod flaws;
pub mod freight;
pub mod freight_name;
pub mod garbage;
pub mod health;
pub mod holds;
pub mod ids;
pub mod merge;
mod metadata;
pub mod names;
pub mod object;
pub mod outcome;
pub mod project_config;
pub mod promotion;
pub mod queue;
pub mod recording;
mod repository;
pub mod rollouts;
pub mod script;
mod soak;
pub mod stage;
pub mod steps;
pub mod time;
mod triggers;
pub mod verification;
pub mod world;

pub use admission::{Access, AccessReview, AdmissionRequest, ControlPlane, Denial, Operation, User};
pub use cluster::Cluster;
pub use controllers::{Controllers, WorkDirs};
pub use flaws::Flaws;
pub use ids::{IdSource, SeededIds};
pub use script::{Attempts, Metric, Outcome, PromotionRule, Script, VerificationOutcome, VerificationRule};
pub use world::{Effect, Kind, ObjectKey, World};
