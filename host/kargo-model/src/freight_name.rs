//! What Kargo calls Freight: 40 digits that follow from its origin and artifacts, and an alias for people.
//! In go Freight and the aliases that are taken, out come names and aliases. Two pieces of Freight with the same artifacts
//! have the same name, in whichever Project and whoever made them. It must not change an object.
//! Sources: `pkg/api/freight.go` (`GenerateFreightID`), `pkg/webhook/kubernetes/freight/aliases.go`; every captured piece
//! of Freight has the name that is computed here.

use serde_json::Value;
use sha1::{Digest, Sha1};

use crate::object::{list, text};
use crate::repository;
use crate::stage::Origin;

/// First halves of invented aliases.
const ADJECTIVES: [&str; 32] = [
    "amber", "blunt", "brave", "brisk", "calm", "clever", "copper", "dusty", "eager", "early", "fuzzy",
    "gentle", "glad", "hasty", "humble", "jolly", "keen", "late", "lively", "loyal", "mellow", "neat", "odd",
    "plain", "proud", "quiet", "rapid", "shy", "sleepy", "sunny", "tidy", "wary",
];
/// Second halves.
const ANIMALS: [&str; 32] = [
    "badger", "beaver", "bison", "crane", "crow", "dingo", "eel", "falcon", "ferret", "finch", "gecko",
    "hare", "heron", "ibex", "jackal", "koala", "lemur", "lynx", "marten", "mole", "newt", "otter", "owl",
    "panda", "quail", "raven", "seal", "stoat", "tapir", "toad", "vole", "wren",
];
/// Aliases that are tried for one piece of Freight.
const TRIES: u8 = 64;

/// The SHA-1 of `Warehouse/<name>:` and its artifacts' revisions, sorted and joined by `|`, in hexadecimal digits.
pub fn freight_name(freight: &Value) -> String {
    let mut parts: Vec<String> = Vec::new();
    parts.extend(list(freight, &["commits"]).iter().map(commit));
    parts.extend(list(freight, &["images"]).iter().map(image));
    parts.extend(list(freight, &["charts"]).iter().map(chart));
    parts.extend(list(freight, &["artifacts"]).iter().map(artifact));
    parts.sort_unstable();
    let origin = Origin::of(freight.get("origin")).key();
    hex::encode(Sha1::digest(format!("{origin}:{}", parts.join("|"))))
}

/// With its tag, if it has one: another tag of the same commit is other Freight.
fn commit(commit: &Value) -> String {
    let (repository, id) = (repository::git(text(commit, &["repoURL"])), text(commit, &["id"]));
    match text(commit, &["tag"]) {
        "" => format!("{repository}:{id}"),
        tag => format!("{repository}:{tag}:{id}"),
    }
}

/// With tag and digest: a tag may move, and a digest may have several tags.
fn image(image: &Value) -> String {
    let field = |key| text(image, &[key]);
    format!("{}:{}@{}", field("repoURL"), field("tag"), field("digest"))
}

fn chart(chart: &Value) -> String {
    format!("{}:{}", chart_address(chart), text(chart, &["version"]))
}

fn artifact(artifact: &Value) -> String {
    let field = |key| text(artifact, &[key]);
    format!("{}:{}:{}", field("artifactType"), field("subscriptionName"), field("version"))
}

/// A chart's repository with its name in it, of an artifact as of a subscription.
pub(crate) fn chart_address(chart: &Value) -> String {
    repository::joined(&repository::chart(text(chart, &["repoURL"])), text(chart, &["name"]))
}

/// An alias that nobody has, for Freight of that name. Kargo draws two words at random until they are free; here they
/// follow from the name, so that a run can be repeated.
pub(crate) fn invented_alias(name: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let drawn = |draw: u8| {
        let digest = Sha1::digest(format!("{name}/{draw}"));
        let word = |words: &[&'static str; 32], byte: Option<&u8>| {
            let at = usize::from(byte.copied().unwrap_or_default()) % words.len();
            words.get(at).copied().unwrap_or_default()
        };
        format!("{}-{}", word(&ADJECTIVES, digest.first()), word(&ANIMALS, digest.last()))
    };
    (0..TRIES).map(drawn).find(|alias| !is_taken(alias)).unwrap_or_else(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invented_aliases_repeat_and_step_aside_for_those_in_use() {
        let name = "bf95772b8c1b188c8e4b98a22366778f5be78404";
        let first = invented_alias(name, |_| false);
        assert_eq!(first, invented_alias(name, |_| false));
        let second = invented_alias(name, |alias| alias == first);
        assert_ne!(first, second);
        assert_eq!(invented_alias(name, |_| true), name);
    }
}
