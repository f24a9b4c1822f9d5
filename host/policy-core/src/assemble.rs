//! Builds the context of a failure out of snapshots, the incident and the rules.
