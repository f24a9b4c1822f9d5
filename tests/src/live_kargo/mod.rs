//! Scenarios on a real Kargo control plane, which the environment variable `REFLOAT_KARGO_BIN` names.
//!
//! In: a program with Kargo's subcommands, a scenario. Out: what came of it, as in memory: the controllers and webhooks
//! are Kargo's own, on a real API server, in real time. [`processes`] runs them, [`steps`] lets steps end as a script
//! says, [`runs`] AnalysisRuns, [`hurry`] makes hours into minutes, [`stage`] plays. Everything is on loopback.

mod hurry;
mod processes;
mod runs;
mod stage;
mod steps;

pub use hurry::hurried;
pub use processes::LiveKargo;
pub use stage::LiveStage;

/// Names the program.
pub const VARIABLE: &str = "REFLOAT_KARGO_BIN";
