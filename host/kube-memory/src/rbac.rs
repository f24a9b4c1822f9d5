//! Role-based access control over the Roles and bindings that the server stores.
//!
//! In: a user, attributes, the stored `rbac.authorization.k8s.io` objects. Out: a decision with its reason in the
//! server's words.
//! Source: `kubernetes/pkg/registry/rbac/validation/rule.go`, `pkg/apis/rbac/v1/evaluation_helpers.go`. Aggregated
//! ClusterRoles are not filled in, and nothing keeps people from granting more than they have.

use serde_json::Value;

use crate::authorize::{AUTHENTICATED, Attributes, Authorizer, Decision, MASTERS, User, service_account};
use crate::metadata::text;
use crate::store::Objects;

const GROUP: &str = "rbac.authorization.k8s.io";

/// Decides by stored Roles. Members of `system:masters` may do everything.
#[derive(Clone, Copy, Debug)]
pub struct Rbac;

impl Authorizer for Rbac {
    fn decide(&self, user: &User, attributes: &Attributes, objects: &Objects<'_>) -> Decision {
        if user.groups().iter().any(|group| group == MASTERS) {
            return Decision::Allowed(String::new());
        }
        if let Some(role) = for_everybody(user, attributes) {
            return allowed(&format!(
                "ClusterRoleBinding {role:?} of ClusterRole {role:?} to Group \"system:authenticated\""
            ));
        }
        let mut missing = Vec::new();
        for binding in objects.list(GROUP, "clusterrolebindings", "") {
            let describe = |subject| {
                let (name, kind, role) = reference(binding);
                format!("ClusterRoleBinding {name:?} of {kind} {role:?} to {}", described(subject, ""))
            };
            match grants(user, binding, "", attributes, objects) {
                Granted::By(subject) => return allowed(&describe(subject)),
                Granted::MissingRole(error) => missing.push(error),
                Granted::No => {}
            }
        }
        if !attributes.namespace.is_empty() {
            for binding in objects.list(GROUP, "rolebindings", &attributes.namespace) {
                let namespace = &attributes.namespace;
                let describe = |subject| {
                    let (name, kind, role) = reference(binding);
                    let name = format!("{name}/{namespace}");
                    format!("RoleBinding {name:?} of {kind} {role:?} to {}", described(subject, namespace))
                };
                match grants(user, binding, namespace, attributes, objects) {
                    Granted::By(subject) => return allowed(&describe(subject)),
                    Granted::MissingRole(error) => missing.push(error),
                    Granted::No => {}
                }
            }
        }
        Decision::Denied(reason_of(&missing))
    }
}

/// The roles that a server always has, as far as they allow something to everybody here
/// (`kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy/policy.go`).
fn for_everybody(user: &User, attributes: &Attributes) -> Option<&'static str> {
    if !user.groups().iter().any(|group| group == AUTHENTICATED) {
        return None;
    }
    match (attributes.verb.as_str(), attributes.resource.as_str(), attributes.path.as_str()) {
        ("create", "selfsubjectaccessreviews", _) => Some("system:basic-user"),
        ("get", _, "/healthz" | "/livez" | "/readyz" | "/version") => Some("system:public-info-viewer"),
        _ => None,
    }
}

fn allowed(by: &str) -> Decision {
    Decision::Allowed(format!("RBAC: allowed by {by}"))
}

fn reason_of(missing: &[String]) -> String {
    match missing {
        [] => String::new(),
        [one] => format!("RBAC: {one}"),
        several => format!("RBAC: [{}]", several.join(", ")),
    }
}

enum Granted<'a> {
    By(&'a Value),
    MissingRole(String),
    No,
}

fn reference(binding: &Value) -> (&str, &str, &str) {
    (text(binding, "/metadata/name"), text(binding, "/roleRef/kind"), text(binding, "/roleRef/name"))
}

fn grants<'a>(
    user: &User,
    binding: &'a Value,
    namespace: &str,
    attributes: &Attributes,
    objects: &Objects<'_>,
) -> Granted<'a> {
    let subjects = binding.get("subjects").and_then(Value::as_array).into_iter().flatten();
    let Some(subject) = subjects.into_iter().find(|subject| is_meant(user, subject, namespace)) else {
        return Granted::No;
    };
    let (_, kind, name) = reference(binding);
    let (plural, place) = match kind {
        "ClusterRole" => ("clusterroles", ""),
        _ => ("roles", namespace),
    };
    let Some(role) = objects.get(GROUP, plural, place, name) else {
        let singular = plural.trim_end_matches('s');
        return Granted::MissingRole(format!("{singular}.{GROUP} {name:?} not found"));
    };
    let rules = role.get("rules").and_then(Value::as_array).into_iter().flatten();
    match rules.into_iter().any(|rule| allows(rule, attributes)) {
        true => Granted::By(subject),
        false => Granted::No,
    }
}

fn is_meant(user: &User, subject: &Value, namespace: &str) -> bool {
    let name = text(subject, "/name");
    match text(subject, "/kind") {
        "User" => user.name() == name,
        "Group" => user.groups().iter().any(|group| group == name),
        "ServiceAccount" => {
            let own = text(subject, "/namespace");
            let namespace = if own.is_empty() { namespace } else { own };
            service_account(user.name()) == Some((namespace, name))
        }
        _ => false,
    }
}

fn described(subject: &Value, binding_namespace: &str) -> String {
    let (kind, name) = (text(subject, "/kind"), text(subject, "/name"));
    if kind != "ServiceAccount" {
        return format!("{kind} {name:?}");
    }
    let own = text(subject, "/namespace");
    let namespace = if own.is_empty() { binding_namespace } else { own };
    format!("{kind} {:?}", format!("{name}/{namespace}"))
}

fn allows(rule: &Value, attributes: &Attributes) -> bool {
    let Attributes { verb, group, resource, subresource, name, path, .. } = attributes;
    if !path.is_empty() {
        let covers = |pattern: &str| {
            pattern == "*"
                || pattern == path
                || pattern.strip_suffix('*').is_some_and(|start| path.starts_with(start))
        };
        return listed(rule, "verbs").any(|word| word == "*" || word == verb)
            && listed(rule, "nonResourceURLs").any(covers);
    }
    let whole = if subresource.is_empty() { resource.clone() } else { format!("{resource}/{subresource}") };
    let is_resource = |word: &str| {
        word == "*"
            || word == whole
            || (!subresource.is_empty() && word.strip_prefix("*/").is_some_and(|sub| sub == subresource))
    };
    listed(rule, "verbs").any(|word| word == "*" || word == verb)
        && listed(rule, "apiGroups").any(|word| word == "*" || word == group)
        && listed(rule, "resources").any(is_resource)
        && (listed(rule, "resourceNames").next().is_none()
            || listed(rule, "resourceNames").any(|word| word == name))
}

fn listed<'a>(rule: &'a Value, key: &str) -> impl Iterator<Item = &'a str> {
    rule.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}
