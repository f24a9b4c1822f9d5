//! The controller: sees failures in a cluster, asks policies, acts once, records.
//!
//! Watches fill the [`stores`] and the [`queue`]; the handler takes one Stage after the other from the queue and
//! [`visit`]s it. A visit opens incidents, waits until Kargo has caught up, gathers the [`scene`], [`decide`]s (guests,
//! guardrails and plan are pure functions of `policy-core`), keeps a DecisionRecord, tells people, and [`deliver`]s:
//! rehearse, claim, create, count, attach. Later visits follow the attempt until the incident closes.
//! [`acceptance`] says which policies are in force; [`lease`] makes one replica the leader.
//!
//! Kargo objects are written only in [`deliver`], by POST or by a patch with a resourceVersion, and in [`waits`], by the
//! patch that makes Kargo look at a Stage once more; always as the Project's own account. Nothing here uses server-side
//! apply, deletes anything of Kargo's, or knows whether the cluster is simulated;
//! [`retention`] deletes what we keep of the past and have no room for.

pub mod acceptance;
pub mod access;
pub mod admin;
mod around;
pub mod case;
pub mod clock;
pub mod decide;
pub mod deliver;
pub mod doubles;
pub mod events;
pub mod failures;
pub mod feeds;
pub mod guests;
pub mod host;
pub mod lease;
pub mod metrics;
pub mod modules;
pub mod orphans;
pub mod policies;
pub mod queue;
pub mod records;
pub mod rehearse;
pub mod requests;
pub mod retention;
pub mod run;
pub mod scene;
pub mod second_look;
pub mod stage_records;
pub mod steps;
pub mod stores;
pub mod tell;
pub mod visit;
pub mod waits;
pub mod watch;

pub use run::{Options, RunError, run, run_counting};
