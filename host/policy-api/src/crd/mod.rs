//! The kinds of group `refloat.dev`, one per file, and their definitions for an API server.
//!
//! In: nothing. Out: Rust types, and [`crds`] made from them. Every list, map and text has a bound: the one that a
//! field states, else [`bounds`]'s default.
//! What these objects mean is decided elsewhere; here is only their shape.

#![allow(unreachable_pub, reason = "what `KubeSchema` derives contains a public copy inside a private scope")]
#![allow(clippy::duplicated_attributes, reason = "printer columns of one kind share types and priorities")]

pub mod bounds;
pub mod cluster_failure_policy;
pub mod condition;
pub mod deadlines;
pub mod decision_record;
pub mod failure_policy;
pub mod incident;
pub mod policy_body;
pub mod policy_module;
pub mod selector;
pub mod stage_record;

pub use cluster_failure_policy::{ClusterFailurePolicy, ClusterFailurePolicySpec};
pub use decision_record::{DecisionRecord, DecisionRecordSpec};
pub use failure_policy::{FailurePolicy, FailurePolicySpec};
pub use incident::{Incident, IncidentSpec, IncidentStatus};
pub use policy_body::PolicyBody;
pub use policy_module::{ClusterPolicyModule, ClusterPolicyModuleSpec, PolicyModule, PolicyModuleSpec};
pub use stage_record::{StageRecord, StageRecordSpec};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

/// The API group of our kinds.
pub const GROUP: &str = "refloat.dev";
/// Its only version.
pub const VERSION: &str = "v1alpha1";

/// The definitions of all kinds, in the order in which they are printed.
pub fn crds() -> Vec<CustomResourceDefinition> {
    let mut crds = vec![
        FailurePolicy::crd(),
        ClusterFailurePolicy::crd(),
        PolicyModule::crd(),
        ClusterPolicyModule::crd(),
        Incident::crd(),
        DecisionRecord::crd(),
        StageRecord::crd(),
    ];
    crds.iter_mut().for_each(bounds::apply);
    crds
}

/// All definitions as one YAML text of several documents, ready for `kubectl apply -f -`.
pub fn crds_yaml() -> String {
    crate::yaml::documents(&crds())
}
