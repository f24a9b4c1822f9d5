//! Points in time and durations as whole seconds, the resolution of Kubernetes' own times.
//!
//! In: unix seconds. Out: [`Timestamp`] with saturating arithmetic. Nothing here reads a clock or knows calendars:
//! text forms are made where text is made.

use serde::{Deserialize, Serialize};

/// Seconds since 1970-01-01T00:00:00Z. Good until the year 2106.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u32);

impl Timestamp {
    /// The point `seconds` after this one, at most the last representable one.
    pub fn plus(self, seconds: u32) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// The point `seconds` before this one, at least the first representable one.
    pub fn minus(self, seconds: u32) -> Self {
        Self(self.0.saturating_sub(seconds))
    }

    /// Seconds from `earlier` to this point, 0 when `earlier` is later.
    pub fn since(self, earlier: Self) -> u32 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A duration as people write it: `90s`, `5m`, `2h30m`, `1d`. Units are d, h, m, s in that order.
///
/// Returns `None` for anything else, an empty text and what does not fit into 32 bits of seconds included.
pub fn parse_duration(text: &str) -> Option<u32> {
    let mut total: u32 = 0;
    let mut digits = String::new();
    let mut smallest = u32::MAX;
    for character in text.chars() {
        if character.is_ascii_digit() {
            digits.push(character);
            continue;
        }
        let unit = match character {
            'd' => 86_400,
            'h' => 3_600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        if unit >= smallest {
            return None;
        }
        smallest = unit;
        let amount: u32 = digits.parse().ok()?;
        total = total.checked_add(amount.checked_mul(unit)?)?;
        digits.clear();
    }
    (digits.is_empty() && smallest != u32::MAX).then_some(total)
}

/// The shortest text that [`parse_duration`] reads back: `90` is `1m30s`, 0 is `0s`.
pub fn format_duration(seconds: u32) -> String {
    if seconds == 0 {
        return "0s".to_owned();
    }
    let mut rest = seconds;
    let mut text = String::new();
    for (unit, letter) in [(86_400, 'd'), (3_600, 'h'), (60, 'm'), (1, 's')] {
        let amount = rest / unit;
        rest %= unit;
        if amount > 0 {
            text.push_str(&amount.to_string());
            text.push(letter);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_round_trip() {
        for seconds in [0, 1, 59, 60, 90, 3_600, 5_400, 86_399, 86_400, 1_209_600] {
            assert_eq!(parse_duration(&format_duration(seconds)), Some(seconds), "{seconds}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "5", "m", "5x", "1m2h", "1m1m", "-5s", " 5s", "99999999999s"] {
            assert_eq!(parse_duration(text), None, "{text:?}");
        }
    }
}
