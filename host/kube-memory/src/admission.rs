//! Admission: the place where webhooks change, refuse or let through what is about to be stored.
//!
//! In: the request as a webhook sees it. Out: a changed object, or a refusal.
//! Order, as on the server: rights, then [`Admission::mutate`], then what the kind itself fills in and checks, then
//! [`Admission::validate`], then storing. Dry runs go through all of it but the last.

use serde_json::Value;

use crate::authorize::{Attributes, Decision, Rights, User};
use crate::refusal::Refusal;
use crate::resource::Resource;
use crate::store::Objects;

/// What is about to happen to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// It is new.
    Create,
    /// It changes.
    Update,
    /// It goes away.
    Delete,
}

/// A request as a webhook sees it.
#[derive(Clone, Copy)]
pub struct Review<'a> {
    /// What happens.
    pub operation: Operation,
    /// Kind of the object.
    pub resource: &'a Resource,
    /// `status`, or empty.
    pub subresource: &'a str,
    /// Namespace, or empty.
    pub namespace: &'a str,
    /// Name as far as it is known: empty on a create with `generateName`.
    pub name: &'a str,
    /// Who asks; the impersonated user if there is one.
    pub user: &'a User,
    /// Whether nothing is to be stored.
    pub dry_run: bool,
    /// The object as it is; `None` on a create.
    pub old: Option<&'a Value>,
    /// The other objects.
    pub objects: Objects<'a>,
    pub(crate) rights: Rights<'a>,
}

impl Review<'_> {
    /// Whether somebody may do something: the SubjectAccessReview that webhooks send.
    pub fn may(&self, user: &User, attributes: &Attributes) -> Decision {
        self.rights.decide(user, attributes)
    }
}

impl std::fmt::Debug for Review<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { operation, resource, namespace, name, .. } = self;
        write!(out, "{operation:?} {} {namespace}/{name}", resource.qualified())
    }
}

/// The webhooks of a server. They must be functions of their arguments: a simulation is repeated.
pub trait Admission: Send + Sync {
    /// Name of the webhook that is registered for such a request; `None` when there is none. Only then is it asked,
    /// and only such a request fails while webhooks are down ([`crate::ApiServer::set_webhooks_down`]).
    fn webhook(&self, review: &Review<'_>) -> Option<String>;

    /// Changes the object, its name included, or refuses. Not called for deletions.
    ///
    /// # Errors
    /// With the answer that the client gets.
    fn mutate(&self, _review: &Review<'_>, _object: &mut Value) -> Result<(), Refusal> {
        Ok(())
    }

    /// Refuses or lets through what will be stored. `object` is `None` for deletions.
    ///
    /// # Errors
    /// With the answer that the client gets.
    fn validate(&self, _review: &Review<'_>, _object: Option<&Value>) -> Result<(), Refusal> {
        Ok(())
    }
}
