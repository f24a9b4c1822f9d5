//! Access reviews: questions to the authorizer that are asked as objects.
//!
//! In: a SubjectAccessReview or SelfSubjectAccessReview. Out: the same with its status.
//! Source: `kubernetes/pkg/registry/authorization/subjectaccessreview/rest.go`.

use serde_json::{Value, json};

use crate::authorize::{Attributes, Decision, Rights, User};
use crate::metadata::text;
use crate::refusal::{Problem, Refusal};

pub(crate) const GROUP: &str = "authorization.k8s.io";

/// Whose access is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The one that the review names.
    Named,
    /// The one who asks.
    Sender,
}

impl Subject {
    /// By the resource that is posted to.
    pub(crate) fn of(resource: &str) -> Option<Self> {
        match resource {
            "subjectaccessreviews" => Some(Self::Named),
            "selfsubjectaccessreviews" => Some(Self::Sender),
            _ => None,
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Named => "SubjectAccessReview",
            Self::Sender => "SelfSubjectAccessReview",
        }
    }
}

/// Answers a review.
pub(crate) fn answer(
    review: &Value,
    subject: Subject,
    sender: &User,
    rights: Rights<'_>,
) -> Result<Value, Refusal> {
    let spec = review.get("spec").cloned().unwrap_or_else(|| json!({}));
    let Some(attributes) = attributes(&spec) else {
        let detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
        let problem = Problem::invalid("spec.resourceAttributes", Value::Null, detail);
        return Err(Refusal::invalid(GROUP, subject.kind(), "", &[problem]));
    };
    let user = match subject {
        Subject::Sender => sender.clone(),
        Subject::Named => {
            let groups = spec.get("groups").and_then(Value::as_array).into_iter().flatten();
            let groups = groups.filter_map(Value::as_str).map(str::to_owned).collect();
            User::exactly(text(&spec, &["user"]), groups)
        }
    };
    let mut status = json!({"allowed": false});
    let reason = match rights.decide(&user, &attributes) {
        Decision::Allowed(reason) => {
            status = json!({"allowed": true});
            reason
        }
        Decision::Denied(reason) => reason,
    };
    if let (false, Some(status)) = (reason.is_empty(), status.as_object_mut()) {
        status.insert("reason".to_owned(), reason.into());
    }
    Ok(json!({"apiVersion": "authorization.k8s.io/v1", "kind": subject.kind(),
        "metadata": {}, "spec": spec, "status": status}))
}

fn attributes(spec: &Value) -> Option<Attributes> {
    let of = |key: &str, name: &str| text(spec, &[key, name]).to_owned();
    if spec.get("resourceAttributes").is_some() {
        let of = |name| of("resourceAttributes", name);
        return Some(Attributes {
            verb: of("verb"),
            group: of("group"),
            resource: of("resource"),
            subresource: of("subresource"),
            namespace: of("namespace"),
            name: of("name"),
            path: String::new(),
        });
    }
    spec.get("nonResourceAttributes")?;
    let of = |name| of("nonResourceAttributes", name);
    Some(Attributes { verb: of("verb"), path: of("path"), ..Attributes::default() })
}
