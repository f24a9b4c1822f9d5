//! Freight to its snapshot.
//!
//! In: [`Freight`]. Out: [`FreightSnapshot`] with artifacts in Kargo's order: commits, images, charts, others.

use policy_core::context::Artifact;
use policy_core::name::{FreightName, StageName};
use policy_core::snapshot::FreightSnapshot;

use super::{ConvertError, Identity, created, failure_hint, identity, origin, some, time};
use crate::kargo::Freight;

/// Converts a piece of Freight.
///
/// # Errors
/// When it lacks its name, namespace, uid or origin.
pub fn freight(freight: &Freight) -> Result<FreightSnapshot, ConvertError> {
    let Identity { object, name, .. } = identity("Freight", &freight.metadata)?;
    let missing = || ConvertError::Missing { object, path: "origin" };
    let status = freight.status.clone().unwrap_or_default();
    let soak = |soak: Option<crate::kargo::GoDuration>| soak.unwrap_or_default().seconds_reached();
    Ok(FreightSnapshot {
        name: FreightName::new(name),
        alias: some(&freight.alias),
        origin: origin(&freight.origin).ok_or_else(missing)?,
        discovered: freight.discovered_at.map(time).or_else(|| created(&freight.metadata)),
        artifacts: artifacts(freight),
        verified_in: status
            .verified_in
            .iter()
            .map(|(stage, at)| (name_of(stage), soak(at.longest_soak)))
            .collect(),
        currently_in: status
            .currently_in
            .iter()
            .map(|(stage, at)| (name_of(stage), at.since.map(time)))
            .collect(),
        failure_hint: failure_hint(&status.metadata),
        approved_for: status.approved_for.keys().map(|stage| name_of(stage)).collect(),
    })
}

fn name_of(stage: &str) -> StageName {
    StageName::from(stage)
}

fn artifacts(freight: &Freight) -> Vec<Artifact> {
    let artifact = |kind: &str, repository: String, version: &str| Artifact {
        kind: kind.to_owned(),
        repository,
        version: version.to_owned(),
    };
    let commits =
        freight.commits.iter().map(|commit| artifact("commit", commit.repo_url.clone(), &commit.id));
    let images = freight.images.iter().map(|image| {
        // An image subscribed by digest has no tag worth naming.
        let version = if image.tag.is_empty() { &image.digest } else { &image.tag };
        artifact("image", image.repo_url.clone(), version)
    });
    let charts = freight.charts.iter().map(|chart| {
        let repository = match chart.name.as_str() {
            "" => chart.repo_url.clone(),
            name => format!("{}/{name}", chart.repo_url.trim_end_matches('/')),
        };
        artifact("chart", repository, &chart.version)
    });
    let others = freight
        .artifacts
        .iter()
        .map(|other| artifact(&other.artifact_type, other.subscription_name.clone(), &other.version));
    commits.chain(images).chain(charts).chain(others).collect()
}
