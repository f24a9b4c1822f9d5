//! What a test's API server was asked, read from its audit log: the only witness that tests believe about writes.
//! In: the log's path and a place in it. Out: requests as small values, with filters and counts.
//! Must not ask the server or the program under test anything.

use std::fmt;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Value, json};

/// Verbs that can change something.
const WRITE_VERBS: [&str; 5] = ["create", "update", "patch", "delete", "deletecollection"];
/// Questions that are asked by `create` and store nothing.
const REVIEW_GROUPS: [&str; 2] = ["authorization.k8s.io", "authentication.k8s.io"];
/// The server gave up waiting; what was asked for may have happened all the same.
const TIMED_OUT: u16 = 504;

/// The policy that the server is started with: bodies for writes of the groups that matter here, one line for
/// everything else, nothing for what the server asks itself.
pub fn policy() -> Value {
    let groups: Vec<Value> = ["kargo.akuity.io", "refloat.dev", "argoproj.io"]
        .iter()
        .map(|group| json!({"group": group}))
        .collect();
    json!({
        "apiVersion": "audit.k8s.io/v1", "kind": "Policy",
        "omitManagedFields": true,
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "None", "users": ["system:apiserver"]},
            {"level": "RequestResponse", "verbs": WRITE_VERBS, "resources": groups},
            {"level": "Metadata"},
        ],
    })
}

/// Why the log could not be read.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The file itself.
    #[error("cannot read the audit log `{}`", path.display())]
    Read {
        /// The log.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A line that is no audit event.
    #[error("cannot understand a line of the audit log: {line}")]
    Line {
        /// The line.
        line: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// A place in the log. Requests that were answered before it was taken lie before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(u64);

impl Mark {
    /// The beginning of the log.
    pub const START: Self = Self(0);
}

/// The audit log of one server.
#[derive(Clone, Debug)]
pub struct AuditLog {
    path: PathBuf,
}

/// One request that the server has finished, or, for a watch, begun to answer.
#[derive(Clone, Debug, PartialEq)]
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
    /// HTTP status of the answer.
    pub code: u16,
    /// `ResponseComplete`, `ResponseStarted` (watches) or `Panic`.
    pub stage: String,
    /// Path and query.
    pub uri: String,
    /// What the client calls itself.
    pub user_agent: String,
    /// The object or patch sent; only for writes of Kargo's, Refloat's and Argo's groups.
    pub request_object: Option<Value>,
    /// The object answered, under the same condition.
    pub response_object: Option<Value>,
    /// When it arrived, RFC 3339 with microseconds.
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

impl AuditLog {
    /// The log in that file, which need not exist yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The end of the log now.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn mark(&self) -> Result<Mark, AuditError> {
        Ok(Mark(self.read(Mark::START)?.len() as u64))
    }

    /// Every request since the server started.
    ///
    /// # Errors
    /// When the file cannot be read or understood.
    pub fn all(&self) -> Result<Requests, AuditError> {
        self.since(Mark::START)
    }

    /// The requests finished after the mark was taken.
    ///
    /// # Errors
    /// When the file cannot be read or understood.
    pub fn since(&self, mark: Mark) -> Result<Requests, AuditError> {
        let text = self.read(mark)?;
        let mut requests = Vec::new();
        for line in text.lines() {
            let event: Event = serde_json::from_str(line)
                .map_err(|source| AuditError::Line { line: line.to_owned(), source })?;
            requests.extend(event.into_request());
        }
        Ok(Requests(requests))
    }

    /// The whole lines from there on; a line that is still being written is left for later.
    fn read(&self, from: Mark) -> Result<String, AuditError> {
        let failed = |source| AuditError::Read { path: self.path.clone(), source };
        let mut file = match std::fs::File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(String::new()),
            Err(error) => return Err(failed(error)),
        };
        file.seek(SeekFrom::Start(from.0)).map_err(failed)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed)?;
        bytes.truncate(bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1));
        String::from_utf8(bytes).map_err(|error| failed(std::io::Error::other(error)))
    }
}

/// Some requests of the log, in the order in which they ended. Filters return fewer of them.
#[derive(Clone, Debug, Default)]
pub struct Requests(Vec<Request>);

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
    pub fn iter(&self) -> std::slice::Iter<'_, Request> {
        self.0.iter()
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

/// A line of the log, as far as it matters here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    stage: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    verb: String,
    user: Identity,
    impersonated_user: Option<Identity>,
    #[serde(default)]
    user_agent: String,
    #[serde(default)]
    object_ref: ObjectRef,
    response_status: Option<Status>,
    request_object: Option<Value>,
    response_object: Option<Value>,
    request_received_timestamp: String,
}

#[derive(Deserialize)]
struct Identity {
    #[serde(default)]
    username: String,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    code: u16,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ObjectRef {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

impl Event {
    /// Said in the query, or, as clients do for deletions, in the body (which the log has for our groups only).
    fn is_dry_run(&self) -> bool {
        let query = self.request_uri.split_once('?').map_or("", |(_, query)| query);
        query.split('&').any(|pair| pair.starts_with("dryRun="))
            || (self.verb.starts_with("delete")
                && self.request_object.as_ref().is_some_and(|options| options["dryRun"].is_array()))
    }

    /// None for the second line of a watch, written when it ends.
    fn into_request(self) -> Option<Request> {
        let watch =
            self.verb == "watch" && self.response_status.as_ref().is_some_and(|status| status.code < 300);
        if watch == (self.stage == "ResponseComplete") {
            return None;
        }
        Some(Request {
            dry_run: self.is_dry_run(),
            user: self.user.username,
            impersonated_user: self.impersonated_user.map(|identity| identity.username),
            verb: self.verb,
            group: self.object_ref.api_group,
            resource: self.object_ref.resource,
            subresource: self.object_ref.subresource,
            namespace: self.object_ref.namespace,
            name: self.object_ref.name,
            code: self.response_status.map_or(0, |status| status.code),
            stage: self.stage,
            uri: self.request_uri,
            user_agent: self.user_agent,
            request_object: self.request_object,
            response_object: self.response_object,
            at: self.request_received_timestamp,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(events: &[Value]) -> Requests {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for event in events {
            use std::io::Write as _;
            writeln!(file, "{event}").unwrap();
        }
        // A line that the server is still writing.
        std::io::Write::write_all(&mut file, b"{\"kind\":\"Ev").unwrap();
        AuditLog::new(file.path().to_owned()).all().unwrap()
    }

    fn event(verb: &str, code: u16, query: &str) -> Value {
        json!({
            "kind": "Event", "stage": "ResponseComplete", "verb": verb,
            "requestURI": format!("/apis/kargo.akuity.io/v1alpha1/namespaces/p/promotions{query}"),
            "user": {"username": "u"}, "userAgent": "agent",
            "objectRef": {"apiGroup": "kargo.akuity.io", "resource": "promotions", "namespace": "p"},
            "responseStatus": {"code": code}, "requestReceivedTimestamp": "2026-01-02T03:04:05.678901Z",
        })
    }

    #[test]
    fn only_what_may_have_been_stored_is_a_write() {
        let mut dry_delete = event("delete", 200, "");
        dry_delete["requestObject"] = json!({"kind": "DeleteOptions", "dryRun": ["All"]});
        let mut review = event("create", 201, "");
        review["objectRef"] = json!({"apiGroup": "authorization.k8s.io", "resource": "subjectaccessreviews"});
        let seen = requests(&[
            event("create", 201, "?timeout=5s"),
            event("create", 504, "?timeout=5s"),
            event("create", 403, ""),
            event("create", 201, "?timeout=5s&dryRun=All"),
            event("list", 200, "?limit=500"),
            dry_delete,
            review,
        ]);
        seen.expect(7).unwrap();
        seen.writes().expect(2).unwrap();
        seen.write_attempts().expect(5).unwrap();
        seen.dry_runs().expect(2).unwrap();
        seen.refused().expect(1).unwrap();
    }

    #[test]
    fn a_watch_counts_once_and_from_its_beginning() {
        let mut begun = event("watch", 200, "?watch=true");
        begun["stage"] = json!("ResponseStarted");
        let refused = event("watch", 403, "?watch=true");
        let ended = event("watch", 200, "?watch=true");
        requests(&[begun, ended, refused]).verb("watch").expect(2).unwrap();
    }
}
