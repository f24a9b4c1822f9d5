//! What differs between minors of Kargo: planned writes as exact requests, and what Kargo's answers mean.
//!
//! In: a planned write, or an answer. Out: a [`Request`] or a reading of the answer. The minor is read from what the
//! CRD schemas have, never from a version text. An unknown Kargo is observed, and we say so.
//! Nothing here sends anything.

pub mod refusal;
pub mod v1_11;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps,
};
use serde_json::Value;

pub use refusal::{Advice, Refusal, refusal};

/// The API group and version of Kargo's kinds, the same in every minor so far.
pub const KARGO_API: &str = "kargo.akuity.io/v1alpha1";

/// A request as it has to be sent, without host and credentials.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// `POST` or `PATCH`.
    pub method: &'static str,
    /// Path and query, such as `/apis/.../promotions?timeout=5s`.
    pub uri: String,
    /// Content type of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: Value,
}

impl Request {
    /// The same as a dry run: complete answer, nothing stored.
    pub fn dry_run(&self) -> Self {
        let joint = if self.uri.contains('?') { '&' } else { '?' };
        Self { uri: format!("{}{joint}dryRun=All", self.uri), ..self.clone() }
    }
}

/// A minor of Kargo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Minor {
    /// 1.11 or whatever has the same fields.
    V1_11,
}

/// Which minor an API server has, by the fields of the Stage and Promotion definitions.
///
/// # Errors
/// A sentence that says what is missing. The caller then only observes.
pub fn detect(
    stage: Option<&CustomResourceDefinition>,
    promotion: Option<&CustomResourceDefinition>,
) -> Result<Minor, String> {
    let stage = stage.ok_or("there is no definition of Kargo's Stage; is Kargo installed?")?;
    let promotion = promotion.ok_or("there is no definition of Kargo's Promotion; is Kargo installed?")?;
    // Each of these came with 1.11 (kargo-api.md 0), and what we do relies on them.
    let wanted = [
        (stage, "Stage", ["status", "effectiveAutoPromotionHolds"]),
        (stage, "Stage", ["status", "autoPromotionHolds"]),
        (promotion, "Promotion", ["spec", "origin"]),
    ];
    for (crd, kind, path) in wanted {
        if !has_field(crd, &path) {
            let path = path.join(".");
            return Err(format!(
                "Kargo's {kind} has no `{path}`: this is no Kargo that this version can act on"
            ));
        }
    }
    Ok(Minor::V1_11)
}

fn has_field(crd: &CustomResourceDefinition, path: &[&str]) -> bool {
    let version = crd.spec.versions.iter().find(|version| version.name == "v1alpha1");
    let root = version
        .and_then(|version| version.schema.as_ref())
        .and_then(|schema| schema.open_api_v3_schema.as_ref());
    let step = |schema: Option<&'_ JSONSchemaProps>, name: &&str| -> Option<JSONSchemaProps> {
        schema?.properties.as_ref()?.get(*name).cloned()
    };
    let mut at = root.cloned();
    for name in path {
        at = step(at.as_ref(), name);
    }
    at.is_some()
}
