//! What stands between a Stage and Enforce: rights of the Project's account, and whether this Kargo is one that we can
//! act on.
//!
//! In: a Stage's key. Out: an [`Access`], which everything but [`Access::Full`] turns into Observe, and words for people.
//! Rights are asked of the API server, so a missing ServiceAccount binding shows like any other lack. Kargo's own check
//! of `promote` happens again at every create; this one only says early what it will say.
//! Nothing here writes.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::Api;
use policy_api::adapter;
use policy_api::crd::condition::{Statement, reasons, types};
use policy_api::rights::{missing_verbs, needed};
use policy_core::name::ProjectName;
use tokio::time::Instant;

use crate::host::Host;
use crate::queue::StageKey;
use crate::requests::RequestError;

/// How long statuses are written from an answer that everything is granted. A decision always asks anew, and of 10,000
/// Stages each has three rights to ask for.
const GRANTED_FOR: Duration = Duration::from_secs(900);
/// The same for an answer that something lacks: whoever grants it wants to see that soon.
const LACKING_FOR: Duration = Duration::from_secs(25);
/// How long an account counts as one of Kargo's control plane. Kargo learns another pattern only in a restart, and a dry
/// run finds out again.
const CONTROL_PLANE_FOR: Duration = Duration::from_secs(1_800);
/// How often Kargo's definitions are read: it may be upgraded under us.
const KARGO_EVERY: Duration = Duration::from_secs(300);

/// How far the host may go in a Stage, whatever its policy says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// As far as the policy says.
    Full,
    /// The account lacks these rights.
    Lacking(Vec<String>),
    /// Kargo takes the account for its own control plane: its holds do not last and a rollback would flap
    /// (kargo-live.md 4).
    ControlPlane,
    /// This Kargo is none that we can act on; a sentence says why.
    UnknownKargo(String),
}

impl Access {
    /// Why not, for people; `None` when nothing is in the way.
    pub fn obstacle(&self) -> Option<String> {
        match self {
            Self::Full => None,
            Self::Lacking(verbs) => Some(format!("the Project's account may not {}", verbs.join(", "))),
            Self::ControlPlane => Some(
                "Kargo takes the Project's account for its own control plane, so no rollback of it would last"
                    .to_owned(),
            ),
            Self::UnknownKargo(why) => Some(why.clone()),
        }
    }

    /// The word that goes with it, of conditions and endings.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Full => reasons::GRANTED,
            Self::Lacking(_) => reasons::VERB_MISSING,
            Self::ControlPlane => reasons::CONTROL_PLANE_ACCOUNT,
            Self::UnknownKargo(_) => reasons::KARGO_UNKNOWN,
        }
    }

    /// The rights that lack.
    pub fn missing(&self) -> &[String] {
        match self {
            Self::Lacking(verbs) => verbs,
            Self::Full | Self::ControlPlane | Self::UnknownKargo(_) => &[],
        }
    }
}

struct Answer {
    at: Instant,
    missing: Vec<String>,
}

impl Answer {
    /// Whether a status may still be written from it.
    fn is_good(&self) -> bool {
        let good_for = if self.missing.is_empty() { GRANTED_FOR } else { LACKING_FOR };
        self.at.elapsed() < good_for
    }
}

/// What this process has found out. Lost in a restart without harm.
#[derive(Default)]
pub struct Accesses {
    answers: Mutex<BTreeMap<StageKey, Answer>>,
    control_plane: Mutex<BTreeMap<ProjectName, Instant>>,
    kargo: Mutex<Option<(Instant, Result<adapter::Minor, String>)>>,
}

/// Everything that was found out, without the time at which it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    missing: BTreeMap<StageKey, Vec<String>>,
    control_plane: Vec<ProjectName>,
    kargo: Option<Result<adapter::Minor, String>>,
}

impl Accesses {
    /// What was found out.
    pub fn found(&self) -> Found {
        let missing = with(&self.answers, |answers| {
            answers.iter().map(|(key, answer)| (key.clone(), answer.missing.clone())).collect()
        });
        let control_plane = with(&self.control_plane, |known| {
            let in_force = known.iter().filter(|(_, since)| since.elapsed() < CONTROL_PLANE_FOR);
            in_force.map(|(project, _)| project.clone()).collect()
        });
        let kargo = with(&self.kargo, |known| known.as_ref().map(|(_, kargo)| kargo.clone()));
        Found { missing, control_plane, kargo }
    }

    /// Remembers that Kargo takes a Project's account for its own control plane.
    pub fn is_control_plane(&self, project: &ProjectName) {
        with(&self.control_plane, |known| known.insert(project.clone(), Instant::now()));
    }

    /// Forgets Stages that are not there any more.
    pub fn retain(&self, stages: &[StageKey]) {
        with(&self.answers, |answers| answers.retain(|key, _| stages.binary_search(key).is_ok()));
    }

    /// What is in the way in the whole cluster or the whole Project.
    fn of_project(&self, project: &ProjectName) -> Option<Access> {
        let kargo = with(&self.kargo, |known| known.as_ref().map(|(_, kargo)| kargo.clone()));
        match kargo {
            Some(Ok(adapter::Minor::V1_11)) => {}
            Some(Err(why)) => return Some(Access::UnknownKargo(why)),
            None => return Some(Access::UnknownKargo("Kargo's definitions were not read yet".to_owned())),
        }
        let since = with(&self.control_plane, |known| known.get(project).copied());
        since.is_some_and(|since| since.elapsed() < CONTROL_PLANE_FOR).then_some(Access::ControlPlane)
    }

    /// What to say about Kargo itself.
    pub fn kargo_statement(&self) -> Statement {
        match with(&self.kargo, |known| known.as_ref().map(|(_, kargo)| kargo.clone())) {
            Some(Ok(adapter::Minor::V1_11)) => Statement::yes(
                types::KARGO_KNOWN,
                reasons::KARGO_KNOWN,
                "this is Kargo 1.11 or speaks like it",
            ),
            Some(Err(why)) => Statement::no(
                types::KARGO_KNOWN,
                reasons::KARGO_UNKNOWN,
                format!("{why}; everything is only observed"),
            ),
            None => Statement::unknown(
                types::KARGO_KNOWN,
                reasons::KARGO_UNKNOWN,
                "Kargo's definitions were not read yet",
            ),
        }
    }
}

/// What stands in the way now, asked anew: for decisions and deliveries.
///
/// # Errors
/// When the API server does not answer.
pub async fn ask(host: &Host, key: &StageKey) -> Result<Access, RequestError> {
    // Not read yet is not unknown: what is decided now is final.
    if with(&host.accesses.kargo, |known| known.is_none()) {
        look_at_kargo(host).await?;
    }
    if let Some(access) = host.accesses.of_project(&key.project) {
        return Ok(access);
    }
    let mut answers = Vec::new();
    for one in needed(&key.stage) {
        let allowed = host.requests.may(&key.project, &one).await?;
        answers.push((one, Some(allowed)));
    }
    let missing = missing_verbs(&answers);
    let answer = Answer { at: Instant::now(), missing: missing.clone() };
    with(&host.accesses.answers, |known| known.insert(key.clone(), answer));
    Ok(access(missing))
}

/// What stood in the way not long ago: for statuses, which speak of hundreds of Stages.
///
/// # Errors
/// When it has to be asked and the API server does not answer.
pub async fn lately(host: &Host, key: &StageKey) -> Result<Access, RequestError> {
    if let Some(access) = host.accesses.of_project(&key.project) {
        return Ok(access);
    }
    let known = with(&host.accesses.answers, |known| {
        let answer = known.get(key)?;
        answer.is_good().then(|| answer.missing.clone())
    });
    match known {
        Some(missing) => Ok(access(missing)),
        None => ask(host, key).await,
    }
}

/// Asks anew for Stages of which the answer is old.
pub async fn renew(host: &Host) {
    let old: Vec<StageKey> = with(&host.accesses.answers, |known| {
        known.iter().filter(|(_, answer)| !answer.is_good()).map(|(key, _)| key.clone()).collect()
    });
    for key in old {
        if let Err(error) = ask(host, &key).await {
            tracing::debug!(error = &error as &dyn std::error::Error, stage = %key, "rights not asked anew");
        }
    }
}

fn access(missing: Vec<String>) -> Access {
    if missing.is_empty() { Access::Full } else { Access::Lacking(missing) }
}

/// Finds out which Kargo this is, now and then.
///
/// # Errors
/// When the API server does not answer; what was known counts on.
pub async fn look_at_kargo(host: &Host) -> Result<(), RequestError> {
    let is_fresh = with(&host.accesses.kargo, |known| {
        known.as_ref().is_some_and(|(at, kargo)| kargo.is_ok() && at.elapsed() < KARGO_EVERY)
    });
    if is_fresh {
        return Ok(());
    }
    let stage = definition(host, "stages.kargo.akuity.io").await;
    let promotion = definition(host, "promotions.kargo.akuity.io").await;
    let found = match (stage, promotion) {
        (Ok(stage), Ok(promotion)) => adapter::detect(stage.as_ref(), promotion.as_ref()),
        (Err(kube::Error::Api(status)), _) | (_, Err(kube::Error::Api(status))) if status.code == 403 => {
            Err("Kargo's definitions may not be read, so nobody knows which Kargo this is".to_owned())
        }
        (Err(error), _) | (_, Err(error)) => {
            return Err(RequestError::new("read", "Kargo's definitions", error));
        }
    };
    if let Err(why) = &found {
        tracing::warn!(why, "this Kargo is only observed");
    }
    with(&host.accesses.kargo, |known| *known = Some((Instant::now(), found)));
    Ok(())
}

async fn definition(host: &Host, name: &str) -> Result<Option<CustomResourceDefinition>, kube::Error> {
    host.metrics.request("get", "customresourcedefinitions");
    Api::<CustomResourceDefinition>::all(host.requests.client().clone()).get_opt(name).await
}

fn with<T, R>(state: &Mutex<T>, f: impl FnOnce(&mut T) -> R) -> R {
    f(&mut state.lock().unwrap_or_else(PoisonError::into_inner))
}
