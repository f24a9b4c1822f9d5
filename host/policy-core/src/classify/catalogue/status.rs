//! The number of an HTTP answer in a text.
//!
//! In: what a tool said. Out: the first three digits that stand for a status. Commit hashes, ports, sizes and request
//! ids are full of digits, so a number counts only by what stands around it: the words that clients put before it,
//! the reason that servers put behind it.

use std::sync::LazyLock;

use regex::Regex;

/// Where forges, registries, Helm, curl, clouds and Go clients put the number.
static BEFORE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r#"(?i)(?:https?://[^\s"]+"? ?: |returned error: |status ?code:? |response status(?: code)?:? "?|"#,
        r#"returned status |api error: |googleapi: error |unexpected (?:response|status)(?: code)? |with status |"#,
        r#"\{message: |HTTP(?:/\d(?:\.\d)?)?(?: code| error| status)?:? \(?|response code:? |status[:=] ?)(\d{3})\b"#,
    ))
    .ok()
});

/// A number with the reason of its status, as RFC 9110 names it.
static BEHIND: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r"(?i)\b(\d{3}) (?:bad request|unauthorized|payment required|forbidden|not found|method not allowed|",
        r"not acceptable|request timeout|conflict|gone\b|precondition failed|payload too large|content too large|",
        r"unprocessable|too early|too many requests|internal server error|not implemented|bad gateway|",
        r"service (?:temporarily )?unavailable|gateway time-?out)",
    ))
    .ok()
});

/// The status, 100 to 599.
pub(super) fn find(text: &str) -> Option<u16> {
    let number = |regex: &LazyLock<Option<Regex>>| {
        let digits = regex.as_ref()?.captures(text)?.get(1)?;
        digits.as_str().parse().ok().filter(|status| (100..600).contains(status))
    };
    number(&BEFORE).or_else(|| number(&BEHIND))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_only_as_statuses() {
        for (text, status) in [
            ("GET https://api.example.com/pulls/7: 502  []", Some(502)),
            ("failed to fetch https://charts.example.com/index.yaml : 500 Internal Server Error", Some(500)),
            ("The requested URL returned error: 403", Some(403)),
            ("unexpected status code 401 Unauthorized", Some(401)),
            ("https response error StatusCode: 400, RequestID: 12", Some(400)),
            ("unexpected response 503 creating pull request", Some(503)),
            ("received non 2xx response status \"404 Not Found\" when fetching", Some(404)),
            ("googleapi: Error 429: Quota exceeded", Some(429)),
            ("deploy API: 503 Service Unavailable", Some(503)),
            ("HTTP 413 curl 22", Some(413)),
            ("commit 404beef, port 503, 500 widgets", None),
            ("release e404f503 rejected", None),
            ("dial tcp 127.0.0.1:443", None),
        ] {
            assert_eq!(find(text), status, "{text}");
        }
        assert!(BEFORE.is_some() && BEHIND.is_some());
    }
}
