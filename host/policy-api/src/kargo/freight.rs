//! Freight, as read from the API server. Artifacts stand at the top level, there is no `spec`.
//!
//! In: JSON. Out: a struct without authors, messages, annotations and metadata.

use std::collections::BTreeMap;

use kube::core::{NamespaceResourceScope, ObjectMeta};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::stage::{OriginText, StepMetadata};
use super::time::{GoDuration, Moment};

/// Freight (`api/v1alpha1/freight_types.go`).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Freight {
    /// Names, labels.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// Its friendly name.
    #[serde(default)]
    pub alias: String,
    /// When the Warehouse found it; falls back to the creation time.
    #[serde(default)]
    pub discovered_at: Option<Moment>,
    /// Where from.
    #[serde(default)]
    pub origin: OriginText,
    /// Git commits.
    #[serde(default)]
    pub commits: Vec<Commit>,
    /// Container images.
    #[serde(default)]
    pub images: Vec<Image>,
    /// Helm charts.
    #[serde(default)]
    pub charts: Vec<Chart>,
    /// Anything else.
    #[serde(default)]
    pub artifacts: Vec<GenericArtifact>,
    /// Where it is, was verified and is approved.
    #[serde(default)]
    pub status: Option<FreightStatus>,
}

super::resource!(Freight, "kargo.akuity.io", "freights", NamespaceResourceScope);

/// A commit.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Commit {
    /// The repository.
    #[serde(default, rename = "repoURL")]
    pub repo_url: String,
    /// The commit's hash.
    #[serde(default)]
    pub id: String,
}

/// An image.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Image {
    /// The repository.
    #[serde(default, rename = "repoURL")]
    pub repo_url: String,
    /// The tag.
    #[serde(default)]
    pub tag: String,
    /// The digest.
    #[serde(default)]
    pub digest: String,
}

/// A chart.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Chart {
    /// The repository.
    #[serde(default, rename = "repoURL")]
    pub repo_url: String,
    /// The chart's name in it; empty for OCI.
    #[serde(default)]
    pub name: String,
    /// The version.
    #[serde(default)]
    pub version: String,
}

/// An artifact of a kind that Kargo does not know.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GenericArtifact {
    /// Its kind.
    #[serde(default)]
    pub artifact_type: String,
    /// The subscription that found it.
    #[serde(default)]
    pub subscription_name: String,
    /// Its version.
    #[serde(default)]
    pub version: String,
}

/// `status`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FreightStatus {
    /// Stages that hold it.
    #[serde(default)]
    pub currently_in: BTreeMap<String, Since>,
    /// Stages that verified it. Never taken back by a later failure.
    #[serde(default)]
    pub verified_in: BTreeMap<String, Verified>,
    /// Stages that it is approved for.
    #[serde(default)]
    pub approved_for: BTreeMap<String, IgnoredAny>,
    /// What `set-metadata` steps wrote, of which only a hint is kept.
    #[serde(default)]
    pub metadata: StepMetadata,
}

/// Since when a Stage holds it.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Since {
    /// Since when.
    #[serde(default)]
    pub since: Option<Moment>,
}

/// How a Stage verified it.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verified {
    /// The longest time that it stayed there.
    #[serde(default)]
    pub longest_soak: Option<GoDuration>,
}
