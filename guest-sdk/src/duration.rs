//! Durations as people read them.
//!
//! In: seconds. Out: the form that settings are written in, such as `1m30s`.

/// `seconds` in the form that settings are written in.
///
/// ```
/// use refloat_policy::duration;
///
/// assert_eq!(duration(0), "0s");
/// assert_eq!(duration(90), "1m30s");
/// assert_eq!(duration(90_000), "1d1h");
/// ```
pub fn duration(seconds: u32) -> String {
    if seconds == 0 {
        return "0s".to_owned();
    }
    let parts =
        [(seconds / 86_400, "d"), (seconds / 3_600 % 24, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let mut text = String::new();
    for (amount, unit) in parts.iter().filter(|(amount, _)| *amount > 0) {
        text += &amount.to_string();
        text += unit;
    }
    text
}
