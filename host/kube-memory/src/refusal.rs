//! Refusals, in kube-apiserver's words.
//!
//! In: what was refused and why. Out: a `Status` with its HTTP code.
//! Sources: `apimachinery/pkg/api/errors/errors.go` and, where a text is made elsewhere, the place named there.

use serde_json::{Map, Value, json};

use crate::resource::{Resource, dotted};

/// An answer that is no success: a `Status` and its HTTP code.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    code: u16,
    body: Value,
}

/// One field that is wrong.
pub(crate) struct Problem {
    /// `FieldValueInvalid` and so on (`apimachinery/pkg/util/validation/field/errors.go`).
    pub(crate) reason: &'static str,
    /// Path of the field.
    pub(crate) field: String,
    /// What is wrong with it.
    pub(crate) message: String,
}

impl Problem {
    /// The value is malformed.
    pub(crate) fn invalid(field: impl Into<String>, value: impl Into<Value>, detail: &str) -> Self {
        let message = format!("Invalid value: {}: {detail}", value.into());
        Self { reason: "FieldValueInvalid", field: field.into(), message }
    }

    /// The value must not be there.
    pub(crate) fn forbidden(field: &str, detail: &str) -> Self {
        Self {
            reason: "FieldValueForbidden",
            field: field.to_owned(),
            message: format!("Forbidden: {detail}"),
        }
    }

    /// The value must be there.
    pub(crate) fn required(field: &str, detail: &str) -> Self {
        let message = format!("Required value: {detail}");
        Self { reason: "FieldValueRequired", field: field.to_owned(), message }
    }
}

impl Refusal {
    /// A refusal as somebody else made it: a whole `Status` object. Its `code` becomes the HTTP code, 500 if there is
    /// none.
    pub fn from_status(status: Value) -> Self {
        let code = status.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
        Self { code: code.unwrap_or(500), body: status }
    }

    /// HTTP code.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The `Status` object.
    pub fn status(&self) -> &Value {
        &self.body
    }

    fn new(code: u16, reason: &str, message: String) -> Self {
        let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "reason": reason, "code": code});
        Self { code, body }
    }

    fn with_details(mut self, details: Value) -> Self {
        if let (Some(body), Value::Object(mut details)) = (self.body.as_object_mut(), details) {
            details.retain(|_, value| !value.as_str().is_some_and(str::is_empty));
            body.insert("details".to_owned(), Value::Object(details));
        }
        self
    }

    fn about(self, group: &str, kind: &str, name: &str) -> Self {
        self.with_details(json!({"name": name, "group": group, "kind": kind}))
    }

    fn with_detail(mut self, key: &str, value: Value) -> Self {
        let details = self.body.get_mut("details").and_then(Value::as_object_mut);
        if let Some(details) = details {
            details.insert(key.to_owned(), value);
        }
        self
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message.into())
    }

    pub(crate) fn not_found(resource: &Resource, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} {name:?} not found", resource.qualified())).about(
            &resource.group,
            &resource.plural,
            name,
        )
    }

    /// There is no such path.
    pub(crate) fn no_such_path() -> Self {
        let message = "the server could not find the requested resource".to_owned();
        Self::new(404, "NotFound", message).with_details(json!({}))
    }

    pub(crate) fn already_exists(resource: &Resource, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", resource.qualified());
        Self::new(409, "AlreadyExists", message).about(&resource.group, &resource.plural, name)
    }

    /// Somebody else was quicker.
    pub(crate) fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        Self::conflict_on(&resource.group, &resource.plural, name, why)
    }

    /// A conflict on something that the server names by its kind and not, as elsewhere, by its resource
    /// (`apiserver/pkg/registry/rest/delete.go`, `BeforeDelete`).
    pub(crate) fn conflict_on(group: &str, kind: &str, name: &str, why: &str) -> Self {
        let what = dotted(kind, group);
        Self::new(409, "Conflict", format!("Operation cannot be fulfilled on {what} {name:?}: {why}"))
            .about(group, kind, name)
    }

    /// The object breaks a rule. `kind` is the kind or, by a slip of the server's, sometimes the resource.
    pub(crate) fn invalid(group: &str, kind: &str, name: &str, problems: &[Problem]) -> Self {
        let mut listed: Vec<String> = Vec::new();
        for problem in problems {
            let line = format!("{}: {}", problem.field, problem.message);
            if !listed.contains(&line) {
                listed.push(line);
            }
        }
        let listed = match listed.as_slice() {
            [one] => one.clone(),
            several => format!("[{}]", several.join(", ")),
        };
        let causes: Vec<Value> = problems
            .iter()
            .map(|problem| json!({"reason": problem.reason, "message": problem.message, "field": problem.field}))
            .collect();
        Self::new(422, "Invalid", format!("{} {name:?} is invalid: {listed}", dotted(kind, group)))
            .about(group, kind, name)
            .with_detail("causes", Value::from(causes))
    }

    /// A JSON patch that does not fit.
    pub(crate) fn patch_does_not_apply() -> Self {
        let message = "the server rejected our request due to an error in our request".to_owned();
        Self::new(422, "Invalid", message).with_details(json!({}))
    }

    /// Not allowed, with the sentence that says what (`responsewriters/errors.go`).
    pub(crate) fn forbidden(group: &str, plural: &str, name: &str, sentence: &str) -> Self {
        let what = dotted(plural, group);
        let message = match (what.is_empty(), name.is_empty()) {
            (true, _) => format!("forbidden: {sentence}"),
            (false, true) => format!("{what} is forbidden: {sentence}"),
            (false, false) => format!("{what} {name:?} is forbidden: {sentence}"),
        };
        Self::new(403, "Forbidden", message).about(group, plural, name)
    }

    /// The namespace is going away: nothing new may come into it (the plugin `NamespaceLifecycle`).
    pub(crate) fn namespace_ends(resource: &Resource, name: &str, namespace: &str) -> Self {
        let sentence =
            format!("unable to create new content in namespace {namespace} because it is being terminated");
        let cause = format!("namespace {namespace} is being terminated");
        let causes =
            json!([{"reason": "NamespaceTerminating", "message": cause, "field": "metadata.namespace"}]);
        Self::forbidden(&resource.group, &resource.plural, name, &sentence).with_detail("causes", causes)
    }

    pub(crate) fn method_not_allowed(resource: &str, group: &str) -> Self {
        let message = "the server does not allow this method on the requested resource".to_owned();
        Self::new(405, "MethodNotAllowed", message).about(group, resource, "")
    }

    pub(crate) fn unsupported_media_type(accepted: &[&str]) -> Self {
        let accepted: Vec<String> = accepted.iter().map(|subtype| format!("application/{subtype}")).collect();
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        );
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// What a running Kargo does with one is no good base for a simulation.
    pub(crate) fn no_apply() -> Self {
        let message = "server-side apply is refused here: Kargo's webhook renames a Promotion after the API server \
            has chosen where to store it, so that an apply leaves a phantom that cannot be read by its name and blocks \
            its Stage for good; create with POST, change with PATCH";
        Self::new(415, "UnsupportedMediaType", message.to_owned())
    }

    /// What was asked for is gone; the client has to list again.
    pub(crate) fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message.into())
    }

    /// A watch from before the last compaction (`apiserver/pkg/storage/cacher/watch_cache.go`).
    pub(crate) fn too_old(asked: u64, oldest: u64) -> Self {
        Self::expired(format!("too old resource version: {asked} ({oldest})"))
    }

    /// A list from the future (`apiserver/pkg/storage/errors.go`).
    pub(crate) fn too_new(asked: u64, current: u64) -> Self {
        let message = format!("Timeout: Too large resource version: {asked}, current: {current}");
        let cause = json!({"reason": "ResourceVersionTooLarge", "message": "Too large resource version"});
        Self::new(504, "Timeout", message).with_details(json!({"causes": [cause], "retryAfterSeconds": 1}))
    }

    /// The request took longer than its `timeout` allows (`apiserver/pkg/endpoints/handlers/finisher`).
    pub fn timeout() -> Self {
        let message = "Timeout: request did not complete within the allotted timeout".to_owned();
        Self::new(504, "Timeout", message).with_details(json!({}))
    }

    /// An error that the server did not foresee: it has a code and a text, and no reason
    /// (`apiserver/pkg/endpoints/handlers/responsewriters/status.go`).
    pub(crate) fn plain_error(message: &str) -> Self {
        let mut refusal = Self::new(500, "", message.to_owned());
        if let Some(body) = refusal.body.as_object_mut() {
            body.remove("reason");
        }
        refusal
    }

    /// The same with something before its text.
    pub(crate) fn prefixed(mut self, prefix: &str) -> Self {
        let message = self.body.get("message").and_then(Value::as_str).unwrap_or_default();
        let message = format!("{prefix}{message}");
        if let Some(body) = self.body.as_object_mut() {
            body.insert("message".to_owned(), message.into());
        }
        self
    }

    /// The server's own trouble.
    pub fn internal(message: &str) -> Self {
        let mut cause = Map::new();
        cause.insert("message".to_owned(), message.into());
        Self::new(500, "InternalError", format!("Internal error occurred: {message}"))
            .with_details(json!({"causes": [cause]}))
    }

    /// A webhook that cannot be reached, with failure policy `Fail`
    /// (`apiserver/pkg/admission/plugin/webhook/mutating/dispatcher.go`).
    pub fn webhook_down(webhook: &str) -> Self {
        Self::internal(&format!(
            "failed calling webhook {webhook:?}: failed to call webhook: Post \"https://webhooks.invalid/\": dial tcp \
             127.0.0.1:443: connect: connection refused"
        ))
    }

    /// The server has too much to do (HTTP 429, priority and fairness).
    pub fn too_many_requests() -> Self {
        let message = "too many requests, please try again later".to_owned();
        Self::new(429, "TooManyRequests", message).with_details(json!({"retryAfterSeconds": 1}))
    }
}
