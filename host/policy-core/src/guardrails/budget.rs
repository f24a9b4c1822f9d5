//! What is spent and what is left: one reading for the guardrails that refuse and the context that announces.
//!
//! In: rules, incident, deliveries of the Stage, hints. Out: counts. A claim spends the budget, whatever became of
//! it; a deleted Incident gets no new one, because the Stage's deliveries remember its name.

use crate::context::{Budgets, Context};
use crate::decision::ActionKind;
use crate::failure::{Class, Retryability, StepHint, Trigger};
use crate::incident::{Delivery, IncidentState};
use crate::rules::Rules;
use crate::time::Timestamp;

/// The window of G3, in seconds.
pub const DAY_SECONDS: u32 = 86_400;

/// Attempts of one kind in this incident.
pub fn spent(kind: &ActionKind, incident: &IncidentState, deliveries: &[Delivery]) -> u32 {
    let remembered = deliveries
        .iter()
        .filter(|delivery| delivery.incident == incident.name && delivery.kind == *kind)
        .count();
    incident.n_attempts(kind).max(number(remembered))
}

/// Deliveries that count for G3.
pub fn deliveries_spent(incident: &IncidentState, deliveries: &[Delivery], now: Timestamp) -> u32 {
    let (own, others): (Vec<_>, Vec<_>) =
        deliveries.iter().partition(|delivery| delivery.incident == incident.name);
    let attempts = incident.attempts.iter().filter(|attempt| attempt.kind.is_delivery()).count();
    let recent = others.iter().filter(|delivery| now.since(delivery.at) < DAY_SECONDS).count();
    number(attempts.max(own.len()).saturating_add(recent))
}

/// Retries that this incident may have: the rules, never above the hard cap, lowered by hints.
pub fn retry_limit(rules: &Rules, hints: &[StepHint]) -> u32 {
    let hinted = hints.iter().filter_map(|hint| hint.max_attempts).map(u32::from).min();
    rules.retries.min(Rules::MAX_RETRIES).min(hinted.unwrap_or(u32::MAX))
}

/// Rollbacks that this incident may have.
pub fn rollback_limit(rules: &Rules) -> u32 {
    rules.rollbacks.min(Rules::MAX_ROLLBACKS)
}

/// The first hint that forbids a retry.
pub fn forbidding_hint(hints: &[StepHint]) -> Option<&StepHint> {
    hints.iter().find(|hint| hint.retry == Some(Retryability::Never))
}

/// Whether what failed was a rollback.
pub fn is_of_rollback(context: &Context, incident: &IncidentState) -> bool {
    let current = incident.current.promotion.as_ref();
    context.promotion.as_ref().is_some_and(|promotion| promotion.is_rollback)
        || incident.current.trigger == Trigger::RollbackFailed
        || context.classification.class == Class::RollbackFailed
        || incident.attempts.iter().any(|attempt| {
            attempt.kind == ActionKind::Rollback
                && attempt.promotion.is_some()
                && attempt.promotion.as_ref() == current
        })
}

/// When the Stage has rested after its newest automatic rollback (G5).
pub fn cooldown_end(rules: &Rules, incident: &IncidentState, deliveries: &[Delivery]) -> Option<Timestamp> {
    let remembered = deliveries.iter().map(|delivery| (&delivery.kind, delivery.at));
    let attempts = incident.attempts.iter().map(|attempt| (&attempt.kind, attempt.claimed));
    let newest =
        remembered.chain(attempts).filter(|(kind, _)| **kind == ActionKind::Rollback).map(|(_, at)| at).max();
    newest.map(|at| at.plus(rules.cooldown_seconds.max(super::g05_stage_cooldown::FLOOR_SECONDS)))
}

/// What the context announces. `context` is complete but for its budgets.
pub fn left(context: &Context, rules: &Rules, incident: &IncidentState, deliveries: &[Delivery]) -> Budgets {
    let now = context.now_unix_seconds;
    let over = is_of_rollback(context, incident);
    let retries = match (over, forbidding_hint(&context.hints)) {
        (false, None) => {
            retry_limit(rules, &context.hints).saturating_sub(spent(&ActionKind::Retry, incident, deliveries))
        }
        (true, _) | (false, Some(_)) => 0,
    };
    let rollbacks = rollback_limit(rules).saturating_sub(spent(&ActionKind::Rollback, incident, deliveries));
    let is_old = incident.opened.since(incident.root.at) > rules.max_age_seconds;
    Budgets {
        retries_left: retries,
        rollbacks_left: if over { 0 } else { rollbacks },
        deliveries_left: rules.deliveries.saturating_sub(deliveries_spent(incident, deliveries, now)),
        not_before_unix_seconds: cooldown_end(rules, incident, deliveries).filter(|end| *end > now),
        expires_unix_seconds: is_old.then(|| incident.root.at.plus(rules.max_age_seconds)),
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
