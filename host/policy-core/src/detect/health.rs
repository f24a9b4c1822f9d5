//! A Stage that is sick although its last Promotion succeeded.
//!
//! In: one look. Out: at most one condition. Kargo writes no Event for it, and its transition times never move
//! (kargo-live.md 0.7), so since when is remembered by us, see [`crate::stage_memory`]. One episode has one identity:
//! the Stage, its last Promotion, and since when it is not well, whatever Kargo calls that meanwhile.

use super::sight::{About, Condition, Sight};
use crate::context::Health;
use crate::failure::Trigger;
use crate::name::FailureId;
use crate::snapshot::StageSnapshot;
use crate::time::{Timestamp, format_duration};

/// Whether the Stage's health says something about what was promoted last: after a Promotion that did not succeed, and
/// while one runs, Kargo calls every Stage Unknown (`regular_stages.go:936-952`).
pub fn speaks_of_freight(stage: &StageSnapshot) -> bool {
    let succeeded = stage
        .last_promotion
        .as_ref()
        .is_some_and(|last| last.phase == Some(crate::snapshot::PromotionPhase::Succeeded));
    succeeded && stage.current_promotion.is_none() && !stage.history.is_empty()
}

/// A Stage that is Unhealthy, or has never become Healthy, or whose health nobody knows.
pub(super) fn sick(sight: &Sight<'_>) -> Option<Condition> {
    let stage = sight.stage;
    // Kargo goes on as soon as the next one starts.
    if !speaks_of_freight(stage) || !sight.queue().is_empty() {
        return None;
    }
    let (trigger, since, limit, what) = match stage.health {
        Some(Health::Unhealthy) => {
            let (since, limit) = (sight.memory.unhealthy_since, sight.deadlines.stage_unhealthy);
            (Trigger::StageUnhealthy, since.unwrap_or(sight.now), limit, "Unhealthy")
        }
        Some(Health::Unknown) => {
            let (since, limit) = (sight.memory.unknown_since, sight.deadlines.stage_health_unknown);
            (Trigger::StageHealthUnknown, since.unwrap_or(sight.now), limit, "Unknown")
        }
        Some(Health::Progressing) if never_verified(stage) => {
            let since = stage.last_promotion.as_ref()?.finished?;
            let limit = sight.deadlines.stage_never_healthy;
            (Trigger::StageUnhealthy, since, limit, "Progressing and was never Healthy")
        }
        // Healthy once, and changing: Kargo judges it by itself.
        Some(Health::Progressing | Health::Healthy | Health::NotApplicable) | None => return None,
    };
    // What was sick before this Freight came says nothing of it.
    let since = since.max(came(stage));
    Some(condition(sight, trigger, since, limit, what))
}

/// The episode of sickness that the Stage is in, from the first look that does not find it well to one that does.
pub(super) fn lasting(sight: &Sight<'_>) -> Option<FailureId> {
    let begun = sick_since(sight.stage, sight.memory.sick_since, sight.now)?;
    let is_left_alone = sight.queue().is_empty();
    is_left_alone.then(|| super::sight::condition_id(Trigger::StageUnhealthy, &identity(sight.stage, begun)))
}

/// Since when a Stage is not well, given what was remembered; `None` while it is, or while nobody can say.
fn sick_since(stage: &StageSnapshot, known: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
    let is_well = matches!(stage.health, Some(Health::Healthy | Health::NotApplicable));
    if !speaks_of_freight(stage) || is_well {
        return None;
    }
    let came = came(stage);
    if is_new(stage) {
        return Some(came);
    }
    let begins = matches!(stage.health, Some(Health::Unhealthy | Health::Unknown));
    known.filter(|known| *known >= came).or(begins.then_some(now))
}

/// What of [`sick_since`] the Stage itself does not say: nothing before its Freight was well for the first time.
pub fn sickness_to_remember(
    stage: &StageSnapshot,
    known: Option<Timestamp>,
    now: Timestamp,
) -> Option<Timestamp> {
    if is_new(stage) { None } else { sick_since(stage, known, now) }
}

/// Whether what the Stage holds came at a known time and was never well since.
fn is_new(stage: &StageSnapshot) -> bool {
    never_verified(stage) && came(stage) != Timestamp::default()
}

/// When the Freight came that the Stage's health speaks of.
fn came(stage: &StageSnapshot) -> Timestamp {
    stage.last_promotion.as_ref().and_then(|last| last.finished).unwrap_or_default()
}

fn identity(stage: &StageSnapshot, begun: Timestamp) -> [String; 3] {
    let last = stage.last_promotion.as_ref().map(|last| last.name.to_string()).unwrap_or_default();
    [stage.uid.to_string(), last, begun.0.to_string()]
}

/// A verification starts once the Stage is Healthy, with or without a template; so without one it never was.
fn never_verified(stage: &StageSnapshot) -> bool {
    stage.history.first().is_some_and(|held| held.verifications.is_empty())
}

fn condition(sight: &Sight<'_>, trigger: Trigger, since: Timestamp, limit: u32, what: &str) -> Condition {
    let last = sight.stage.last_promotion.as_ref().map(|last| &last.name);
    let issue = match &sight.stage.health_issue {
        Some(issue) => format!(": {issue}"),
        None => String::new(),
    };
    let summary = format!("{what} for more than {}{issue}", format_duration(limit));
    let begun = sick_since(sight.stage, sight.memory.sick_since, sight.now).unwrap_or(since);
    let identity = identity(sight.stage, begun);
    let parts = identity.each_ref().map(String::as_str);
    let about = About { promotion: last, verification: None };
    sight.condition(trigger, &parts, since.plus(limit), about, &summary)
}
