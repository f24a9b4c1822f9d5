//! Reads a failure: class, retryability, fault domain, effect, and how sure.
