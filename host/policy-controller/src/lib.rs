//! The controller: sees failures in a cluster, asks policies, acts once, records.
