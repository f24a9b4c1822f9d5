//! What a text says did not happen.
//!
//! In: what a tool said. Out: the same text with `no connection refused errors` and `rate limit not exceeded` left out, so
//! that no row takes a fault that is denied for one that was met. Phrases in which the denial is the fault, such as
//! `could not connect` and `not responding`, stay.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

/// Words that somebody may deny, a denial before them or behind them.
static DENIED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let fault = concat!(
        r"(?:timed[ -]?out|time[ -]?outs?|timing out|rate[ -]?limit(?:s|ed|ing)?(?: (?:errors?|exceeded))?|throttl(?:ed|ing)|",
        r"connections? (?:was |were )?(?:refused|resets?|timeouts?|timed out|closed|lost|refusals?)|refused connections?|",
        r"(?:network|connection|connectivity|http|server|gateway|dns|tls|api|5xx|50\d)[ -](?:errors?|failures?|issues?|problems?)|",
        r"quota (?:issues?|errors?|exceeded)|oom ?kill(?:s|ed)?|out of memory|evict(?:ed|ions?)|unavailable|outages?|",
        r"(?:tests?|checks?|specs?|assertions?)(?: (?:have|has|had))? fail(?:ed|ures?|ing|s)?|fail(?:ed|ing) (?:tests?|checks?|specs?)|failed|failures?)",
    );
    let not = r"(?:not|n[\x27\u{2019}]t)(?: an?| been| have| be| get| being)*";
    // Up to two words between: `no unexpected connection refused errors`.
    let before =
        format!(r"(?:\b(?:no|0|zero|without(?: an?| any)?|free of)(?: [a-z0-9/-]+){{0,2}}?|\bnever|{not})");
    let behind = concat!(
        r"(?:(?: errors?)?(?: was| were| is| has| have| did| been| had)?(?: not|n[\x27\u{2019}]t| never)",
        r"(?: been| yet| be)*(?: exceeded| reached| hit| met| seen| found| observed| occur(?:red)?| happen(?:ed)?| apply| enabled| the (?:cause|reason|problem))|",
        r"(?: errors?)?[:=] ?(?:0|no|none)\b)",
    );
    Regex::new(&format!(r"(?i){before} {fault}(?: errors?)?|{fault}{behind}")).ok()
});

/// Words after which a text speaks of something else than the failure, up to the end of the sentence or line, and lines
/// of a log that say that they are no error.
static ASIDE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r"(?im)\b(?:not (?:caused by|due to|because of)|(?:unrelated|not related) to|ruled out|ignor(?:ed|ing)|",
        r"(?:recovered|recovering) from|previous(?:ly)?(?: attempt| error| run)?|earlier|expected error)\b[^\n;]*|",
        r"^\s*(?:[0-9tTzZ:.+-]+\s+)?\[?(?:warn(?:ing)?|info|debug|notice|trace)\b[^\n]*$",
    ))
    .ok()
});

/// The text without denials.
pub(super) fn left_out(text: &str) -> Cow<'_, str> {
    without(&DENIED, text)
}

/// The text of a step that nobody knows without what it says by the way.
pub(super) fn to_the_point(text: &str) -> Cow<'_, str> {
    without(&ASIDE, text)
}

fn without<'a>(pattern: &LazyLock<Option<Regex>>, text: &'a str) -> Cow<'a, str> {
    match pattern.as_ref() {
        Some(pattern) => pattern.replace_all(text, "…"),
        None => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_happen_is_left_out() {
        for (text, left) in [
            ("no connection refused errors were found, but it broke", "… were found, but it broke"),
            ("error: rate limit not exceeded", "error: …"),
            ("the request did not get rate limited", "the request did …"),
            ("20 passed, 0 failed; upload: EOF", "20 passed, …; upload: EOF"),
            ("it wasn't throttled: bad token", "it was…: bad token"),
            ("timeouts: 0, rejected", "…, rejected"),
            (
                "could not connect to server: Connection refused",
                "could not connect to server: Connection refused",
            ),
            ("server not responding", "server not responding"),
            ("no route to host", "no route to host"),
            ("no such host", "no such host"),
            ("Failed to connect: Connection timed out", "Failed to connect: Connection timed out"),
        ] {
            assert_eq!(left_out(text), left, "{text}");
        }
        assert!(DENIED.is_some() && ASIDE.is_some());
    }

    #[test]
    fn what_is_said_by_the_way_is_left_out() {
        for (text, left) in [
            ("warning: connection refused\nerror: not signed", "…\nerror: not signed"),
            ("2026-11-25T10:00:00Z WARN EOF\nEOF", "…\nEOF"),
            ("ruled out: EOF; bad token", "…; bad token"),
            ("it is not caused by EOF", "it is …"),
            ("dial tcp: connection refused", "dial tcp: connection refused"),
        ] {
            assert_eq!(to_the_point(text), left, "{text}");
        }
    }
}
