//! What a tool said itself, without what it was asked.
//!
//! In: a text that Kargo passed on. Out: the same text without the command line that Kargo puts before it and without
//! the paths of URLs. Repositories are called `rate-limit-service` and `certificates`: names are no reasons.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

/// What Kargo puts before the output of a program: `error executing cmd [/usr/bin/git clone …]: `
/// (`pkg/exec/exec.go`, v1.11.2).
const COMMAND: &str = "error executing cmd [";

/// The path of a URL. A colon belongs to it unless a space follows: that one introduces the answer.
static PATH: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"(https?://[^/\s"'<>]+)/(?:[^\s"'<>:]|:[^\s"'<>])*"#).ok());

/// Where programs say whether they are well.
const HEALTH: [&str; 5] = ["/healthz", "/health", "/readyz", "/ready", "/livez"];

pub(super) fn words(text: &str) -> Cow<'_, str> {
    let said = match text.rfind(COMMAND).and_then(|at| text.get(at..)) {
        Some(command) => command.split_once("]: ").map_or(text, |(_, said)| said),
        None => text,
    };
    match PATH.as_ref() {
        Some(path) => path.replace_all(said, |found: &regex::Captures<'_>| {
            let whole = found.get(0).map_or("", |whole| whole.as_str());
            let server = found.get(1).map_or("", |server| server.as_str());
            // That a health check was asked is no name.
            let is_health = HEALTH.iter().any(|health| whole.ends_with(health));
            format!("{server}/{}", if is_health { "healthz" } else { "" })
        }),
        None => Cow::Borrowed(said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_no_reasons() {
        for (text, words_left) in [
            (
                "error executing cmd [/usr/bin/git clone --bare https://git.example.com/acme/forbidden.git /tmp/x]: fatal: no",
                "fatal: no",
            ),
            (
                "GET https://api.example.com/repos/x509/rate-limit/pulls: 502 Bad []",
                "GET https://api.example.com/: 502 Bad []",
            ),
            ("GET https://web.example.com/x509/healthz: 503", "GET https://web.example.com/healthz: 503"),
            (
                "fatal: repository 'https://git.example.com/denied.git/' not found",
                "fatal: repository 'https://git.example.com/' not found",
            ),
            ("Get \"http://files.example.com:443/x\": EOF", "Get \"http://files.example.com:443/\": EOF"),
            (
                "PUT https://r.example.com/v2/a/blobs/sha256:0f: status 500",
                "PUT https://r.example.com/v2/a/blobs/sha256:0f: status 500"
                    .replace("v2/a/blobs/sha256:0f", "")
                    .as_str(),
            ),
        ] {
            assert_eq!(words(text), words_left, "{text}");
        }
        assert!(PATH.is_some());
    }
}
