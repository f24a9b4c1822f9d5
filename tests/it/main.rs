//! The integration tests: one binary, so that one API server serves them all.
//! Each module below is one area; each test takes a namespace of its own on the shared server.

mod apiserver_smoke;
mod kargo_model;
mod kargo_stand_in;
mod tidy;
