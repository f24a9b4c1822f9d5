//! Kargo's admission webhooks for Promotions, Stages and Freight, and policies that people put beside them.
//! In go an AdmissionReview's request and the world, out comes the changed object or a [`Denial`]; whether the user
//! may promote is asked by the caller and comes in as a value. Dry run makes no difference to any answer.
//! It must not store anything.

mod crd;
mod denial;
mod freeze;
mod freight;
mod inflate;
mod intent;
mod printed;
mod promotion;
pub mod request;
mod stage;
mod subscriptions;

pub use crd::check_promotion;
pub use denial::{Denial, FREIGHT_WEBHOOK, Fault, PROMOTION_WEBHOOK, STAGE_WEBHOOK};
pub use freeze::{Freeze, Reason};
pub use freight::{mutate_freight, validate_freight};
pub use promotion::{AccessReview, mutate_promotion, promote_review, validate_promotion};
pub use request::{AdmissionRequest, BadReview, ControlPlane, Operation, User};
pub use stage::{mutate_stage, validate_stage};

/// The answer to a SubjectAccessReview.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The user may.
    Allowed,
    /// The user may not.
    Denied,
}
