//! What a webhook is asked, who counts as Kargo's own control plane, and the requests that people put in annotations.
//! In go JSON and text, out come typed requests. It must not decide about them.
//! Sources: `pkg/webhook/kubernetes/` (`IsRequestFromKargoControlplane`), `api/v1alpha1/request.go`.

use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::object::{list, text};

/// What is done to the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A new object.
    Create,
    /// A changed object.
    Update,
    /// An object that goes away.
    Delete,
}

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// The user name.
    pub name: String,
    /// Its groups.
    pub groups: Vec<String>,
}

impl User {
    /// A user without groups.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), groups: Vec::new() }
    }

    /// How Kargo names this user in annotations and messages.
    pub fn actor(&self) -> String {
        format!("kubernetes:{}", self.name)
    }
}

/// The part of an AdmissionReview that Kargo looks at.
#[derive(Clone, Debug, PartialEq)]
pub struct AdmissionRequest {
    /// What is done.
    pub operation: Operation,
    /// Who does it.
    pub user: User,
    /// The namespace, which is the Project.
    pub namespace: String,
    /// The object as it would become; null on delete.
    pub object: Value,
    /// The object as it is; null on create.
    pub old_object: Value,
}

/// An AdmissionReview that can't be read.
#[derive(Debug, thiserror::Error)]
pub enum BadReview {
    /// It has no request.
    #[error("the AdmissionReview has no `request`")]
    NoRequest,
    /// Kargo's webhooks do not take this operation.
    #[error("the AdmissionReview asks for operation `{0}`")]
    Operation(String),
}

impl AdmissionRequest {
    /// Reads an `admission.k8s.io/v1` AdmissionReview.
    ///
    /// # Errors
    /// [`BadReview`] when it has no request or names an operation that is none of create, update and delete.
    pub fn from_review(review: &Value) -> Result<Self, BadReview> {
        let request = review.get("request").ok_or(BadReview::NoRequest)?;
        let operation = match text(request, &["operation"]) {
            "CREATE" => Operation::Create,
            "UPDATE" => Operation::Update,
            "DELETE" => Operation::Delete,
            other => return Err(BadReview::Operation(other.to_owned())),
        };
        let groups = list(request, &["userInfo", "groups"]);
        Ok(Self {
            operation,
            user: User {
                name: text(request, &["userInfo", "username"]).to_owned(),
                groups: groups.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            },
            namespace: text(request, &["namespace"]).to_owned(),
            object: request.get("object").cloned().unwrap_or_default(),
            old_object: request.get("oldObject").cloned().unwrap_or_default(),
        })
    }

    /// The object that the request is about: the old one when it is being deleted.
    pub fn subject(&self) -> &Value {
        match self.operation {
            Operation::Create | Operation::Update => &self.object,
            Operation::Delete => &self.old_object,
        }
    }
}

/// Which users are Kargo itself.
#[derive(Clone, Debug)]
pub struct ControlPlane(Members);

#[derive(Clone, Debug)]
enum Members {
    /// The chart's default: these accounts in the namespace `kargo`.
    Chart,
    /// An operator's own expression.
    Matching(Regex),
}

/// Accounts of the chart's default expression (`charts/kargo/templates/_helpers.tpl:117-136`).
const CHART_ACCOUNTS: [&str; 4] =
    ["kargo-api", "kargo-controller", "kargo-garbage-collector", "kargo-management-controller"];

/// The user as which Kargo's controllers write.
pub const CONTROLLER: &str = "system:serviceaccount:kargo:kargo-controller";
/// The user as which its garbage collector deletes.
pub const GARBAGE_COLLECTOR: &str = "system:serviceaccount:kargo:kargo-garbage-collector";

impl Default for ControlPlane {
    fn default() -> Self {
        Self(Members::Chart)
    }
}

impl ControlPlane {
    /// The users whose name matches `expression` (`CONTROLPLANE_USER_REGEX`).
    ///
    /// # Errors
    /// When the expression can't be read.
    pub fn matching(expression: &str) -> Result<Self, regex::Error> {
        Regex::new(expression).map(|regex| Self(Members::Matching(regex)))
    }

    /// Which side `user` is on.
    pub fn sender(&self, user: &User) -> Sender {
        let inside = match &self.0 {
            Members::Chart => user
                .name
                .strip_prefix("system:serviceaccount:kargo:")
                .is_some_and(|account| CHART_ACCOUNTS.contains(&account)),
            Members::Matching(regex) => regex.is_match(&user.name),
        };
        if inside { Sender::ControlPlane } else { Sender::User }
    }
}

/// Who is behind a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sender {
    /// Anybody else, ServiceAccounts included.
    #[default]
    User,
    /// Kargo itself.
    ControlPlane,
}

impl Sender {
    fn is_user(&self) -> bool {
        *self == Self::User
    }
}

impl Serialize for Sender {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(*self == Self::ControlPlane)
    }
}

impl<'de> Deserialize<'de> for Sender {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        bool::deserialize(deserializer).map(|control_plane| match control_plane {
            true => Self::ControlPlane,
            false => Self::User,
        })
    }
}

/// A request to abort a Promotion, in an annotation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbortRequest {
    /// Always `terminate`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub action: String,
    /// Who asked.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub actor: String,
    /// Whether Kargo itself asked.
    #[serde(default, rename = "controlPlane", skip_serializing_if = "Sender::is_user")]
    pub sender: Sender,
}

impl AbortRequest {
    /// Reads the annotation: JSON, or the bare action. `None` when it asks for nothing.
    pub fn parse(text: &str) -> Option<Self> {
        let bare = || Self { action: text.to_owned(), ..Self::default() };
        let request = serde_json::from_str(text).unwrap_or_else(|_| bare());
        (!request.action.is_empty()).then_some(request)
    }

    /// The annotation's text.
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The request as the webhook stores it when `user` sends it: a forged actor is replaced.
    #[must_use]
    pub fn sent_by(mut self, user: &User, sender: Sender) -> Self {
        self.sender = sender;
        if sender == Sender::User {
            self.actor = user.actor();
        }
        self
    }
}

/// A request to verify again, or to abort a verification, in an annotation of a Stage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerificationRequest {
    /// The verification meant; any other text is kept too and has effects of its own (capture
    /// `e/forced-fresh-run-on-rollback`).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// Who asked.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub actor: String,
    /// Whether Kargo itself asked.
    #[serde(default, rename = "controlPlane", skip_serializing_if = "Sender::is_user")]
    pub sender: Sender,
}

impl VerificationRequest {
    /// Reads the annotation: JSON, or the bare id. `None` when it names nothing.
    pub fn parse(text: &str) -> Option<Self> {
        let bare = || Self { id: text.to_owned(), ..Self::default() };
        let request = serde_json::from_str(text).unwrap_or_else(|_| bare());
        (!request.id.is_empty()).then_some(request)
    }

    /// The annotation's text.
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Whether it means the verification `id`.
    pub fn is_for(&self, id: &str) -> bool {
        !self.id.is_empty() && self.id == id
    }

    /// Whether Kargo itself asked.
    pub fn is_from_control_plane(&self) -> bool {
        self.sender == Sender::ControlPlane
    }

    /// The request as the webhook stores it when `user` sends it.
    #[must_use]
    pub fn sent_by(mut self, user: &User, sender: Sender) -> Self {
        self.sender = sender;
        if sender == Sender::User {
            self.actor = user.actor();
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_from_json_or_bare_text_and_forged_actors_are_replaced() {
        let forged =
            AbortRequest::parse(r#"{"action":"terminate","actor":"admin","controlPlane":true}"#).unwrap();
        let stored = forged.sent_by(&User::named("alice@example.com"), Sender::User);
        assert_eq!(stored.text(), r#"{"action":"terminate","actor":"kubernetes:alice@example.com"}"#);
        let fresh = VerificationRequest::parse("refloat-force-fresh").unwrap();
        assert_eq!(fresh.id, "refloat-force-fresh");
        assert_eq!(VerificationRequest::parse(""), None);
    }

    #[test]
    fn the_control_plane_is_the_charts_accounts_unless_an_expression_says_otherwise() {
        let chart = ControlPlane::default();
        assert_eq!(chart.sender(&User::named(CONTROLLER)), Sender::ControlPlane);
        assert_eq!(chart.sender(&User::named("system:serviceaccount:kargo:refloat")), Sender::User);
        let wide = ControlPlane::matching("^system:serviceaccount:").unwrap();
        assert_eq!(wide.sender(&User::named("system:serviceaccount:a:b")), Sender::ControlPlane);
    }
}
