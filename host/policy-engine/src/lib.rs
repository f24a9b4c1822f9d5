//! Runs a policy component on a context and returns its answer or its fault.
