//! Why a webhook refused, as Kargo says it: status code, reason, text and details.
//! In go the facts of the refusal, out comes the `Status` that the webhook answers or that a client sees.
//! Every text is compared with `f/responses.json`.

use serde_json::{Value, json};

use crate::names::GROUP;
use crate::object::{put, text};
use crate::world::Kind;

/// The name of Kargo's webhooks for Promotions, which the API server puts in front of their refusals.
pub const PROMOTION_WEBHOOK: &str = "promotion.kargo.akuity.io";
/// The name of Kargo's webhooks for Stages.
pub const STAGE_WEBHOOK: &str = "stage.kargo.akuity.io";
/// The name of Kargo's webhooks for Freight.
pub const FREIGHT_WEBHOOK: &str = "freight.kargo.akuity.io";

/// Where Kargo's webhook server was when the captures were made.
const SERVER: &str = "127.0.0.1:9443";

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// 422: a field says something that can't be.
    Invalid {
        /// `Promotion` or `Stage`.
        kind: &'static str,
        /// The object's name; empty while it has none.
        name: String,
        /// The field's path.
        field: &'static str,
        /// The value, as Kargo prints it: quoted text or JSON.
        value: String,
        /// What is wrong with it.
        problem: String,
    },
    /// 403: the user may not, or nobody may.
    Forbidden {
        /// `Promotion` or `Freight`.
        kind: &'static str,
        /// The object's name.
        name: String,
        /// Why not.
        problem: String,
    },
    /// 404: something referred to does not exist.
    NotFound {
        /// Its kind.
        kind: &'static str,
        /// Its API group, empty for core kinds.
        group: &'static str,
        /// Its name.
        name: String,
    },
    /// 500: everything else, including a missing permission on create and update.
    Internal {
        /// What went wrong.
        problem: String,
    },
}

impl Denial {
    /// What the API server says when it can't reach Kargo's webhook for `kind`; `verb` is `mutate` or `validate`
    /// (capture `l/webhooks-down`).
    pub fn unreachable(verb: &str, kind: Kind) -> Self {
        let resource = kind.name().to_lowercase();
        let url = format!("https://{SERVER}/{verb}-kargo-akuity-io-v1alpha1-{resource}?timeout=10s");
        Self::Internal {
            problem: format!(
                "failed calling webhook \"{resource}.{GROUP}\": failed to call webhook: Post {url:?}: dial tcp {SERVER}: \
                 connect: connection refused"
            ),
        }
    }

    /// HTTP status code.
    pub fn code(&self) -> u16 {
        match self {
            Self::Invalid { .. } => 422,
            Self::Forbidden { .. } => 403,
            Self::NotFound { .. } => 404,
            Self::Internal { .. } => 500,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "Invalid",
            Self::Forbidden { .. } => "Forbidden",
            Self::NotFound { .. } => "NotFound",
            Self::Internal { .. } => "InternalError",
        }
    }

    /// The text, without what the API server puts in front.
    pub fn message(&self) -> String {
        match self {
            Self::Invalid { kind, name, field, value, problem } => {
                format!("{kind}.{GROUP} {name:?} is invalid: {field}: Invalid value: {value}: {problem}")
            }
            Self::Forbidden { kind, name, problem } => {
                format!("{kind}.{GROUP} {name:?} is forbidden: {problem}")
            }
            Self::NotFound { kind, group: "", name } => format!("{kind} {name:?} not found"),
            Self::NotFound { kind, group, name } => format!("{kind}.{group} {name:?} not found"),
            Self::Internal { problem } => format!("Internal error occurred: {problem}"),
        }
    }

    /// The `Status` that the webhook answers.
    pub fn status(&self) -> Value {
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message(), "reason": self.reason(), "details": self.details(), "code": self.code(),
        })
    }

    /// The `Status` that the client gets from the API server when `webhook` refused.
    pub fn status_through(&self, webhook: &str) -> Value {
        let mut status = self.status();
        let message =
            format!("admission webhook {webhook:?} denied the request: {}", text(&status, &["message"]));
        put(&mut status, &["message"], Value::String(message));
        status
    }

    fn details(&self) -> Value {
        let named = |kind: &str, group: &str, name: &str| {
            let mut details = json!({ "kind": kind });
            for (key, value) in [("name", name), ("group", group)] {
                if !value.is_empty() {
                    put(&mut details, &[key], json!(value));
                }
            }
            details
        };
        match self {
            Self::Invalid { kind, name, field, value, problem } => {
                let mut details = named(kind, GROUP, name);
                let message = format!("Invalid value: {value}: {problem}");
                let cause = json!({ "reason": "FieldValueInvalid", "message": message, "field": field });
                put(&mut details, &["causes"], json!([cause]));
                details
            }
            Self::Forbidden { kind, name, problem: _ } => named(kind, GROUP, name),
            Self::NotFound { kind, group, name } => named(kind, group, name),
            Self::Internal { problem } => json!({ "causes": [{ "message": problem }] }),
        }
    }
}
