//! The scene of a failure: a Stage and what belongs to it, as they are now.
//!
//! In: a Stage's key. Out: snapshots: the Stage and its Promotions read live, because acting on them must not trust a
//! cache; Project and Freight from the stores; the AnalysisRun live when there is one.
//! Nothing here writes, and nothing here decides.

use kube::ResourceExt as _;
use policy_api::kargo::{self, convert};
use policy_core::context::ActorKind;
use policy_core::detect;
use policy_core::incident::{Delivery, IncidentState};
use policy_core::name::{PromotionName, VerificationId};
use policy_core::snapshot::{
    AnalysisRunSnapshot, ProjectFreight, ProjectSnapshot, PromotionSnapshot, StageSnapshot,
    VerificationSnapshot,
};
use policy_core::stage_memory::{self, StageMemory};
use policy_core::time::Timestamp;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::host::Host;
use crate::queue::StageKey;
use crate::requests::RequestError;
use crate::stage_records;

/// A Stage and what belongs to it.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The Project.
    pub project: ProjectSnapshot,
    /// The Stage.
    pub stage: StageSnapshot,
    /// Its Promotions, in the order of their names.
    pub promotions: Vec<PromotionSnapshot>,
    /// Freight of the Project.
    pub freight: ProjectFreight,
    /// What is remembered of the Stage.
    pub memory: StageMemory,
    /// When it began to be read: nothing in it is older.
    pub read_at: Instant,
    /// The AnalysisRun of the newest verification, when Kargo may have missed its end. `None` while nobody has to look;
    /// inside of it, `None` when it is not there.
    pub run: Option<Option<AnalysisRunSnapshot>>,
}

/// A scene could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SceneError {
    /// The API server did not give it.
    #[error("failed to read the scene of {key}")]
    Read {
        /// The Stage.
        key: StageKey,
        /// Why.
        source: RequestError,
    },
    /// An object could not be understood.
    #[error("failed to understand the scene of {key}")]
    Convert {
        /// The Stage.
        key: StageKey,
        /// Why.
        source: convert::ConvertError,
    },
}

impl Scene {
    /// The newest verification of the current Freight.
    pub fn verification(&self) -> Option<&VerificationSnapshot> {
        self.stage.history.first()?.verifications.first()
    }

    /// The verification of that id.
    pub fn verification_of(&self, id: &VerificationId) -> Option<&VerificationSnapshot> {
        self.stage.history.iter().flat_map(|collection| &collection.verifications).find(|one| one.id == *id)
    }

    /// Deliveries to the Stage in the last 24 hours: those that are remembered, those that can be read off the labels
    /// of its Promotions, and claims of `incident` that have no Promotion yet. So neither deleting an Incident nor
    /// deleting Promotions gives a new budget.
    pub fn deliveries(&self, incident: &IncidentState, now: Timestamp) -> Vec<Delivery> {
        let claimed =
            incident.attempts.iter().filter(|attempt| attempt.promotion.is_none()).map(|attempt| Delivery {
                at: attempt.claimed,
                kind: attempt.kind.clone(),
                incident: incident.name.clone(),
                attempt: attempt.number,
                promotion: None,
                freight: attempt.freight.clone(),
            });
        let seen: Vec<_> = claimed.chain(self.promotions.iter().filter_map(delivery_of)).collect();
        stage_memory::deliveries(&self.memory.deliveries, &seen, now)
    }
}

/// The delivery that a Promotion's labels speak of.
pub fn delivery_of(promotion: &PromotionSnapshot) -> Option<Delivery> {
    // Whoever copies a Promotion of ours copies its labels.
    if promotion.actor_kind != ActorKind::Refloat {
        return None;
    }
    let incident = promotion.labels.get(policy_api::names::INCIDENT)?;
    let kind = promotion.labels.get(policy_api::names::KIND)?;
    Some(Delivery {
        at: promotion.created?,
        kind: policy_core::decision::ActionKind::parse(kind)?,
        incident: incident.as_str().into(),
        attempt: attempt_of(promotion).unwrap_or_default(),
        promotion: Some(promotion.name.clone()),
        freight: Some(promotion.freight.clone()),
    })
}

/// Whether a Promotion that carries our labels is one of ours; one that cannot be understood may be.
pub fn may_be_ours(host: &Host, object: &kargo::Promotion) -> bool {
    let reading = convert::Reading { account: &host.account, capture: &[] };
    convert::promotion(object, &reading)
        .ok()
        .is_none_or(|promotion| promotion.actor_kind == ActorKind::Refloat)
}

/// The number at the end of an attempt's id, see `policy_api::names::attempt_id`.
fn attempt_of(promotion: &PromotionSnapshot) -> Option<u32> {
    let (_, number) = promotion.labels.get(policy_api::names::ATTEMPT)?.rsplit_once('-')?;
    number.parse().ok()
}

/// Reads the scene; `None` when the Stage or its Project is gone.
///
/// # Errors
/// When the API server does not answer or an object of the Stage itself cannot be understood.
pub async fn read(host: &Host, key: &StageKey, capture: &[String]) -> Result<Option<Scene>, SceneError> {
    let failed = |source| SceneError::Read { key: key.clone(), source };
    let read_at = Instant::now();
    let stage: kargo::Perhaps<kargo::Stage> = match host.requests.stage(key).await {
        Ok(stage) => stage,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let stage = stage.object().map_err(|error| *error).and_then(|stage| convert::stage(&stage));
    let stage = stage.map_err(|source| SceneError::Convert { key: key.clone(), source })?;
    let label = stage_label_value(key.stage.as_str());
    let objects: Vec<kargo::Perhaps<kargo::Promotion>> =
        host.requests.promotions_of(key, &label).await.map_err(failed)?;
    let reading = convert::Reading { account: &host.account, capture };
    let mut promotions: Vec<_> =
        objects.into_iter().filter_map(|object| understood(object, &stage, &reading)).collect();
    promotions.retain(|promotion| promotion.stage == key.stage);
    promotions.sort_by(|one, two| one.name.cmp(&two.name));
    let Some(project) = host.stores.project(&key.project) else { return Ok(None) };
    let memory = stage_records::remembered(host, key, &stage);
    let freight = host.stores.freight(&key.project);
    let mut scene = Scene { project, stage, promotions, freight, memory, read_at, run: None };
    if detect::run_is_due(&scene.stage).is_some_and(|due| due <= host.clock.now()) {
        scene.run = Some(analysis_run(host, key, scene.verification()).await?);
    }
    Ok(Some(scene))
}

/// A Promotion as far as it can be understood. One that cannot must not keep its Stage from being handled for ever: if the
/// Stage has recorded it or a later one, it is over and left out. Of a newer one nobody knows whether it runs, nor whose it
/// is, so it counts as queued.
fn understood(
    object: kargo::Perhaps<kargo::Promotion>,
    stage: &StageSnapshot,
    reading: &convert::Reading<'_>,
) -> Option<PromotionSnapshot> {
    let (name, uid) = (object.name_any(), object.uid().unwrap_or_default());
    let read = object.object().map_err(|error| *error);
    let error = match read.and_then(|object| convert::promotion(&object, reading)) {
        Ok(promotion) => return Some(promotion),
        Err(error) => error,
    };
    let name = PromotionName::from(name);
    let is_over = stage.last_promotion.as_ref().is_some_and(|last| name <= last.name);
    let told = if is_over { "Promotion left out" } else { "Promotion counts as queued" };
    tracing::warn!(error = &error as &dyn std::error::Error, "{told}");
    (!is_over).then(|| PromotionSnapshot {
        project: stage.project.clone(),
        name,
        uid: uid.into(),
        stage: stage.name.clone(),
        ..PromotionSnapshot::default()
    })
}

/// Reads the AnalysisRun of a verification, if it has one and it is still there. One that cannot be understood counts as
/// not there: nothing is ever concluded from that.
///
/// # Errors
/// When the API server does not answer.
pub async fn analysis_run(
    host: &Host,
    key: &StageKey,
    verification: Option<&VerificationSnapshot>,
) -> Result<Option<AnalysisRunSnapshot>, SceneError> {
    let Some(name) = verification.and_then(|verification| verification.analysis_run.as_deref()) else {
        return Ok(None);
    };
    let run: Option<kargo::Perhaps<kargo::AnalysisRun>> = host
        .requests
        .analysis_run(&key.project, name)
        .await
        .map_err(|source| SceneError::Read { key: key.clone(), source })?;
    let read =
        run.map(|run| run.object().map_err(|error| *error).and_then(|run| convert::analysis_run(&run)));
    Ok(read.and_then(|read| {
        read.inspect_err(|error| {
            tracing::warn!(error = error as &dyn std::error::Error, "AnalysisRun left out")
        })
        .ok()
    }))
}

/// The value of Kargo's Stage label: the name, or what fits of it and a hash (capture `g/long-stage-name`).
pub fn stage_label_value(stage: &str) -> String {
    const MAX: usize = 63;
    const HASH: usize = 8;
    if stage.len() <= MAX {
        return stage.to_owned();
    }
    let hash: String = hex::encode(Sha256::digest(stage)).chars().take(HASH).collect();
    let prefix: String = stage.chars().take(MAX - HASH - 1).collect();
    format!("{}-{hash}", prefix.trim_end_matches('-'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn long_stage_names_get_kargos_label() {
        let name = format!("prod-{}", "x".repeat(75));
        assert_eq!(stage_label_value(&name), format!("prod-{}-ee64d610", "x".repeat(49)));
        assert_eq!(stage_label_value("prod"), "prod");
    }

    fn read(name: &str, phase: &str) -> Option<PromotionSnapshot> {
        let stage = json!({"metadata": {"name": "prod", "namespace": "shop", "uid": "u1"},
            "status": {"lastPromotion": {"name": "prod.02", "status": {"phase": "Failed"}}}});
        let stage: kargo::Stage = serde_json::from_value(stage).expect("a Stage");
        let stage = convert::stage(&stage).expect("a Stage");
        let promotion = json!({"apiVersion": "kargo.akuity.io/v1alpha1", "kind": "Promotion",
            "metadata": {"name": name, "namespace": "shop", "uid": "u2"},
            "spec": {"stage": "prod", "freight": "f1"}, "status": {"phase": phase}});
        understood(serde_json::from_value(promotion).expect("perhaps"), &stage, &convert::Reading::default())
    }

    #[test]
    fn a_promotion_that_nobody_understands_counts_as_queued_until_it_is_recorded() {
        assert!(read("prod.02", "Skipped").is_none());
        let queued = read("prod.03", "Skipped").expect("it counts");
        assert!(!queued.is_terminal() && queued.stage.as_str() == "prod");
        assert!(read("prod.03", "Failed").is_some_and(|promotion| promotion.is_terminal()));
    }
}
