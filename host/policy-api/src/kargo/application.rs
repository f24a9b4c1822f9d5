//! Argo CD Application, as read from the API server or an export.
//!
//! In: JSON and the Stage that asks. Out: what Argo CD says about it, if it permits that Stage. Whoever edits a Stage
//! could otherwise read the state of any Application through this host.

use kube::core::{NamespaceResourceScope, ObjectMeta};
use policy_core::snapshot::{ApplicationStatus, StageSnapshot};
use serde::Deserialize;

use super::keys;

/// Longest list of Stages that is looked through.
const MAX_STAGES: usize = 256;

/// An Application.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Application {
    /// Names and annotations.
    #[serde(default)]
    pub metadata: ObjectMeta,
    #[serde(default)]
    status: Status,
}

super::resource!(Application, "argoproj.io", "applications", NamespaceResourceScope);

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    sync: Sync,
    health: Word,
    operation_state: Word,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Sync {
    status: String,
    revision: String,
    revisions: Vec<String>,
}

/// A word of Argo CD's and its explanation.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Word {
    #[serde(alias = "phase")]
    status: String,
    message: String,
}

impl Application {
    /// What Argo CD says, if the Application permits the Stage: `PROJECT:STAGE`, several separated by commas
    /// (`AuthorizedStages`, `pkg/api/stage.go`).
    pub fn says_to(&self, stage: &StageSnapshot) -> Option<ApplicationStatus> {
        let permitted = self.metadata.annotations.as_ref()?.get(keys::AUTHORIZED_STAGE)?;
        let is_it = |one: &str| {
            let named = one.split_once(':').map(|(project, name)| (project.trim(), name.trim()));
            named == Some((stage.project.as_str(), stage.name.as_str()))
        };
        if !permitted.split(',').take(MAX_STAGES).any(is_it) {
            return None;
        }
        let Status { sync, health, operation_state } = &self.status;
        let revisions = std::iter::once(&sync.revision).chain(&sync.revisions);
        Some(ApplicationStatus {
            sync: sync.status.clone(),
            health: health.status.clone(),
            health_message: health.message.clone(),
            operation: operation_state.status.clone(),
            operation_message: operation_state.message.clone(),
            revisions: revisions.filter(|revision| !revision.is_empty()).cloned().collect(),
        })
    }
}
