//! Runs a chain of policies: who is asked, who is skipped, whose decision stands.
