//! Times and durations as Kubernetes and Go write them: RFC 3339 with whole seconds, and `1h2m3.5s`.
//! In go timestamps or text, out comes the other form. It must not read a clock.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// A time as the API server stores it, with whole seconds.
pub fn stamp(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// [`stamp`] as a JSON value.
pub fn stamp_value(time: Timestamp) -> Value {
    Value::String(stamp(time))
}

/// The time in `text`, if it is one.
pub fn parse(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

/// A Go duration such as `1h30m`, `300ms` or `2.37330826s`; `None` when it is not one.
pub fn parse_duration(text: &str) -> Option<SignedDuration> {
    let mut rest = text;
    let mut seconds = 0.0_f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let factor = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * factor;
        rest = tail;
    }
    SignedDuration::try_from_secs_f64(seconds).ok()
}

/// A duration as Go's `Duration.String` writes it, to the millisecond.
pub fn format_duration(duration: SignedDuration) -> String {
    let millis = duration.as_millis().max(0);
    let (hours, minutes) = (millis / 3_600_000, millis / 60_000 % 60);
    let (seconds, rest) = (millis / 1000 % 60, millis % 1000);
    if (1..1000).contains(&millis) {
        return format!("{millis}ms");
    }
    let seconds = match rest {
        0 => format!("{seconds}s"),
        rest => format!("{}s", format!("{seconds}.{rest:03}").trim_end_matches('0')),
    };
    match (hours, minutes) {
        (0, 0) => seconds,
        (0, minutes) => format!("{minutes}m{seconds}"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations_are_read_and_written() {
        assert_eq!(parse_duration("1h30m"), Some(SignedDuration::from_secs(5400)));
        assert_eq!(parse_duration("1.5s"), Some(SignedDuration::from_millis(1500)));
        assert_eq!(parse_duration("soon"), None);
        assert_eq!(format_duration(SignedDuration::from_millis(2370)), "2.37s");
        assert_eq!(format_duration(SignedDuration::from_secs(3661)), "1h1m1s");
        assert_eq!(format_duration(SignedDuration::from_millis(20)), "20ms");
    }
}
