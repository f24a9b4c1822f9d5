//! Reads what steps say about their own failure.
