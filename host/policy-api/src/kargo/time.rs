//! Points in time and Go durations as they stand in Kubernetes objects.
//!
//! In: RFC 3339 texts and texts such as `1h30m0s`. Out: [`Moment`] and [`GoDuration`].
//! Fractions of a second are cut off: Kubernetes' own times have none.

use policy_core::time::Timestamp;
use serde::Deserialize;
use serde::de::{Deserializer, Error, Unexpected};

/// An RFC 3339 point in time, cut to seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment(pub Timestamp);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong =
            || D::Error::invalid_value(Unexpected::Str(&text), &"an RFC 3339 time between 1970 and 2106");
        let time: jiff::Timestamp = text.parse().map_err(|_| wrong())?;
        u32::try_from(time.as_second()).map(|seconds| Self(Timestamp(seconds))).map_err(|_| wrong())
    }
}

/// A Go duration (`time.Duration.String`), as nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GoDuration(u128);

impl GoDuration {
    /// Whole seconds, a begun one not counted: for what has been reached.
    pub fn seconds_reached(self) -> u32 {
        u32::try_from(self.0 / 1_000_000_000).unwrap_or(u32::MAX)
    }

    /// Whole seconds, a begun one counted: for what is required.
    pub fn seconds_required(self) -> u32 {
        u32::try_from(self.0.div_ceil(1_000_000_000)).unwrap_or(u32::MAX)
    }

    /// Reads what Go's `time.ParseDuration` reads, except negative ones.
    fn parse(text: &str) -> Option<Self> {
        if text == "0" {
            return Some(Self(0));
        }
        let mut rest = text;
        let mut total: u128 = 0;
        while !rest.is_empty() {
            let n_digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
            let (number, tail) = rest.split_at(n_digits);
            let n_unit = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(n_unit);
            let unit: u128 = match unit {
                "h" => 3_600_000_000_000,
                "m" => 60_000_000_000,
                "s" => 1_000_000_000,
                "ms" => 1_000_000,
                "us" | "µs" | "μs" => 1_000,
                "ns" => 1,
                _ => return None,
            };
            total = total.checked_add(amount(number, unit)?)?;
            rest = tail;
        }
        (!text.is_empty()).then_some(Self(total))
    }
}

/// `number` times `unit`, where `number` may have a fraction.
fn amount(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut total = match whole {
        "" => 0,
        digits => digits.parse::<u128>().ok()?.checked_mul(unit)?,
    };
    let mut place = unit;
    for digit in fraction.chars() {
        place /= 10;
        total = total.checked_add(u128::from(digit.to_digit(10)?).checked_mul(place)?)?;
    }
    Some(total)
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| D::Error::invalid_value(Unexpected::Str(&text), &"a duration such as `1h30m0s`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations_are_read() {
        for (text, reached, required) in [
            ("0s", 0, 0),
            ("1h0m0s", 3_600, 3_600),
            ("1h30m5s", 5_405, 5_405),
            ("1.5h", 5_400, 5_400),
            ("1.25s", 1, 2),
            ("300ms", 0, 1),
            ("2m0.000000001s", 120, 121),
            ("0", 0, 0),
        ] {
            let duration = GoDuration::parse(text).expect(text);
            assert_eq!(
                (duration.seconds_reached(), duration.seconds_required()),
                (reached, required),
                "{text}"
            );
        }
        for text in ["", "5", "h", "1x", "-1s", "1h ", "s1", "1..5s"] {
            assert_eq!(GoDuration::parse(text), None, "{text:?}");
        }
    }
}
