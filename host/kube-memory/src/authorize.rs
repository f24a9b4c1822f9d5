//! Who may do what: users, what they ask for, and the hook that decides.
//!
//! In: a user and attributes of a request. Out: a [`Decision`], and the sentence of the 403 when it is a denial.
//! The same hook decides about requests, about impersonation (verb `impersonate`) and answers access reviews.

use crate::refusal::Refusal;
use crate::store::Objects;

/// The group whose members may do everything (`apiserver/pkg/authentication/user/user.go`).
pub(crate) const MASTERS: &str = "system:masters";
/// The group of everybody whom the server knows.
pub(crate) const AUTHENTICATED: &str = "system:authenticated";
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// Somebody who sends requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    name: String,
    groups: Vec<String>,
}

impl User {
    /// A user. A service account (`system:serviceaccount:NAMESPACE:NAME`) gets the groups that every one has, and
    /// everybody is in `system:authenticated`.
    pub fn new(name: impl Into<String>) -> Self {
        Self::with_groups(name, Vec::new())
    }

    /// A user with further groups.
    pub fn with_groups(name: impl Into<String>, mut groups: Vec<String>) -> Self {
        let name = name.into();
        if let Some((namespace, _)) = service_account(&name) {
            groups.push("system:serviceaccounts".to_owned());
            groups.push(format!("system:serviceaccounts:{namespace}"));
        }
        groups.push(AUTHENTICATED.to_owned());
        Self { name, groups }
    }

    /// With exactly these groups, as an access review names them.
    pub(crate) fn exactly(name: impl Into<String>, groups: Vec<String>) -> Self {
        Self { name: name.into(), groups }
    }

    /// Who may do everything whatever the roles say: `admin` of group `system:masters`.
    pub fn admin() -> Self {
        Self::with_groups("admin", vec![MASTERS.to_owned()])
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All groups.
    pub fn groups(&self) -> &[String] {
        &self.groups
    }
}

/// Namespace and name of a service account's user name.
pub(crate) fn service_account(user: &str) -> Option<(&str, &str)> {
    user.strip_prefix(SERVICE_ACCOUNT)?.split_once(':')
}

/// What somebody wants to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `get`, `create`, `promote`, `impersonate` and so on.
    pub verb: String,
    /// API group.
    pub group: String,
    /// Plural resource.
    pub resource: String,
    /// Subresource, or empty.
    pub subresource: String,
    /// Namespace, or empty.
    pub namespace: String,
    /// Name, or empty.
    pub name: String,
    /// The path, of what is no resource; then all of the above but the verb are empty.
    pub path: String,
}

impl Attributes {
    /// The refusal of exactly this (`apiserver/pkg/endpoints/handlers/responsewriters/errors.go`).
    pub(crate) fn refusal(&self, user: &str, reason: &str) -> Refusal {
        let sentence = self.sentence(user);
        // The server writes no error that looks like HTML.
        let mut sentence = sentence.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        if !reason.is_empty() {
            sentence.push_str(&format!(": {reason}"));
        }
        Refusal::forbidden(&self.group, &self.resource, &self.name, &sentence)
    }

    fn sentence(&self, user: &str) -> String {
        let Self { verb, group, resource, subresource, namespace, path, .. } = self;
        if !path.is_empty() {
            return format!("User {user:?} cannot {verb} path {path:?}");
        }
        let resource =
            if subresource.is_empty() { resource.clone() } else { format!("{resource}/{subresource}") };
        let place = if namespace.is_empty() {
            "at the cluster scope".to_owned()
        } else {
            format!("in the namespace {namespace:?}")
        };
        format!("User {user:?} cannot {verb} resource {resource:?} in API group {group:?} {place}")
    }
}

/// The answer to whether somebody may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Yes, and by which rule; access reviews show it.
    Allowed(String),
    /// No, and why, if there is more to say than that nothing allows it.
    Denied(String),
}

impl Decision {
    /// Whether it is a yes.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed(_))
    }
}

/// Decides who may do what. It must be a function of its arguments.
pub trait Authorizer: Send + Sync {
    /// Whether `user` may do what `attributes` say, with the objects as they are now.
    fn decide(&self, user: &User, attributes: &Attributes, objects: &Objects<'_>) -> Decision;

    /// Why not; `None` when `user` may. What [`Authorizer::decide`] says, for whoever does not want to know by which rule.
    fn denial(&self, user: &User, attributes: &Attributes, objects: &Objects<'_>) -> Option<String> {
        match self.decide(user, attributes, objects) {
            Decision::Allowed(_) => None,
            Decision::Denied(reason) => Some(reason),
        }
    }
}

/// The authorizer with what it decides by.
#[derive(Clone, Copy)]
pub(crate) struct Rights<'a> {
    pub(crate) authorizer: &'a dyn Authorizer,
    pub(crate) objects: Objects<'a>,
}

impl Rights<'_> {
    pub(crate) fn decide(&self, user: &User, attributes: &Attributes) -> Decision {
        self.authorizer.decide(user, attributes, &self.objects)
    }

    /// Refuses what is not allowed.
    pub(crate) fn check(&self, user: &User, wanted: &Attributes) -> Result<(), Refusal> {
        match self.authorizer.denial(user, wanted, &self.objects) {
            None => Ok(()),
            Some(reason) => Err(wanted.refusal(user.name(), &reason)),
        }
    }
}

/// Allows everything to everybody.
#[derive(Clone, Copy, Debug)]
pub struct Everything;

impl Authorizer for Everything {
    fn decide(&self, _: &User, _: &Attributes, _: &Objects<'_>) -> Decision {
        Decision::Allowed(String::new())
    }
}
