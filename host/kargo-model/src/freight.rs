//! Freight: whether a Stage may have it, how Stages refer to it, and what its status says about Stages.
//! In go Freight and Stage objects, out come answers, references, collections and status patches.
//! Sources: `api/v1alpha1/freight_types.go`, `api/v1alpha1/stage_types.go:176-209`.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use sha1::{Digest, Sha1};

use crate::object::{at, map, put, put_or_remove, remove, text};
use crate::stage::{Origin, Request, Stage};
use crate::time::{format_duration, parse, parse_duration, stamp_value};

/// Fields of Freight that a reference to it repeats.
const REFERENCED: [&str; 4] = ["commits", "images", "charts", "artifacts"];

/// Freight.
#[derive(Clone, Copy, Debug)]
pub struct Freight<'a>(pub &'a Value);

impl<'a> Freight<'a> {
    /// `metadata.name`, the hash of origin and artifacts.
    pub fn name(self) -> &'a str {
        crate::object::name(self.0)
    }

    /// Where it comes from.
    pub fn origin(self) -> Origin {
        Origin::of(self.0.get("origin"))
    }

    /// `discoveredAt`, or the creation time of Freight older than that field.
    pub fn discovered_at(self) -> Timestamp {
        let created = text(self.0, &["metadata", "creationTimestamp"]);
        parse(text(self.0, &["discoveredAt"])).or_else(|| parse(created)).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// Whether the Stage has it now.
    pub fn is_currently_in(self, stage: &str) -> bool {
        at(self.0, &["status", "currentlyIn", stage]).is_some()
    }

    /// Whether a verification of it in the Stage ever succeeded; a later failure does not take that back.
    pub fn is_verified_in(self, stage: &str) -> bool {
        at(self.0, &["status", "verifiedIn", stage]).is_some()
    }

    /// Whether a person approved it for the Stage.
    pub fn is_approved_for(self, stage: &str) -> bool {
        at(self.0, &["status", "approvedFor", stage]).is_some()
    }

    fn longest_soak(self, stage: &str, now: Timestamp) -> SignedDuration {
        if !self.is_verified_in(stage) {
            return SignedDuration::ZERO;
        }
        let done = parse_duration(text(self.0, &["status", "verifiedIn", stage, "longestSoak"]));
        let since = parse(text(self.0, &["status", "currentlyIn", stage, "since"]));
        let running = since.map_or(SignedDuration::ZERO, |since| now.duration_since(since));
        done.unwrap_or(SignedDuration::ZERO).max(running)
    }

    fn has_soaked_in(self, stage: &str, required: &str, now: Timestamp) -> bool {
        match parse_duration(required) {
            Some(required) if !required.is_zero() => self.longest_soak(stage, now) >= required,
            _ => true,
        }
    }

    /// Whether upstream Stages let it through to the Stage that makes `request`: verified and soaked in all of them
    /// or in one of them.
    pub fn has_passed_upstream(self, request: Request<'_>, now: Timestamp) -> bool {
        let passed =
            |stage: &str| self.is_verified_in(stage) && self.has_soaked_in(stage, request.soak_time(), now);
        match request.needs_all_upstream() {
            true => request.upstream().all(passed),
            false => request.upstream().any(passed),
        }
    }

    /// What Stages and Promotions keep of it.
    pub fn reference(self) -> Value {
        let mut reference = json!({ "name": self.name(), "origin": self.origin().value() });
        for field in REFERENCED {
            put_or_remove(&mut reference, &[field], self.0.get(field).cloned());
        }
        reference
    }
}

/// Whether a Stage may be promoted to this Freight (`stage_types.go`, `IsFreightAvailable`). Missing Freight, Freight
/// of another namespace and Freight of an origin not requested are all simply not available (capture
/// `f/responses.json`: three cases, one text).
pub fn is_available(stage: Stage<'_>, freight: Option<&Value>, now: Timestamp) -> bool {
    let Some(freight) = freight else { return false };
    if crate::object::namespace(freight) != stage.namespace() {
        return false;
    }
    let freight = Freight(freight);
    stage.requests().filter(|request| request.origin() == freight.origin()).any(|request| {
        freight.is_approved_for(stage.name())
            || request.is_direct()
            || freight.has_passed_upstream(request, now)
    })
}

/// A Freight collection from references by origin key; its id is the SHA-1 of the sorted names joined by commas, so
/// that the same combination always has the same id (checked against `setup/stage-after-success.yaml`).
pub fn collection(items: Map<String, Value>) -> Value {
    json!({ "id": collection_id(&items), "items": items })
}

fn collection_id(items: &Map<String, Value>) -> String {
    let mut names: Vec<&str> = items.values().map(|item| text(item, &["name"])).collect();
    names.sort_unstable();
    hex::encode(Sha1::digest(names.join(",").as_bytes()))
}

/// Whether the collection holds the Freight of that name.
pub fn includes(collection: &Value, freight: &str) -> bool {
    map(collection, &["items"])
        .is_some_and(|items| items.values().any(|item| text(item, &["name"]) == freight))
}

/// The Freight's status once the Stage has it.
pub fn arrived(freight: &Value, stage: &str, now: Timestamp) -> Value {
    let mut freight = freight.clone();
    put(&mut freight, &["status", "currentlyIn", stage], json!({ "since": stamp_value(now) }));
    freight
}

/// The Freight's status once the Stage no longer has it: the soak ends and counts if it was verified there
/// (`story/verification-failed-rollback-resume`, Freight at 1.816 s).
pub fn left(freight: &Value, stage: &str, now: Timestamp) -> Value {
    let view = Freight(freight);
    let mut left = freight.clone();
    if view.is_verified_in(stage) {
        let soak = format_duration(view.longest_soak(stage, now));
        put(&mut left, &["status", "verifiedIn", stage, "longestSoak"], Value::String(soak));
    }
    remove(&mut left, &["status", "currentlyIn", stage]);
    if map(&left, &["status", "currentlyIn"]).is_some_and(Map::is_empty) {
        remove(&mut left, &["status", "currentlyIn"]);
    }
    left
}

/// The Freight's status once its verification in the Stage succeeded; the first time stays.
pub fn verified(freight: &Value, stage: &str, finished: Value) -> Value {
    let mut freight = freight.clone();
    if !Freight(&freight).is_verified_in(stage) {
        put(&mut freight, &["status", "verifiedIn", stage], json!({ "verifiedAt": finished }));
    }
    freight
}
