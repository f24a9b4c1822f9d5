//! Masks secrets in text before anything else sees it.
