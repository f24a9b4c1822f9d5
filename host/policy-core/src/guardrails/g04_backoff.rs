//! G4: a retry waits. 30 s doubling with each retry, capped at 30 min, full jitter, never under 10 s.
//!
//! Why: what failed for load or a race fails again when everybody repeats at once. Anchors: Kargo's own floor of
//! 10 s, Argo CD 5 s doubling to 3 min, Kubernetes Jobs up to 6 min. A policy's delay and a hint's `retry-after` only
//! raise the pause (at most 14 days). The pause counts from the failure, the policy's delay from its decision: both
//! stay where they are when the same decision is checked again later. A rollback does not wait.

use super::{Input, budget};
use crate::context::Context;
use crate::decision::{Action, ActionKind, Operation};
use crate::rules::Rules;
use crate::time::Timestamp;
use crate::write::Verdict;

/// Postpones a retry until its pause is over.
pub fn check(action: &Action, input: &Input<'_>) -> Verdict {
    let Operation::Retry { delay_seconds } = &action.operation else {
        return Verdict::Allow;
    };
    let earliest = earliest(*delay_seconds, input);
    if input.now >= earliest {
        return Verdict::Allow;
    }
    Verdict::Postpone {
        until: earliest,
        because: format!("a retry waits {}", crate::time::format_duration(earliest.since(input.now))),
    }
}

/// The earliest time at which a retry with that delay may be created.
pub fn earliest(delay_seconds: u32, input: &Input<'_>) -> Timestamp {
    let spent = budget::spent(&ActionKind::Retry, input.incident, input.deliveries);
    let pause = pause_seconds(input.rules, spent, input.context).max(hinted_seconds(input.context));
    let from_failure = input.context.failure.at_unix_seconds.plus(pause);
    let from_decision = input.context.now_unix_seconds.plus(delay_seconds.min(Rules::MAX_WAIT_SECONDS));
    from_failure.max(from_decision)
}

/// The jittered pause after `spent` retries: between the floor and `backoff * 2^spent`, at most the cap.
fn pause_seconds(rules: &Rules, spent: u32, context: &Context) -> u32 {
    let doubled = rules.backoff_seconds.saturating_mul(1_u32.checked_shl(spent).unwrap_or(u32::MAX));
    let ceiling = doubled.min(rules.backoff_cap_seconds).max(Rules::MIN_BACKOFF_SECONDS);
    let width = u64::from(ceiling - Rules::MIN_BACKOFF_SECONDS) + 1;
    let offset = mix(context.seed, spent) % width;
    Rules::MIN_BACKOFF_SECONDS.saturating_add(u32::try_from(offset).unwrap_or(0))
}

/// The longest `retry-after` that a step asked for.
fn hinted_seconds(context: &Context) -> u32 {
    let longest = context.hints.iter().filter_map(|hint| hint.retry_after_seconds).max();
    longest.unwrap_or(0).min(Rules::MAX_WAIT_SECONDS)
}

/// Spreads a seed evenly over 64 bits (the finalizer of splitmix64): the same seed always gives the same pause.
fn mix(seed: [u32; 4], salt: u32) -> u64 {
    let mut state = u64::from(salt);
    for word in seed {
        state = state.wrapping_add(u64::from(word)).wrapping_add(0x9e37_79b9_7f4a_7c15);
        state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        state ^= state >> 31;
    }
    state
}
