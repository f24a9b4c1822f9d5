//! What Refloat knows and decides, as values and pure functions.
//!
//! A failure flows through this crate as values: [`detect`] turns snapshots of Kargo objects into failures, [`settle`]
//! says whether Kargo has caught up, [`classify`] reads the failure, [`target`] finds the last good Freight,
//! [`assemble`] builds the [`context::Context`] that a guest gets, [`guardrails`] bound the guest's
//! [`decision::Decision`], [`plan`] turns what is left into planned writes, and [`explain`] says all of it in
//! sentences. The controller, the command line and the tests call these same functions.
//!
//! Nothing here does IO, reads a clock, draws randomness, waits, logs, or knows kube or wasmtime: `now` and seeds
//! are parameters, and every function is total.

pub mod assemble;
pub mod called;
pub mod chain;
pub mod classify;
pub mod context;
pub mod deadlines;
pub mod decision;
pub mod detect;
pub mod explain;
pub mod failure;
pub mod fleet;
pub mod follow;
pub mod guardrails;
pub mod guest_fault;
pub mod hints;
pub mod incident;
pub mod kubernetes_name;
pub mod manifest;
pub mod name;
pub mod plan;
pub mod redact;
pub mod refresh;
pub mod retention;
pub mod rules;
pub mod settings;
pub mod settle;
pub mod snapshot;
pub mod stage_memory;
pub mod target;
pub mod time;
pub mod write;
