//! Test harness: case files, the command line, a real API server with a stand-in for Kargo.

pub mod policy_case;
