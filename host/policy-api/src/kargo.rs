//! Kargo objects as this program reads them: only the fields that a snapshot needs, everything else ignored.
//!
//! In: JSON of Promotion, Stage, Freight, AnalysisRun, Project, ProjectConfig. Out: small structs that work with
//! `kube::Api` and `kube::runtime::watcher`, and [`convert`] that makes core snapshots of them.
//! Never written back to the API server: a PUT of such a struct would drop what it does not know
//! (kargo-api.md 9, pitfall 31), so none of them implements `Serialize`.

mod analysis_run;
mod application;
pub mod convert;
mod digest;
mod freight;
mod perhaps;
mod project;
mod promotion;
mod stage;
mod time;

pub use analysis_run::{AnalysisRun, AnalysisRunStatus, MeasurementText, MetricResult};
pub use application::Application;
pub use freight::{Chart, Commit, Freight, FreightStatus, GenericArtifact, Image, Since, Verified};
pub use perhaps::Perhaps;
pub use project::{
    LabelRequirement, Project, ProjectConfig, ProjectConfigSpec, PromotionPolicyText, SelectorText,
};
pub use promotion::{Promotion, PromotionSpec, PromotionStatus, StepResult, StepRetry, StepText};
pub use stage::{
    AutoPromotionText, Collection, ConditionText, FreightReference, HealthText, Hold, LastPromotionText,
    OriginText, PromotionReference, PromotionTemplate, RequestText, SourcesText, Stage, StageSpec,
    StageStatus, TemplateSpec, TemplateStep, VerificationText, WindowText,
};
pub use time::{GoDuration, Moment};

use serde::de::DeserializeOwned;
use serde_json::Value;

/// Annotations, labels and messages of Kargo that mean something here (kargo-api.md 1.10).
pub mod keys {
    /// Who created a Promotion; absent when Kargo itself did.
    pub const CREATE_ACTOR: &str = "kargo.akuity.io/create-actor";
    /// Abort of a Promotion or, on a Stage, of a verification.
    pub const ABORT: &str = "kargo.akuity.io/abort";
    /// On a Stage: the Argo CD Applications of its last Promotion that succeeded, as JSON.
    pub const ARGOCD_CONTEXT: &str = "kargo.akuity.io/argocd-context";
    /// On an Argo CD Application: the Stages that may change it.
    pub const AUTHORIZED_STAGE: &str = "kargo.akuity.io/authorized-stage";
    /// Fresh verification asked for.
    pub const REVERIFY: &str = "kargo.akuity.io/reverify";
    /// Any new text makes the controller look at an object again.
    pub const REFRESH: &str = "kargo.akuity.io/refresh";
    /// Marks a rollback; only `"true"` counts.
    pub const ROLLBACK: &str = "kargo.akuity.io/rollback";
    /// The origin that a Promotion holds.
    pub const HOLD: &str = "kargo.akuity.io/auto-promotion-hold";
    /// The origin whose hold a Promotion lifts.
    pub const RESUME: &str = "kargo.akuity.io/auto-promotion-resume";
    /// What our own labels and annotations begin with.
    pub const OURS: &str = "refloat.dev/";
    /// The label that ties a Promotion to an Incident.
    pub const INCIDENT: &str = "refloat.dev/incident";
    /// `"true"` on a Stage, Promotion or namespace: hands off.
    pub const IGNORE: &str = "refloat.dev/ignore";
}

/// Gives a struct with a `metadata` field the shape that `kube` asks of a resource.
macro_rules! resource {
    ($kind:ident, $group:literal, $plural:literal, $scope:ty) => {
        impl kube::Resource for $kind {
            type DynamicType = ();
            type Scope = $scope;

            fn kind(_: &()) -> std::borrow::Cow<'_, str> {
                stringify!($kind).into()
            }

            fn group(_: &()) -> std::borrow::Cow<'_, str> {
                $group.into()
            }

            fn version(_: &()) -> std::borrow::Cow<'_, str> {
                "v1alpha1".into()
            }

            fn plural(_: &()) -> std::borrow::Cow<'_, str> {
                $plural.into()
            }

            fn meta(&self) -> &kube::core::ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut kube::core::ObjectMeta {
                &mut self.metadata
            }
        }
    };
}
use resource;

/// Decodes one object from a JSON value.
///
/// # Errors
/// When a field that is read has the wrong shape; the error names the object and the JSON path.
pub fn from_value<K: DeserializeOwned>(value: &Value) -> Result<K, convert::ConvertError> {
    serde_path_to_error::deserialize(value).map_err(|error| decode_error(name_in(value), &error))
}

/// Decodes one object from JSON bytes.
///
/// # Errors
/// When the bytes are no JSON or a field that is read has the wrong shape; the error names the JSON path.
pub fn from_slice<K: DeserializeOwned>(bytes: &[u8]) -> Result<K, convert::ConvertError> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let value = serde_json::from_slice::<Value>(bytes).unwrap_or_default();
        decode_error(name_in(&value), &error)
    })
}

fn decode_error(
    object: String,
    error: &serde_path_to_error::Error<serde_json::Error>,
) -> convert::ConvertError {
    let path = convert::quoted(&error.path().to_string(), convert::MAX_NAME);
    convert::ConvertError::Decode { object, path, problem: convert::quoted(&error.inner().to_string(), 240) }
}

/// `Kind namespace/name` of an object that could not be decoded, as far as it says.
fn name_in(value: &Value) -> String {
    let text = |pointer: &str| Some(convert::quoted(value.pointer(pointer)?.as_str()?, convert::MAX_NAME));
    let kind = text("/kind").unwrap_or_else(|| "object".to_owned());
    let name = text("/metadata/name").unwrap_or_else(|| "?".to_owned());
    match text("/metadata/namespace") {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}
