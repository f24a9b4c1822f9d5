//! Turns what guardrails left of a decision into planned writes.
