//! What Kargo would let a Stage have and what it would promote by itself.
//!
//! In: a Stage, Freight, Promotions, the Project's policies, `now`. Out: the same answers as Kargo's own code gives
//! (`api/v1alpha1/stage_types.go`, `pkg/api/auto_promotion.go`, v1.11.2), computed and not read from status fields
//! that lag (kargo-live.md 4).

use std::collections::BTreeMap;

use crate::name::{FreightName, Origin, StageName};
use crate::snapshot::{
    FreightRequest, FreightSnapshot, HoldSnapshot, ProjectFreight, ProjectSnapshot, PromotionPhase,
    PromotionSnapshot, StageSnapshot,
};
use crate::time::Timestamp;

/// Whether Kargo would admit a Promotion of this Freight to this Stage (kargo-api.md 2.4).
///
/// Approval counts, but only as long as the Stage requests the Freight's origin.
pub fn is_available(stage: &StageSnapshot, freight: &FreightSnapshot, now: Timestamp) -> bool {
    let Some(request) = stage.requests.iter().find(|request| request.origin == freight.origin) else {
        return false;
    };
    if request.direct || freight.approved_for.contains(&stage.name) {
        return true;
    }
    let has_soaked = |upstream: &StageName| {
        let Some(longest) = freight.verified_in.get(upstream) else { return false };
        let since = freight.currently_in.get(upstream).copied().flatten();
        let soaking = since.map_or(0, |since| now.since(since));
        (*longest).max(soaking) >= request.soak_seconds
    };
    if request.all_stages {
        !request.stages.is_empty() && request.stages.iter().all(has_soaked)
    } else {
        request.stages.iter().any(has_soaked)
    }
}

/// Whether Kargo promotes new Freight to this Stage by itself: the first policy that matches decides, none means no.
/// `None` when the Project's policies are not known.
pub fn auto_promotion(project: &ProjectSnapshot, stage: &StageSnapshot) -> Option<bool> {
    let mut policies = project.promotion_policies.as_ref()?.iter();
    let first = policies.find(|policy| super::matches(&policy.stages, &stage.name, &stage.labels));
    Some(first.is_some_and(|policy| policy.auto_promotion))
}

/// Per requested origin the Freight that auto-promotion would choose: the newest available one (`NewestFreight`; ties
/// go to the higher name), or what the first upstream Stage holds now (`MatchUpstream`), unless it holds two pieces,
/// which Kargo takes for a moment's state (`pkg/api/auto_promotion.go`, v1.11.2).
pub fn candidates(
    stage: &StageSnapshot,
    freight: &ProjectFreight,
    now: Timestamp,
) -> Vec<(Origin, FreightName)> {
    let candidate = |request: &FreightRequest| {
        let is_open = |piece: &&FreightSnapshot| {
            piece.origin == request.origin && is_available(stage, piece, now) && is_followed(request, piece)
        };
        let mut available: Vec<&FreightSnapshot> = freight.iter().filter(is_open).collect();
        if request.follows_upstream && available.len() > 1 {
            return None;
        }
        available.sort_by(|a, b| (a.discovered, &a.name).cmp(&(b.discovered, &b.name)));
        available.last().map(|piece| (request.origin.clone(), piece.name.clone()))
    };
    stage.requests.iter().filter_map(candidate).collect()
}

/// Whether what the request follows holds the piece.
fn is_followed(request: &FreightRequest, piece: &FreightSnapshot) -> bool {
    !request.follows_upstream
        || request.direct
        || request.stages.first().is_some_and(|upstream| piece.currently_in.contains_key(upstream))
}

/// The holds in force, sorted by origin: the Stage's durable ones, overlaid by what Promotions intend that are not
/// over, or are over and not recorded yet. An aborted Promotion intends nothing (kargo-live.md 4).
pub fn effective_holds(stage: &StageSnapshot, promotions: &[PromotionSnapshot]) -> Vec<HoldSnapshot> {
    let durable = stage.holds.iter().map(|hold| (hold.origin.clone(), hold.clone()));
    let mut holds: BTreeMap<Origin, HoldSnapshot> = durable.collect();
    let recorded = stage.last_promotion.as_ref().map(|last| &last.name);
    let is_pending = |promotion: &&PromotionSnapshot| {
        let unrecorded = recorded.is_none_or(|recorded| promotion.name > *recorded);
        promotion.stage == stage.name
            && promotion.phase != Some(PromotionPhase::Aborted)
            && (!promotion.is_terminal() || unrecorded)
    };
    let mut pending: Vec<&PromotionSnapshot> = promotions.iter().filter(is_pending).collect();
    pending.sort_by(|a, b| a.name.cmp(&b.name));
    for promotion in pending {
        if let Some(origin) = &promotion.resume {
            holds.remove(origin);
        }
        if let Some(origin) = &promotion.hold {
            let hold = HoldSnapshot {
                origin: origin.clone(),
                freight: promotion.freight.clone(),
                promotion: Some(promotion.name.clone()),
                actor: promotion.actor.clone(),
                created: promotion.created,
            };
            holds.insert(origin.clone(), hold);
        }
    }
    holds.into_values().collect()
}
