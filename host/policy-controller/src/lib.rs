//! The controller.

pub mod admin;
pub mod clock;
pub mod lease;
pub mod metrics;
pub mod queue;
pub mod steps;
