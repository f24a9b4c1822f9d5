//! The integration tests: one binary, so that one API server serves them all.
//! Each module below is one area; each test takes a namespace of its own on the shared server.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::type_complexity,
    clippy::expect_used,
    clippy::needless_update,
    reason = "an index or a case that is not there fails the test that asked, which is what it should do"
)]

mod acceptance;
mod api_script;
mod apiserver_smoke;
mod argocd;
mod bad_objects;
mod classify;
mod controller;
mod coverage;
mod crash;
mod crds;
mod documents;
mod guests;
mod hints;
mod kargo_live;
mod kargo_model;
mod kargo_stand_in;
mod lease;
mod people;
mod policies;
mod probes;
mod record;
mod rights;
mod secrets;
mod simulate;
mod tidy;
mod triggers;
