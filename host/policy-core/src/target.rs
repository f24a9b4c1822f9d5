//! Finds the last good Freight of a Stage, per origin.
