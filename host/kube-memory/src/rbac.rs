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
        match judge(user, attributes, objects) {
            Ok(grant) => Decision::Allowed(grant.reason()),
            Err(reason) => Decision::Denied(reason),
        }
    }

    fn denial(&self, user: &User, attributes: &Attributes, objects: &Objects<'_>) -> Option<String> {
        judge(user, attributes, objects).err()
    }
}

/// What allows something.
enum Grant<'a> {
    /// The group that may do everything.
    Masters,
    /// A role that a server always has for everybody.
    Everybody(&'static str),
    /// A binding of that kind in that namespace, and the subject of it.
    Binding { binding: &'a Value, word: &'static str, namespace: &'a str, subject: &'a Value },
}

impl Grant<'_> {
    fn reason(&self) -> String {
        match self {
            Self::Masters => String::new(),
            Self::Everybody(role) => format!(
                "RBAC: allowed by ClusterRoleBinding {role:?} of ClusterRole {role:?} to Group \"system:authenticated\""
            ),
            Self::Binding { binding, word, namespace, subject } => {
                format!("RBAC: allowed by {word} {}", told(binding, subject, namespace))
            }
        }
    }
}

/// What allows it, or why nothing does.
fn judge<'a>(user: &User, attributes: &'a Attributes, objects: &Objects<'a>) -> Result<Grant<'a>, String> {
    if user.groups().iter().any(|group| group == MASTERS) {
        return Ok(Grant::Masters);
    }
    if let Some(role) = for_everybody(user, attributes) {
        return Ok(Grant::Everybody(role));
    }
    let asked = Asked { user, attributes, objects };
    let mut missing = Vec::new();
    for (binding, word, namespace) in bindings(attributes, objects) {
        match asked.granted_by(binding, namespace) {
            Granted::By(subject) => return Ok(Grant::Binding { binding, word, namespace, subject }),
            Granted::MissingRole(error) => missing.push(error),
            Granted::No => {}
        }
    }
    Err(reason_of(&missing))
}

/// The bindings that may count, those of the cluster first, with their kind and namespace.
fn bindings<'a>(
    attributes: &'a Attributes,
    objects: &Objects<'a>,
) -> impl Iterator<Item = (&'a Value, &'static str, &'a str)> + use<'a> {
    let namespace = attributes.namespace.as_str();
    let inside =
        if namespace.is_empty() { Vec::new() } else { objects.list(GROUP, "rolebindings", namespace) };
    let everywhere = objects.list(GROUP, "clusterrolebindings", "").into_iter();
    let everywhere = everywhere.map(|binding| (binding.as_ref(), "ClusterRoleBinding", ""));
    everywhere.chain(inside.into_iter().map(move |binding| (binding.as_ref(), "RoleBinding", namespace)))
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

struct Asked<'a, 'o> {
    user: &'a User,
    attributes: &'a Attributes,
    objects: &'a Objects<'o>,
}

impl Asked<'_, '_> {
    /// What a binding in a namespace (or, when that is empty, for the whole cluster) grants.
    fn granted_by<'b>(&self, binding: &'b Value, namespace: &str) -> Granted<'b> {
        let mut subjects = binding.get("subjects").and_then(Value::as_array).into_iter().flatten();
        let Some(subject) = subjects.find(|subject| is_meant(self.user, subject, namespace)) else {
            return Granted::No;
        };
        let (singular, plural, place) = match text(binding, &["roleRef", "kind"]) {
            "ClusterRole" => ("clusterrole", "clusterroles", ""),
            _ => ("role", "roles", namespace),
        };
        let name = text(binding, &["roleRef", "name"]);
        let Some(role) = self.objects.get(GROUP, plural, place, name) else {
            return Granted::MissingRole(format!("{singular}.{GROUP} {name:?} not found"));
        };
        let mut rules = role.get("rules").and_then(Value::as_array).into_iter().flatten();
        if rules.any(|rule| allows(rule, self.attributes)) { Granted::By(subject) } else { Granted::No }
    }
}

/// A binding and its subject in the words of the reason, after the word for the binding.
fn told(binding: &Value, subject: &Value, namespace: &str) -> String {
    let name = text(binding, &["metadata", "name"]);
    let name = if namespace.is_empty() { name.to_owned() } else { format!("{name}/{namespace}") };
    let (kind, role) = (text(binding, &["roleRef", "kind"]), text(binding, &["roleRef", "name"]));
    format!("{name:?} of {kind} {role:?} to {}", described(subject, namespace))
}

fn is_meant(user: &User, subject: &Value, namespace: &str) -> bool {
    let name = text(subject, &["name"]);
    match text(subject, &["kind"]) {
        "User" => user.name() == name,
        "Group" => user.groups().iter().any(|group| group == name),
        "ServiceAccount" => {
            let own = text(subject, &["namespace"]);
            let namespace = if own.is_empty() { namespace } else { own };
            service_account(user.name()) == Some((namespace, name))
        }
        _ => false,
    }
}

fn described(subject: &Value, binding_namespace: &str) -> String {
    let (kind, name) = (text(subject, &["kind"]), text(subject, &["name"]));
    if kind != "ServiceAccount" {
        return format!("{kind} {name:?}");
    }
    let own = text(subject, &["namespace"]);
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
    let is_resource = |word: &str| match word.split_once('/') {
        _ if word == "*" => true,
        None => subresource.is_empty() && word == resource,
        Some((of, sub)) => sub == subresource && (of == "*" || of == resource),
    };
    // Most rules are about other groups.
    listed(rule, "apiGroups").any(|word| word == "*" || word == group)
        && listed(rule, "resources").any(is_resource)
        && listed(rule, "verbs").any(|word| word == "*" || word == verb)
        && (listed(rule, "resourceNames").next().is_none()
            || listed(rule, "resourceNames").any(|word| word == name))
}

fn listed<'a>(rule: &'a Value, key: &str) -> impl Iterator<Item = &'a str> {
    rule.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}
