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
    /// 422: fields say what can't be.
    Invalid {
        /// `Promotion`, `Stage` or `Freight`.
        kind: &'static str,
        /// The object's name; empty while it has none.
        name: String,
        /// What is wrong, at least one thing.
        faults: Vec<Fault>,
    },
    /// 403: the user may not, or nobody may.
    Forbidden {
        /// `Promotion` or `freights`.
        kind: &'static str,
        /// The object's name.
        name: String,
        /// Why not.
        problem: String,
    },
    /// 409: something else has what it asks for.
    Conflict {
        /// The resource, in the plural.
        resource: &'static str,
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

/// One field that says what can't be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The field's path.
    pub field: String,
    /// The value, as Kargo prints it: quoted text or JSON.
    pub value: String,
    /// What is wrong with it.
    pub problem: String,
}

impl Fault {
    /// A fault of a text.
    pub(super) fn quoting(field: &str, value: &str, problem: String) -> Self {
        Self { field: field.to_owned(), value: format!("{value:?}"), problem }
    }

    /// What is wrong, without the field's path.
    fn body(&self) -> String {
        format!("Invalid value: {}: {}", self.value, self.problem)
    }
}

impl Denial {
    /// 422 for one field.
    pub fn invalid(kind: &'static str, name: &str, fault: Fault) -> Self {
        Self::Invalid { kind, name: name.to_owned(), faults: vec![fault] }
    }

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
            Self::Conflict { .. } => 409,
            Self::NotFound { .. } => 404,
            Self::Internal { .. } => 500,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "Invalid",
            Self::Forbidden { .. } => "Forbidden",
            Self::Conflict { .. } => "Conflict",
            Self::NotFound { .. } => "NotFound",
            Self::Internal { .. } => "InternalError",
        }
    }

    /// The text, without what the API server puts in front.
    pub fn message(&self) -> String {
        match self {
            Self::Invalid { kind, name, faults } => {
                format!("{kind}.{GROUP} {name:?} is invalid: {}", together(faults))
            }
            Self::Forbidden { kind, name, problem } => {
                format!("{kind}.{GROUP} {name:?} is forbidden: {problem}")
            }
            Self::Conflict { resource, name, problem } => {
                format!("Operation cannot be fulfilled on {resource}.{GROUP} {name:?}: {problem}")
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
            Self::Invalid { kind, name, faults } => {
                let mut details = named(kind, GROUP, name);
                let cause = |fault: &Fault| json!({ "reason": "FieldValueInvalid", "message": fault.body(), "field": fault.field });
                put(&mut details, &["causes"], faults.iter().map(cause).collect());
                details
            }
            Self::Forbidden { kind, name, problem: _ } => named(kind, GROUP, name),
            Self::Conflict { resource, name, problem: _ } => named(resource, GROUP, name),
            Self::NotFound { kind, group, name } => named(kind, group, name),
            Self::Internal { problem } => json!({ "causes": [{ "message": problem }] }),
        }
    }
}

/// One fault plainly, several as a list.
fn together(faults: &[Fault]) -> String {
    let texts: Vec<String> =
        faults.iter().map(|fault| format!("{}: {}", fault.field, fault.body())).collect();
    match texts.as_slice() {
        [text] => text.clone(),
        texts => format!("[{}]", texts.join(", ")),
    }
}
