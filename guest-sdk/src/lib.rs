//! Write a Refloat failure policy in Rust.
