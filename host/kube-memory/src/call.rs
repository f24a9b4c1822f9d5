//! A request taken apart: what it asks for, of which object, with which options.
//!
//! In: an HTTP request. Out: a [`Call`], whether or not such a resource exists.
//! Source: `apiserver/pkg/endpoints/request/requestinfo.go`.

use std::collections::BTreeMap;

use http::request::Parts;
use http::{HeaderName, Method, header};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::authorize::Attributes;

/// What is done to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Read one.
    Get,
    /// Read many.
    List,
    /// Follow changes.
    Watch,
    /// Store a new one.
    Create,
    /// Replace one.
    Update,
    /// Change one.
    Patch,
    /// Delete one.
    Delete,
    /// Delete many.
    DeleteCollection,
}

impl Verb {
    /// The word for it in roles and audit logs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }
}

/// A request taken apart.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// None for what is no resource.
    pub(crate) verb: Option<Verb>,
    /// Lower-case HTTP method.
    pub(crate) method: String,
    pub(crate) uri: String,
    pub(crate) path: String,
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) resource: String,
    pub(crate) subresource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) content_type: String,
    pub(crate) user_agent: String,
    pub(crate) impersonate: Option<Impersonated>,
    /// Whether only the metadata of objects is asked for.
    pub(crate) wants_metadata: bool,
    query: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// Whom the sender wants to be taken for.
#[derive(Clone, Debug)]
pub(crate) struct Impersonated {
    pub(crate) user: String,
    pub(crate) groups: Vec<String>,
}

impl Call {
    pub(crate) fn new(parts: &Parts, body: Vec<u8>) -> Self {
        let query: BTreeMap<String, String> =
            form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        let sent = |name: HeaderName| {
            let value = parts.headers.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let mut call = Self {
            verb: None,
            method: parts.method.as_str().to_lowercase(),
            uri: parts.uri.to_string(),
            path: parts.uri.path().to_owned(),
            group: String::new(),
            version: String::new(),
            resource: String::new(),
            subresource: String::new(),
            namespace: String::new(),
            name: String::new(),
            content_type: sent(header::CONTENT_TYPE),
            user_agent: sent(header::USER_AGENT),
            impersonate: impersonated(parts),
            wants_metadata: sent(header::ACCEPT).contains("as=PartialObjectMetadata"),
            query,
            body,
        };
        call.take_path_apart(&parts.method, parts.uri.path());
        call
    }

    fn take_path_apart(&mut self, method: &Method, path: &str) {
        let segments = path.trim_matches('/').split('/');
        let segments: Vec<_> =
            segments.map(|segment| percent_decode_str(segment).decode_utf8_lossy()).collect();
        let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
        let rest: &[&str] = match segments.as_slice() {
            ["api", version, rest @ ..] if !rest.is_empty() => {
                self.version = (*version).to_owned();
                rest
            }
            ["apis", group, version, rest @ ..] if !rest.is_empty() => {
                self.group = (*group).to_owned();
                self.version = (*version).to_owned();
                rest
            }
            _ => return,
        };
        let rest = match rest {
            // A namespace is also inside of itself, as far as rights are concerned.
            ["namespaces", namespace] | ["namespaces", namespace, "status" | "finalize"] => {
                self.namespace = (*namespace).to_owned();
                rest
            }
            ["namespaces", namespace, inside @ ..] => {
                self.namespace = (*namespace).to_owned();
                inside
            }
            _ => rest,
        };
        let part = |index: usize| rest.get(index).copied().unwrap_or_default().to_owned();
        (self.resource, self.name, self.subresource) = (part(0), part(1), part(2));
        self.verb = self.verb_of(method);
    }

    fn verb_of(&mut self, method: &Method) -> Option<Verb> {
        let is_one = !self.name.is_empty();
        Some(match *method {
            Method::GET | Method::HEAD if is_one => Verb::Get,
            Method::GET | Method::HEAD if self.is_set("watch") => Verb::Watch,
            Method::GET | Method::HEAD => Verb::List,
            Method::POST => Verb::Create,
            Method::PUT => Verb::Update,
            Method::PATCH => Verb::Patch,
            Method::DELETE if is_one => Verb::Delete,
            Method::DELETE => Verb::DeleteCollection,
            _ => return None,
        })
    }

    /// A parameter of the query; empty when it is not there.
    pub(crate) fn option(&self, name: &str) -> &str {
        self.query.get(name).map(String::as_str).unwrap_or_default()
    }

    /// Whether a parameter is true in Kubernetes' sense (`apimachinery/pkg/runtime/conversion.go`).
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.query.get(name).is_some_and(|value| !matches!(value.to_lowercase().as_str(), "false" | "0"))
    }

    /// Whether nothing is to be stored: said in the query or, for deletions, in the body.
    pub(crate) fn is_dry_run(&self) -> bool {
        self.option("dryRun") == "All"
            || (matches!(self.verb, Some(Verb::Delete | Verb::DeleteCollection))
                && self
                    .options_in_body()
                    .get("dryRun")
                    .is_some_and(|list| list.get(0).is_some_and(|one| one == "All")))
    }

    /// The `DeleteOptions` that were sent; null when there were none or they cannot be read.
    pub(crate) fn options_in_body(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The `timeout` that the server has to keep, in seconds.
    pub(crate) fn timeout(&self) -> Option<std::time::Duration> {
        let span: jiff::SignedDuration = self.option("timeout").parse().ok()?;
        span.try_into().ok()
    }

    /// What rights it needs.
    pub(crate) fn attributes(&self) -> Attributes {
        let Some(verb) = self.verb else {
            let path = self.path.clone();
            return Attributes { verb: self.method.clone(), path, ..Attributes::default() };
        };
        Attributes {
            verb: verb.word().to_owned(),
            group: self.group.clone(),
            resource: self.resource.clone(),
            subresource: self.subresource.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            path: String::new(),
        }
    }
}

fn impersonated(parts: &Parts) -> Option<Impersonated> {
    let user = parts.headers.get("impersonate-user")?.to_str().ok()?.to_owned();
    let groups = parts.headers.get_all("impersonate-group").iter();
    let groups = groups.filter_map(|group| group.to_str().ok()).map(str::to_owned).collect();
    Some(Impersonated { user, groups })
}
