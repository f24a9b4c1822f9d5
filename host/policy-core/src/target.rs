//! Where a rollback would go, and what Kargo would do by itself: good Freight, availability, holds, candidates.
//!
//! In: a Stage with its Promotions and Freight, and `now`. Out: facts with their reasons, per origin.
//! What cannot be known is no target: nothing is taken for good because nothing bad is known of it.

mod availability;
mod good;
mod selector;

pub use availability::{auto_promotion, candidates, effective_holds, is_available};
pub use good::{Question, is_refuted, last_good, newest_good, proof};
pub use selector::{matches, unreadable_pattern};
