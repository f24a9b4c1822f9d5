//! One incident while it is being handled: the object as it was read, and its state.
//!
//! In: an Incident from the API server. Out: the same with changes saved by an update that fails when anybody else
//! wrote in between: the Incident is the unit of consistency, so a lost race here means "start over", never "merge".

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource as _;
use kube::api::{Api, PostParams};
use policy_api::convert;
use policy_api::crd::Incident;
use policy_api::crd::incident::{AcceptedPolicy, PolicyRef};
use policy_core::failure::Failure;
use policy_core::incident::{Attempt, IncidentState};
use policy_core::name::IncidentName;
use policy_core::time::Timestamp;

use crate::host::Host;
use crate::queue::StageKey;

/// One incident while it is being handled.
#[derive(Clone, Debug)]
pub struct Case {
    object: Incident,
    /// The policy that it begins with; kept with the first save.
    accepted: Option<AcceptedPolicy>,
    /// Its state; changes count once [`Case::save`] has succeeded.
    pub state: IncidentState,
}

/// An Incident could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// The API server refused or did not answer.
    #[error("failed to {operation} Incident {project}/{name}")]
    Request {
        /// What was tried.
        operation: &'static str,
        /// The Project.
        project: String,
        /// The Incident.
        name: String,
        /// Why.
        source: Box<kube::Error>,
    },
    /// Somebody else wrote it in between; start over.
    #[error("Incident {project}/{name} was changed by somebody else")]
    Lost {
        /// The Project.
        project: String,
        /// The Incident.
        name: String,
    },
    /// It was written by a newer version.
    #[error("failed to read Incident {project}/{name}")]
    Read {
        /// The Project.
        project: String,
        /// The Incident.
        name: String,
        /// Why.
        source: convert::ConvertError,
    },
}

impl Case {
    /// The Incident of that name, if there is one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn load(host: &Host, key: &StageKey, name: &str) -> Result<Option<Self>, CaseError> {
        host.metrics.request("get", "incidents");
        let object = api(host, key).get_opt(name).await.map_err(|source| error("read", key, name, source))?;
        let Some(object) = object else { return Ok(None) };
        // The answer to its creation may have been lost, and with it what it begins with.
        let accepted = object.status.is_none().then(|| host.policies.accepted(key)).flatten();
        Ok(Some(Self { accepted, ..Self::of(object, key)? }))
    }

    /// Opens the incident of a failure. Its name comes from the failure, so whoever is second gets the first one's.
    ///
    /// # Errors
    /// When it can be neither created nor read.
    pub async fn open(
        host: &Host,
        key: &StageKey,
        failure: &Failure,
        policy: Option<PolicyRef>,
        accepted: Option<AcceptedPolicy>,
    ) -> Result<Self, CaseError> {
        let name = policy_api::names::incident_name(&key.stage, &failure.id);
        let state = IncidentState::open(name.clone(), failure.clone(), host.clock.now());
        host.metrics.request("create", "incidents");
        let object = convert::incident(&state, policy);
        match api(host, key).create(&PostParams::default(), &object).await {
            Ok(object) => Ok(Self { accepted, ..Self::of(object, key)? }),
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let found = Self::load(host, key, name.as_str()).await?;
                found.ok_or_else(|| lost(key, name.as_str()))
            }
            Err(source) => Err(error("create", key, name.as_str(), source)),
        }
    }

    fn of(object: Incident, key: &StageKey) -> Result<Self, CaseError> {
        let name = object.metadata.name.clone().unwrap_or_default();
        let state = convert::incident_state(&object).map_err(|source| CaseError::Read {
            project: key.project.to_string(),
            name,
            source,
        })?;
        Ok(Self { object, accepted: None, state })
    }

    /// Its name.
    pub fn name(&self) -> &IncidentName {
        &self.state.name
    }

    /// What makes an object go with this Incident.
    pub fn owner(&self) -> Option<OwnerReference> {
        self.object.owner_ref(&())
    }

    /// Saves the state. The update carries the resourceVersion that was read.
    ///
    /// # Errors
    /// [`CaseError::Lost`] when somebody else wrote it in between, else why it could not be written.
    pub async fn save(&mut self, host: &Host, key: &StageKey) -> Result<(), CaseError> {
        let mut object = self.object.clone();
        let status = object.status.get_or_insert_default();
        convert::apply(status, &self.state);
        status.accepted = status.accepted.take().or_else(|| self.accepted.clone());
        let name = self.state.name.to_string();
        host.metrics.request("update", "incidents");
        match api(host, key).replace_status(&name, &PostParams::default(), &object).await {
            Ok(object) => {
                self.object = object;
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.code == 409 || status.code == 404 => {
                Err(lost(key, &name))
            }
            Err(source) => Err(error("update", key, &name, source)),
        }
    }

    /// The attempt that is not over, if there is one.
    pub fn open_attempt(&self) -> Option<&Attempt> {
        self.state
            .attempts
            .iter()
            .rev()
            .find(|attempt| attempt.outcome == policy_core::context::Outcome::Pending)
    }

    /// Changes the attempt of that number.
    pub fn with_attempt(&mut self, number: u32, change: impl FnOnce(&mut Attempt)) {
        if let Some(attempt) = self.state.attempts.iter_mut().find(|attempt| attempt.number == number) {
            change(attempt);
        }
    }

    /// Closes it; saved by the caller.
    pub fn close(&mut self, ending: Ending, at: Timestamp) {
        self.state.pending = None;
        self.state.timer = None;
        self.state.closed = Some(policy_core::incident::Closed {
            at,
            resolution: ending.resolution,
            reason: ending.reason,
            message: ending.message,
        });
    }
}

/// How an incident is to end.
#[derive(Clone, Debug)]
pub struct Ending {
    /// How.
    pub resolution: policy_core::incident::Resolution,
    /// One CamelCase word more, or empty.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
}

impl Ending {
    /// An ending in these words.
    pub fn new(
        resolution: policy_core::incident::Resolution,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self { resolution, reason: reason.into(), message: message.into() }
    }
}

fn api(host: &Host, key: &StageKey) -> Api<Incident> {
    Api::namespaced(host.requests.client().clone(), key.project.as_str())
}

fn lost(key: &StageKey, name: &str) -> CaseError {
    CaseError::Lost { project: key.project.to_string(), name: name.to_owned() }
}

fn error(operation: &'static str, key: &StageKey, name: &str, source: kube::Error) -> CaseError {
    CaseError::Request {
        operation,
        project: key.project.to_string(),
        name: name.to_owned(),
        source: Box::new(source),
    }
}
