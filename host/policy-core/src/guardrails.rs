//! Bounds a decision: may refuse or delay, never add.
