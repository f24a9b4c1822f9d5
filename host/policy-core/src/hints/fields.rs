//! The fields of a hint, schema version 1 (failure-strategies.md 4.1), checked and clamped.
//!
//! In: key and value pairs of either channel. Out: a [`StepHint`], or what is wrong with it. One bad field makes the
//! whole hint bad: a hint that was misread might say less than its author meant.

use crate::failure::{Class, Effect, FaultDomain, Retryability, StepHint};
use crate::redact;
use crate::rules::Rules;
use crate::time::{Timestamp, parse_duration};

const MAX_REASON: usize = 63;
const MAX_SCOPE_KEY: usize = 128;
const MAX_KEY: usize = 32;
const MAX_EXTRA: usize = 16;
const MAX_EXTRA_VALUE: usize = 256;
const MAX_DOMAIN: usize = 253;
const MAX_SUGGESTIONS: usize = 3;

/// Reads the pairs. `at` is when the step failed: a `retry-after` that is a date counts from there.
///
/// # Errors
/// What is wrong, for the record.
pub(super) fn hint(pairs: &[(String, String)], at: Option<Timestamp>) -> Result<StepHint, String> {
    let mut hint = StepHint::default();
    let mut has_checked = false;
    for (key, value) in pairs {
        if is_checked(key, value)? {
            has_checked = true;
        }
        match key.as_str() {
            "v" if value == "1" => {}
            "v" => return Err(format!("version `{value}` is not known")),
            "class" => hint.class = Some(word(key, value)?),
            "retry" => hint.retry = Some(retry(value)?),
            "retry-after" => hint.retry_after_seconds = Some(retry_after(value, at)?),
            "max-attempts" => hint.max_attempts = Some(value.parse().map_err(|_| wrong(key, value))?),
            "reason" => hint.reason = Some(reason(value)?),
            "scope-key" if value.len() <= MAX_SCOPE_KEY => hint.scope_key = Some(redact::text(value)),
            "scope-key" => return Err(format!("`scope-key` is longer than {MAX_SCOPE_KEY} bytes")),
            _ if !is_key(key) => {
                return Err("a key that is no word of at most 32 letters, digits and dashes".to_owned());
            }
            _ if hint.extra.len() < MAX_EXTRA => {
                hint.extra.push((key.clone(), redact::shown(value, MAX_EXTRA_VALUE)));
            }
            _ => return Err(format!("more than {MAX_EXTRA} other keys")),
        }
    }
    let says_nothing = StepHint { extra: Vec::new(), ..hint.clone() } == StepHint::default();
    if says_nothing && !has_checked { Err("no field that means anything".to_owned()) } else { Ok(hint) }
}

/// Whether it can be a key: what the envelope's grammar allows, whatever the channel.
fn is_key(key: &str) -> bool {
    let is_part = |character: char| matches!(character, 'a'..='z' | '0'..='9' | '-');
    key.len() <= MAX_KEY
        && key.starts_with(|first: char| first.is_ascii_lowercase())
        && key.chars().all(is_part)
}

/// Whether the key is one that has a meaning and travels as it is, for want of a field of its own.
///
/// # Errors
/// When its value is none that it can have.
fn is_checked(key: &str, value: &str) -> Result<bool, String> {
    let is_good = match key {
        "fault" => fault(value).is_some(),
        "effect" => effect(value).is_some(),
        "idempotent" => matches!(value, "true" | "false"),
        "domain" => value.len() <= MAX_DOMAIN,
        "suggest" => value.split('+').count() <= MAX_SUGGESTIONS && value.split('+').all(is_suggestion),
        _ => return Ok(false),
    };
    if is_good { Ok(true) } else { Err(wrong(key, value)) }
}

/// A fault domain by its word.
pub(crate) fn fault(value: &str) -> Option<FaultDomain> {
    serde_json::from_value(serde_json::Value::String(value.to_owned())).ok()
}

/// An effect by its word; a step cannot say that it does not know.
pub(crate) fn effect(value: &str) -> Option<Effect> {
    let effect = serde_json::from_value(serde_json::Value::String(value.to_owned())).ok();
    effect.filter(|effect| *effect != Effect::Unknown)
}

fn is_suggestion(word: &str) -> bool {
    let plain = ["retry", "rollback", "reverify", "request-approval", "fix-forward", "notify"];
    plain.contains(&word) || word.strip_prefix("run-recovery:").is_some_and(|name| !name.is_empty())
}

/// `retryAfter` as `retry-after`: outputs are YAML, where people write camel case.
pub(super) fn kebab(key: &str) -> String {
    let mut kebab = String::with_capacity(key.len() + 4);
    for character in key.chars() {
        if character.is_ascii_uppercase() {
            kebab.push('-');
            kebab.push(character.to_ascii_lowercase());
        } else {
            kebab.push(if character == '_' { '-' } else { character });
        }
    }
    kebab
}

fn wrong(key: &str, value: &str) -> String {
    format!("`{key}` cannot be `{}`", redact::shown(value, 60))
}

fn word(key: &str, value: &str) -> Result<Class, String> {
    serde_json::from_value(serde_json::Value::String(value.to_owned())).map_err(|_| wrong(key, value))
}

fn retry(value: &str) -> Result<Retryability, String> {
    match value {
        "now" => Ok(Retryability::Now),
        "after-delay" => Ok(Retryability::AfterDelay),
        "whole-only" => Ok(Retryability::WholeOnly),
        "needs-change" => Ok(Retryability::NeedsChange),
        "never" => Ok(Retryability::Never),
        _ => Err(wrong("retry", value)),
    }
}

fn reason(value: &str) -> Result<String, String> {
    let mut characters = value.chars();
    let begins = characters.next().is_some_and(|first| first.is_ascii_uppercase());
    let goes_on = characters.all(|next| next.is_ascii_uppercase() || next.is_ascii_digit() || next == '_');
    if begins && goes_on && value.len() <= MAX_REASON {
        Ok(value.to_owned())
    } else {
        Err(wrong("reason", value))
    }
}

/// Seconds, a duration, or an RFC 3339 time in UTC; at most 14 days.
fn retry_after(value: &str, at: Option<Timestamp>) -> Result<u32, String> {
    let of_date = || Some(utc(value)?.since(at?));
    let is_number = !value.is_empty() && value.chars().all(|character| character.is_ascii_digit());
    let seconds = if is_number {
        // More digits than fit are a very long time, not no time.
        Some(value.parse().unwrap_or(u32::MAX))
    } else {
        parse_duration(value).or_else(of_date)
    };
    seconds.map(|seconds| seconds.min(Rules::MAX_WAIT_SECONDS)).ok_or_else(|| wrong("retry-after", value))
}

/// Unix seconds of `2026-01-31T12:00:00Z`.
fn utc(text: &str) -> Option<Timestamp> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let numbers = |text: &str, separator: char| -> Option<(i64, i64, i64)> {
        let mut parts = text.split(separator).map(|part| part.parse::<i64>().ok());
        let three = (parts.next()??, parts.next()??, parts.next()??);
        parts.next().is_none().then_some(three)
    };
    let (year, month, day) = numbers(date, '-')?;
    let (hour, minute, second) = numbers(time.split('.').next()?, ':')?;
    let in_range = (1970..=2105).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !in_range || !(0..24).contains(&hour) || !(0..60).contains(&minute) || !(0..=60).contains(&second) {
        return None;
    }
    // Days since 1970-01-01 by counting years from March, so that the leap day comes last.
    let (shifted_year, shifted_month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let days = shifted_year * 365 + shifted_year / 4 - shifted_year / 100 + shifted_year / 400 + day_of_year
        - 719_468;
    u32::try_from(days * 86_400 + hour * 3_600 + minute * 60 + second).ok().map(Timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read() {
        assert_eq!(utc("1970-01-01T00:00:00Z"), Some(Timestamp(0)));
        assert_eq!(utc("2026-11-23T06:29:26Z"), Some(Timestamp(1_795_415_366)));
        assert_eq!(utc("2024-02-29T23:59:59.5Z"), Some(Timestamp(1_709_251_199)));
        for text in ["2026-11-23", "2026-13-01T00:00:00Z", "2026-11-23T06:29:26+01:00", "T Z"] {
            assert_eq!(utc(text), None, "{text}");
        }
    }

    #[test]
    fn waits_are_clamped() {
        assert_eq!(retry_after("99999999999999999999", None), Ok(Rules::MAX_WAIT_SECONDS));
        assert_eq!(retry_after("120s", None), Ok(120));
        assert_eq!(retry_after("1970-01-01T00:02:00Z", Some(Timestamp(60))), Ok(60));
        assert!(retry_after("-5", None).is_err());
        assert!(retry_after("", None).is_err());
    }
}
