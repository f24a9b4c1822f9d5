//! What Refloat knows and decides, as values and pure functions.
