//! The names, labels and annotations that Kargo gives things, and how it shortens them.
//! In go the parts, out comes the text. It must not look at objects.
//! Sources: `api/v1alpha1/annotations.go`, `api/v1alpha1/labels.go`, `pkg/api/promotion.go`, `pkg/strings/strings.go`.

use sha2::{Digest, Sha256};

/// Annotation: a request to abort a Promotion, or on a Stage to abort its verification.
pub const ABORT: &str = "kargo.akuity.io/abort";
/// Annotation on a Stage: a request to verify again.
pub const REVERIFY: &str = "kargo.akuity.io/reverify";
/// Annotation: any new text makes Kargo reconcile the object.
pub const REFRESH: &str = "kargo.akuity.io/refresh";
/// Annotation: who created a Promotion.
pub const CREATE_ACTOR: &str = "kargo.akuity.io/create-actor";
/// Annotation on a Promotion: it puts its origin on hold.
pub const HOLD: &str = "kargo.akuity.io/auto-promotion-hold";
/// Annotation on a Promotion: it lifts the hold of its origin.
pub const RESUME: &str = "kargo.akuity.io/auto-promotion-resume";
/// Annotation on a Promotion: `true` marks a rollback; nobody checks who set it.
pub const ROLLBACK: &str = "kargo.akuity.io/rollback";
/// Label and annotation: the Stage of a Promotion or AnalysisRun.
pub const STAGE: &str = "kargo.akuity.io/stage";
/// Label: the shard whose controller takes the object.
pub const SHARD: &str = "kargo.akuity.io/shard";
/// Label on Freight: its alias, kept equal to the field.
pub const ALIAS: &str = "kargo.akuity.io/alias";
/// Label on a Namespace: `true` makes it a Project.
pub const PROJECT: &str = "kargo.akuity.io/project";
/// Annotation on an AnalysisRun: the Promotion after which it was started.
pub const PROMOTION: &str = "kargo.akuity.io/promotion";
/// Label on an AnalysisRun: the Freight collection that it judges.
pub const FREIGHT_COLLECTION: &str = "kargo.akuity.io/freight-collection";

/// Kargo's API group.
pub const GROUP: &str = "kargo.akuity.io";
/// Kargo's API version.
pub const API_VERSION: &str = "kargo.akuity.io/v1alpha1";
/// API version of AnalysisRuns and AnalysisTemplates.
pub const ROLLOUTS_API_VERSION: &str = "argoproj.io/v1alpha1";

/// Longest part of a Stage's name that a Promotion's name keeps (`pkg/api/promotion.go`).
const STAGE_PREFIX: usize = 218;
/// Characters of the Freight's name at the end of a Promotion's name.
const SHORT_HASH: usize = 7;
/// Longest value of a Kubernetes label.
const LABEL_VALUE: usize = 63;

/// `<stage>.<ulid>.<freight, 7 characters>` in lower case; empty when either part is empty, which makes the API
/// server fall back to `generateName` (`pkg/api/promotion.go`, `GeneratePromotionName`).
pub fn promotion_name(stage: &str, ulid: &str, freight: &str) -> String {
    if stage.is_empty() || freight.is_empty() {
        return String::new();
    }
    let stage: String = stage.chars().take(STAGE_PREFIX).collect();
    let freight: String = freight.chars().take(SHORT_HASH).collect();
    format!("{stage}.{ulid}.{freight}").to_lowercase()
}

/// `<stage>.<ulid>.<collection, 7 characters>`, the name of an AnalysisRun (capture `e/successful`).
pub fn analysis_run_name(stage: &str, ulid: &str, collection: &str) -> String {
    promotion_name(stage, ulid, collection)
}

/// A label value that keeps what fits and ends in a hash when it was cut (capture `g/long-stage-name`).
pub fn label_value(text: &str) -> String {
    if text.len() <= LABEL_VALUE {
        return text.to_owned();
    }
    let hash: String = hex::encode(Sha256::digest(text.as_bytes())).chars().take(8).collect();
    let prefix: String = text.chars().take(LABEL_VALUE - hash.len() - 1).collect();
    format!("{}-{hash}", prefix.trim_end_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_stage_names_are_shortened_with_a_hash() {
        let label = label_value(&format!("prod-{}", "x".repeat(85)));
        assert_eq!(label.len(), 63);
        assert_eq!(label_value("prod"), "prod");
    }

    #[test]
    fn promotion_names_are_lower_case_and_empty_without_freight() {
        assert_eq!(promotion_name("prod", "01ABC", "bf95772b8c1b"), "prod.01abc.bf95772");
        assert_eq!(promotion_name("prod", "01ABC", ""), "");
    }
}
