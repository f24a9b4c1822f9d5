//! What a test's API server was asked, read from its audit log: the only witness that tests believe about writes.
//! In: the log's path and a place in it. Out: requests as small values, with filters and counts.
//! Must not ask the server or the program under test anything.

use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use kube_memory::audit::WRITE_VERBS;
pub use kube_memory::audit::{Request, Requests, WrongCount};
use serde::Deserialize;
use serde_json::{Value, json};

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
        Ok(requests.into_iter().collect())
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
            uri: self.request_uri,
            user_agent: self.user_agent,
            sent: self.request_object.map(|object| object.to_string()).unwrap_or_default(),
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
