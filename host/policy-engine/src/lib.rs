//! Runs a policy component on a context and returns its answer or its fault.
//!
//! In: bytes of a component, a context from [`policy_core`]. Out: a [`Call`]. The guest gets a fresh sandbox for each
//! call and nothing but its context; fuel ends it, and what it answers is checked before anybody sees it. This crate
//! knows nothing about clusters, and never waits for anything but the guest and the compiler's child.

mod cache;
mod compile;
mod component;
mod engine;
mod guest_fault;
mod imports;
mod limits;
mod load_error;
mod policy;
mod sandbox;
mod wit;

pub use compile::{CompileLimits, Compiler, compile_worker};
pub use component::{Inspection, inspect};
pub use engine::{Allocation, EngineError};
pub use limits::Limits;
pub use load_error::LoadError;
pub use policy::{Call, Engine, Policy};
pub use wit::Track;
