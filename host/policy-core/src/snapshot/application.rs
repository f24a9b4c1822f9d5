//! Argo CD Applications that a Stage may change, with what Argo CD says about them.
//!
//! In: objects, converted by `policy-api`. Out: values. After a failed Promotion Kargo says nothing about health
//! (failure-strategies.md 0.7): whether production is broken, Argo CD knows.

use serde::{Deserialize, Serialize};

/// Which Application.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApplicationRef {
    /// Its namespace; empty means Argo CD's own.
    #[serde(default)]
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// An Application, as far as it may be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApplicationSnapshot {
    /// Which one; the namespace is never empty.
    pub is: ApplicationRef,
    /// What Argo CD says; `None` when it cannot be read, is not there, or does not permit the Stage.
    #[serde(default)]
    pub says: Option<ApplicationStatus>,
}

/// What Argo CD says about an Application. Empty texts are things it does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApplicationStatus {
    /// `status.sync.status`: `Synced`, `OutOfSync`, `Unknown`.
    #[serde(default)]
    pub sync: String,
    /// `status.health.status`: `Healthy`, `Degraded`, `Progressing`, `Missing`, `Suspended`, `Unknown`.
    #[serde(default)]
    pub health: String,
    /// `status.health.message`.
    #[serde(default)]
    pub health_message: String,
    /// `status.operationState.phase`: `Running`, `Succeeded`, `Failed`, `Error`, `Terminating`.
    #[serde(default)]
    pub operation: String,
    /// `status.operationState.message`.
    #[serde(default)]
    pub operation_message: String,
    /// `status.sync.revision`, or the revisions of several sources.
    #[serde(default)]
    pub revisions: Vec<String>,
}
