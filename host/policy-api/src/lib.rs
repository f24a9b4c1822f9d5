//! Kubernetes shapes: the refloat.dev kinds, the Kargo objects we read, and conversions to core values.

pub mod kargo;
