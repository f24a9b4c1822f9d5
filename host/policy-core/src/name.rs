//! Identities as types, so that a Stage's name is never taken for a Freight's.
//!
//! In: text from Kubernetes objects. Out: newtypes that compare, hash and print as that text.
//! Nothing is validated here: these names come from objects that an API server has accepted.

use serde::{Deserialize, Serialize};

macro_rules! identity {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Wraps a text that is known to be such a name.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }
    )+};
}

identity! {
    /// A Project, which is also the name of its namespace.
    ProjectName,
    /// A Stage within its Project.
    StageName,
    /// A Promotion within its Project. Kargo orders Promotions of one Stage by this text.
    PromotionName,
    /// A piece of Freight within its Project: 40 hexadecimal digits over its content.
    FreightName,
    /// Where Freight comes from, as `Warehouse/name`: Kargo's canonical key.
    Origin,
    /// The uid of a Kubernetes object.
    Uid,
    /// The id of one verification attempt (`VerificationInfo.id`).
    VerificationId,
    /// The identity of one observed failure, see [`crate::failure::Failure`].
    FailureId,
    /// The name of an Incident in its Project's namespace.
    IncidentName,
    /// `sha256:` and 64 hexadecimal digits.
    Digest,
}
