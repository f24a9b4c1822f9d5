//! Plays scenarios: the real controller and real components, on a Kubernetes API and a model of Kargo in memory.
//!
//! In: a [`Scenario`], a seed, an engine. Out: a [`Played`]: a timeline that people can read, what became of everything,
//! and one hash over every request and answer. Twenty minutes of backoff take milliseconds, because only virtual time
//! passes, and a run is a function of scenario and seed.
//!
//! [`scenario`] is what a file may say, [`problem`] what of it makes no sense, [`acceptance`] what the controller would
//! not accept, [`stage_set`] makes objects of it, [`modules`] loads components, [`kargo`] and [`webhooks`] play Kargo,
//! [`play`] lets time pass and people act on a [`ground`], [`timeline`] looks on by [`feed`]s and tells, [`expect`] compares. The
//! controller does not know that it is simulated: it gets a client, a clock and an engine, and runs guests in place.
//! Nothing here reads a clock or draws a random number, and nothing here decides what Kargo or a policy decides.

pub mod acceptance;
pub mod clock;
pub mod disturb;
pub mod expect;
pub mod feed;
pub mod ground;
pub mod kargo;
pub mod modules;
pub mod names;
pub mod people;
pub mod play;
pub mod problem;
mod replicas;
pub mod scenario;
mod script;
pub mod stage_set;
pub mod timeline;
pub mod webhooks;

pub use acceptance::refused;
pub use expect::Difference;
pub use modules::{ModuleError, components};
pub use play::{PlayError, Played, Setup, play, play_on, play_telling};
pub use problem::Problem;
pub use scenario::Scenario;
pub use timeline::Entry;
