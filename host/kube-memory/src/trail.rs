//! The trail that a run leaves: every request with its answer, every line of every watch.
//!
//! In: what the server was asked and what it said, in order. Out: the requests, and one hash over all bytes, by which
//! two runs are compared.
//! Must not keep what it only hashes: watches say a lot.

use std::sync::Arc;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::answer::Answer;
use crate::audit::{Request, Requests};
use crate::call::{Call, Verb};

/// Everything so far.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    requests: Vec<Arc<Request>>,
    hash: Sha256,
}

impl Trail {
    /// Adds a request and its answer.
    pub(crate) fn add(&mut self, call: &Call, request: Request, answer: &Answer) {
        let line = request.to_string();
        for part in [line.as_bytes(), call.body.as_slice(), answer.text().as_bytes()] {
            self.note(part);
        }
        let sent = match request.is_write_attempt() {
            true => String::from_utf8_lossy(&call.body).into_owned(),
            false => String::new(),
        };
        self.requests.push(Arc::new(Request { sent, ..request }));
    }

    /// Adds bytes to the hash, told apart from their neighbours by their length.
    pub(crate) fn note(&mut self, bytes: &[u8]) {
        self.hash.update((bytes.len() as u64).to_be_bytes());
        self.hash.update(bytes);
    }

    pub(crate) fn len(&self) -> usize {
        self.requests.len()
    }

    pub(crate) fn since(&self, begin: usize) -> Requests {
        self.requests.iter().skip(begin).cloned().collect()
    }

    pub(crate) fn hash(&self) -> String {
        hex::encode(self.hash.clone().finalize())
    }
}

/// What a new object calls itself.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Named {
    metadata: Name,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Name {
    name: String,
}

/// A request as the trail shows it, before its answer is known.
pub(crate) fn request(call: &Call, user: &str, at: String) -> Request {
    let name_sent = || {
        let object: Named = serde_json::from_slice(&call.body).unwrap_or_default();
        object.metadata.name
    };
    Request {
        user: user.to_owned(),
        impersonated_user: call.impersonate.as_ref().map(|target| target.user.clone()),
        verb: call.verb.map_or_else(|| call.method.clone(), |verb| verb.word().to_owned()),
        group: call.group.clone(),
        resource: call.resource.clone(),
        subresource: call.subresource.clone(),
        namespace: call.namespace.clone(),
        name: if call.verb == Some(Verb::Create) { name_sent() } else { call.name.clone() },
        dry_run: call.is_dry_run(),
        code: 0,
        uri: call.uri.clone(),
        user_agent: call.user_agent.clone(),
        sent: String::new(),
        at,
    }
}
