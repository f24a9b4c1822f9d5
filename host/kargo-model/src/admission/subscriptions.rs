//! Whether Freight has what its Warehouse subscribes to: of every Git, image and chart repository exactly one artifact,
//! and nothing else. In go Freight and its Warehouse, out come faults. It must not look at anything else.
//! Source: `pkg/webhook/kubernetes/freight/webhook.go`, `validateFreightArtifacts`. Kargo names what is missing or there
//! twice in no order; here it is sorted.

use std::collections::BTreeMap;

use serde_json::Value;

use super::freight::ARTIFACTS;
use super::{Fault, printed};
use crate::freight_name::chart_address;
use crate::object::{list, name, text};
use crate::repository;

/// A list of artifacts, and which of them it is compared by.
type Subscription = (&'static str, String);

/// What is wrong with the artifacts of `freight`.
pub(super) fn faults(freight: &Value, warehouse: &Value) -> Vec<Fault> {
    let mut counts: BTreeMap<Subscription, usize> =
        subscribed(warehouse).into_iter().map(|one| (one, 0)).collect();
    let warehouse = name(warehouse);
    let mut faults = Vec::new();
    for (field, order) in ARTIFACTS {
        let Some(what) = kind_of_repository(field) else { continue };
        for artifact in list(freight, &[field]) {
            match counts.get_mut(&(field, address(field, artifact))) {
                Some(count) => *count += 1,
                None => faults.push(Fault {
                    field: field.to_owned(),
                    value: printed::escaped(&printed::fields(artifact, order)),
                    problem: format!("no subscription found for {what} in Warehouse {warehouse:?}"),
                }),
            }
        }
    }
    for ((field, address), count) in counts {
        let found = match count {
            0 => "no artifact found",
            1 => continue,
            _ => "multiple artifacts found",
        };
        let problem = format!("{found} for subscription {address:?} of Warehouse {warehouse:?}");
        faults.push(Fault { field: field.to_owned(), value: "null".to_owned(), problem });
    }
    faults
}

/// What a Warehouse subscribes to. Subscriptions of other kinds are not checked.
fn subscribed(warehouse: &Value) -> Vec<Subscription> {
    let subscriptions = list(warehouse, &["spec", "subscriptions"]).iter();
    subscriptions
        .flat_map(|one| {
            [("git", "commits"), ("image", "images"), ("chart", "charts")].into_iter().filter_map(
                move |(kind, field)| {
                    let subscription = one.get(kind)?;
                    Some((field, address(field, subscription)))
                },
            )
        })
        .collect()
}

/// How refusals call the repositories of that list; `None` for artifacts that are not checked.
fn kind_of_repository(field: &str) -> Option<&'static str> {
    match field {
        "commits" => Some("Git repository"),
        "images" => Some("image repository"),
        "charts" => Some("Helm chart"),
        _ => None,
    }
}

fn address(field: &str, of: &Value) -> String {
    match field {
        "commits" => repository::git(text(of, &["repoURL"])),
        "charts" => chart_address(of),
        _ => text(of, &["repoURL"]).to_owned(),
    }
}
