//! What a server was asked, by whom, and what came of it: what tests and simulations count.
//!
//! In: requests as the server saw them. Out: filters and counts, in the terms of an audit log, so that the same
//! questions can be asked of this server and of a real one.
//! Must not ask the server or its clients anything.

use std::fmt;
use std::sync::Arc;

/// Verbs that can change something.
pub const WRITE_VERBS: [&str; 5] = ["create", "update", "patch", "delete", "deletecollection"];
/// Questions that are asked by `create` and store nothing.
const REVIEW_GROUPS: [&str; 2] = ["authorization.k8s.io", "authentication.k8s.io"];
/// The server gave up waiting; what was asked for may have happened all the same.
const TIMED_OUT: u16 = 504;

/// One request that the server has finished, or, for a watch, begun to answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// Who sent it.
    pub user: String,
    /// As whom, when the sender impersonated somebody.
    pub impersonated_user: Option<String>,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`; lower-case HTTP method for
    /// what is no resource.
    pub verb: String,
    /// API group; empty for the core group and for what is no resource.
    pub group: String,
    /// Plural resource; empty for what is no resource.
    pub resource: String,
    /// `status` and so on, or empty.
    pub subresource: String,
    /// Empty for what has none.
    pub namespace: String,
    /// The name in the path or, for a create, the one in the object sent; empty if none.
    pub name: String,
    /// Whether nothing was to be stored.
    pub dry_run: bool,
    /// HTTP status of the answer, whether or not it reached the client.
    pub code: u16,
    /// Path and query.
    pub uri: String,
    /// What the client calls itself.
    pub user_agent: String,
    /// The object or patch sent with a write, as JSON; empty otherwise.
    pub sent: String,
    /// When it arrived, RFC 3339.
    pub at: String,
}

impl Request {
    /// Whether it may have changed something: a writing verb, not a dry run, and answered with success or with a
    /// timeout.
    pub fn is_write(&self) -> bool {
        self.is_write_attempt()
            && !self.dry_run
            && ((200..300).contains(&self.code) || self.code == TIMED_OUT)
    }

    /// Whether it asked for a change, dry runs and refused ones included. Reviews (`selfsubjectaccessreviews` and
    /// so on) ask for none.
    pub fn is_write_attempt(&self) -> bool {
        WRITE_VERBS.contains(&self.verb.as_str()) && !REVIEW_GROUPS.contains(&self.group.as_str())
    }

    /// Whom the server took the sender for: the impersonated user if there is one.
    pub fn actor(&self) -> &str {
        self.impersonated_user.as_deref().unwrap_or(&self.user)
    }
}

impl fmt::Display for Request {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {} {}", self.at, self.code, self.user)?;
        if let Some(target) = &self.impersonated_user {
            write!(out, " as {target}")?;
        }
        write!(out, " {}{} {}", self.verb, if self.dry_run { " (dry run)" } else { "" }, self.uri)
    }
}

/// Some requests, in the order in which they ended. Filters return fewer of them.
#[derive(Clone, Debug, Default)]
pub struct Requests(Vec<Arc<Request>>);

impl FromIterator<Request> for Requests {
    fn from_iter<I: IntoIterator<Item = Request>>(requests: I) -> Self {
        requests.into_iter().map(Arc::new).collect()
    }
}

impl FromIterator<Arc<Request>> for Requests {
    fn from_iter<I: IntoIterator<Item = Arc<Request>>>(requests: I) -> Self {
        Self(requests.into_iter().collect())
    }
}

impl Requests {
    /// Those for which `keep` is true.
    #[must_use]
    pub fn filter(&self, keep: impl Fn(&Request) -> bool) -> Self {
        Self(self.0.iter().filter(|request| keep(request)).cloned().collect())
    }

    /// Those that may have changed something, see [`Request::is_write`].
    #[must_use]
    pub fn writes(&self) -> Self {
        self.filter(Request::is_write)
    }

    /// Those that asked for a change, dry runs and refused ones included.
    #[must_use]
    pub fn write_attempts(&self) -> Self {
        self.filter(Request::is_write_attempt)
    }

    /// Dry runs.
    #[must_use]
    pub fn dry_runs(&self) -> Self {
        self.filter(|request| request.dry_run)
    }

    /// Those answered with 401 or 403.
    #[must_use]
    pub fn refused(&self) -> Self {
        self.filter(|request| matches!(request.code, 401 | 403))
    }

    /// Those sent by this user, whomever they impersonated.
    #[must_use]
    pub fn by_user(&self, user: &str) -> Self {
        self.filter(|request| request.user == user)
    }

    /// Those done as this user, by themselves or by an impersonator.
    #[must_use]
    pub fn as_actor(&self, actor: &str) -> Self {
        self.filter(|request| request.actor() == actor)
    }

    /// Those with this verb.
    #[must_use]
    pub fn verb(&self, verb: &str) -> Self {
        self.filter(|request| request.verb == verb)
    }

    /// Those on an API group; the core group is the empty text.
    #[must_use]
    pub fn group(&self, group: &str) -> Self {
        self.filter(|request| request.group == group)
    }

    /// Those on a resource, named in the plural, subresources included.
    #[must_use]
    pub fn resource(&self, resource: &str) -> Self {
        self.filter(|request| request.resource == resource)
    }

    /// Those on a subresource; the empty text means the object itself.
    #[must_use]
    pub fn subresource(&self, subresource: &str) -> Self {
        self.filter(|request| request.subresource == subresource)
    }

    /// Those in a namespace.
    #[must_use]
    pub fn namespace(&self, namespace: &str) -> Self {
        self.filter(|request| request.namespace == namespace)
    }

    /// The requests one by one.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Request> + ExactSizeIterator {
        self.0.iter().map(Arc::as_ref)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks that there are exactly so many, and names them if not.
    ///
    /// # Errors
    /// When there are more or fewer.
    pub fn expect(&self, expected: usize) -> Result<(), WrongCount> {
        if self.len() == expected {
            return Ok(());
        }
        Err(WrongCount { expected, found: self.clone() })
    }

    /// Checks that there is none: the proof that nothing was written, asked or refused.
    ///
    /// # Errors
    /// When there is one.
    pub fn expect_none(&self) -> Result<(), WrongCount> {
        self.expect(0)
    }
}

impl fmt::Display for Requests {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|request| writeln!(out, "  {request}"))
    }
}

/// The log holds another number of such requests than expected. The text lists them.
#[derive(Debug, thiserror::Error)]
#[error("expected {expected} requests, the audit log has {}:\n{found}", found.len())]
pub struct WrongCount {
    /// How many there should have been.
    pub expected: usize,
    /// Those that there are.
    pub found: Requests,
}
