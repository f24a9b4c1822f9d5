//! Turns snapshots into failures.
