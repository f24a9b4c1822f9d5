//! Refloat on the command line.

fn main() {}
