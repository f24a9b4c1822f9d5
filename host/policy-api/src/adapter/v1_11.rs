//! Kargo 1.11: planned writes as requests, and what an accepted Promotion says about holds and the actor.
//!
//! In: a planned write with its Stage as last read, and the claim. Out: the exact [`Request`]. Promotions are created by
//! POST with `generateName` and without steps, because the webhook names them and fills the steps; every PATCH carries
//! the resourceVersion that it was planned on.
//! Never server-side apply: it leaves a Promotion that wedges its Stage (kargo-live.md 0.1).

use policy_core::decision::ActionKind;
use policy_core::name::{FreightName, IncidentName, Origin, PromotionName, StageName, Uid};
use policy_core::snapshot::StageSnapshot;
use policy_core::write::{HoldExpectation, Write};
use serde_json::{Value, json};

use super::{KARGO_API, Request};
use crate::names;

const MERGE_PATCH: &str = "application/merge-patch+json";
const JSON: &str = "application/json";
/// The API server gives up after that long, so that no create outlives the claim's `sendBefore` by more.
const CREATE_TIMEOUT: &str = "5s";

/// Which attempt a write belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The Incident.
    pub incident: IncidentName,
    /// Value of the label `refloat.dev/attempt`.
    pub attempt_id: String,
    /// The DecisionRecord.
    pub decision_record: String,
}

/// Why a planned write is not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Withheld {
    /// It does not touch Kargo.
    #[error("this write is none on a Kargo object")]
    NotKargo,
    /// A person has asked for a verification of this Stage, and it is still pending.
    #[error("Stage `{stage}` has a pending reverification that somebody else asked for")]
    ReverifyPending {
        /// The Stage.
        stage: StageName,
    },
    /// Somebody else's old request is on the Stage; with it there, the next first verification is a fresh one anyway.
    #[error("Stage `{stage}` carries a reverify annotation already, which has the same effect")]
    AlreadyFresh {
        /// The Stage.
        stage: StageName,
    },
}

/// The request that carries out `write` on `stage`, which is the Stage as last read.
///
/// # Errors
/// When the write is none on Kargo, or would overwrite a person's pending reverification.
pub fn request(write: &Write, stage: &StageSnapshot, claim: &Claim) -> Result<Request, Withheld> {
    match write {
        Write::CreatePromotion { freight, kind, .. } => Ok(create(stage, freight, kind, claim)),
        Write::Refresh { .. } => Ok(refresh(stage, &claim.attempt_id)),
        Write::ForceFreshVerification { .. } => reverify(stage, &claim.attempt_id),
        Write::Timer { .. }
        | Write::Send { .. }
        | Write::Event { .. }
        | Write::Keep { .. }
        | Write::Close { .. } => Err(Withheld::NotKargo),
    }
}

fn create(stage: &StageSnapshot, freight: &FreightName, kind: &ActionKind, claim: &Claim) -> Request {
    let mut annotations = json!({names::DECISION: claim.decision_record});
    if let (ActionKind::Rollback, Some(annotations)) = (kind, annotations.as_object_mut()) {
        annotations.insert(names::KARGO_ROLLBACK.to_owned(), Value::from("true"));
    }
    let labels = json!({
        names::INCIDENT: claim.incident.as_str(),
        names::ATTEMPT: claim.attempt_id,
        names::KIND: names::label_value(&kind.text().replace(':', ".")),
    });
    Request {
        method: "POST",
        uri: format!("{}?timeout={CREATE_TIMEOUT}", path(stage, "promotions", None)),
        content_type: JSON,
        body: json!({
            "apiVersion": KARGO_API,
            "kind": "Promotion",
            "metadata": {
                "generateName": names::GENERATE_NAME,
                "namespace": stage.project.as_str(),
                "labels": labels,
                "annotations": annotations,
            },
            "spec": {"stage": stage.name.as_str(), "freight": freight.as_str()},
        }),
    }
}

/// Makes Kargo look at a Stage again. `token` must differ from the last one.
pub fn refresh(stage: &StageSnapshot, token: &str) -> Request {
    annotate(stage, names::KARGO_REFRESH, token)
}

/// Makes the next first verification of the Stage a fresh one: a token that is no verification's id triggers nothing
/// by itself and keeps Kargo from reusing an old result (kargo-live.md 5).
///
/// # Errors
/// When somebody else's annotation is there: a pending one must never be overwritten, and an old one need not be,
/// because Kargo never removes it and any annotation keeps it from reusing results (kargo-api.md 3.6).
pub fn reverify(stage: &StageSnapshot, attempt_id: &str) -> Result<Request, Withheld> {
    let id = stage.reverify.as_deref().map(reverify_id).unwrap_or_default();
    if id.is_empty() || id.starts_with(names::REVERIFY_TOKEN) {
        return Ok(annotate(stage, names::KARGO_REVERIFY, &names::reverify_token(attempt_id)));
    }
    let newest = stage.history.first().and_then(|collection| collection.verifications.first());
    let stage_name = stage.name.clone();
    // Kargo honours a request only while it names the newest verification.
    if newest.is_some_and(|verification| verification.id.as_str() == id) {
        Err(Withheld::ReverifyPending { stage: stage_name })
    } else {
        Err(Withheld::AlreadyFresh { stage: stage_name })
    }
}

/// The id in a reverify annotation: a bare text, which the webhook turns into JSON with `id` and `actor`.
fn reverify_id(annotation: &str) -> String {
    let parsed: Option<Value> = serde_json::from_str(annotation).ok();
    let id = parsed.as_ref().and_then(|object| object.get("id")).and_then(Value::as_str);
    id.unwrap_or(annotation).to_owned()
}

fn annotate(stage: &StageSnapshot, key: &str, value: &str) -> Request {
    Request {
        method: "PATCH",
        uri: path(stage, "stages", Some(stage.name.as_str())),
        content_type: MERGE_PATCH,
        body: json!({"metadata": {
            "resourceVersion": stage.resource_version,
            "annotations": {key: value},
        }}),
    }
}

fn path(stage: &StageSnapshot, resource: &str, name: Option<&str>) -> String {
    let name = name.map(|name| format!("/{name}")).unwrap_or_default();
    format!("/apis/{KARGO_API}/namespaces/{}/{resource}{name}", stage.project)
}

/// What Kargo's admission made of a Promotion: read from the answer to a create or a dry run.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stamped {
    /// The name that the webhook gave it. That of a dry run is never used.
    pub name: PromotionName,
    /// Its uid.
    pub uid: Uid,
    /// The Freight that it promotes.
    pub freight: FreightName,
    /// `create-actor`; `None` means that Kargo takes our account for its own control plane.
    pub actor: Option<String>,
    /// The origin whose auto-promotion it holds.
    pub hold: Option<Origin>,
    /// The origin whose hold it lifts.
    pub resume: Option<Origin>,
}

/// Reads the answer to a create or a dry run; `None` when it is no Promotion.
pub fn stamped(answer: &Value) -> Option<Stamped> {
    let text = |pointer: &str| answer.pointer(pointer).and_then(Value::as_str);
    let annotation = |key: &str| {
        let value = answer.pointer("/metadata/annotations")?.get(key)?.as_str()?;
        (!value.is_empty()).then(|| value.to_owned())
    };
    if text("/kind") != Some("Promotion") {
        return None;
    }
    Some(Stamped {
        name: text("/metadata/name")?.into(),
        uid: text("/metadata/uid").unwrap_or_default().into(),
        freight: text("/spec/freight")?.into(),
        actor: annotation(names::KARGO_CREATE_ACTOR),
        hold: annotation(names::KARGO_HOLD).map(Into::into),
        resume: annotation(names::KARGO_RESUME).map(Into::into),
    })
}

/// Why an answer is not what was planned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The account matches Kargo's control-plane pattern: nothing it does holds, and rollbacks flap
    /// (kargo-live.md 4).
    #[error("Kargo takes the account for its own control plane, so no rollback of it would last")]
    ControlPlane,
    /// Somebody else's name is on it.
    #[error("Kargo names `{actor}` as the creator, and the Project's account is `{account}`")]
    Actor {
        /// What Kargo says.
        actor: String,
        /// What it should say.
        account: String,
    },
    /// It would promote something else.
    #[error("Kargo would promote Freight `{freight}`, which is not what was planned")]
    Freight {
        /// What Kargo says.
        freight: FreightName,
    },
    /// It would lift a hold.
    #[error("it would lift the hold on `{origin}`")]
    WouldResume {
        /// The origin.
        origin: Origin,
    },
    /// It would not hold, so Kargo would promote the newest Freight again.
    #[error("it would not be held, and Kargo would promote the newest Freight again")]
    WouldNotHold,
}

/// Compares what Kargo's admission answered with what was planned. `account` is the whole user name of the Project's
/// account.
///
/// # Errors
/// The first difference.
pub fn compare(
    stamped: &Stamped,
    freight: &FreightName,
    expect: HoldExpectation,
    account: &str,
) -> Result<(), Mismatch> {
    let actor = stamped.actor.as_deref().ok_or(Mismatch::ControlPlane)?;
    if actor != format!("kubernetes:{account}") {
        return Err(Mismatch::Actor { actor: actor.to_owned(), account: account.to_owned() });
    }
    if stamped.freight != *freight {
        return Err(Mismatch::Freight { freight: stamped.freight.clone() });
    }
    match (expect, &stamped.hold, &stamped.resume) {
        (HoldExpectation::MustHold, None, _) => Err(Mismatch::WouldNotHold),
        (HoldExpectation::MustNotResume, _, Some(origin)) => {
            Err(Mismatch::WouldResume { origin: origin.clone() })
        }
        (HoldExpectation::MustHold | HoldExpectation::MustNotResume | HoldExpectation::Any, _, _) => Ok(()),
    }
}
