//! Says whether Kargo has caught up with a failure.
