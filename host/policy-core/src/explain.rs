//! Says what happened and why, in the same sentences everywhere.
