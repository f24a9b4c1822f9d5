//! Kubernetes shapes: the refloat.dev kinds, the Kargo objects we read, and conversions to core values.
//!
//! In: objects as an API server gives them. Out: values of `policy-core`, and from those values the exact objects and
//! requests that go back. [`crd`] holds our kinds, [`convert`] and [`record`] turn them into core values and back,
//! [`select`] and [`accept`] say which policy rules a Stage and whether it can be accepted, [`rights`] and [`install`]
//! print what has to be applied, [`kargo`] reads Kargo's objects, [`adapter`] speaks one
//! minor of Kargo.
//! Nothing here sends a request, reads a clock or waits.

pub mod accept;
pub mod adapter;
pub mod convert;
pub mod crd;
pub mod install;
pub mod kargo;
pub mod names;
pub mod record;
pub mod rights;
pub mod select;
pub mod stage_record;
pub mod yaml;

pub use crd::{crds, crds_yaml};

#[cfg(test)]
mod tests;
