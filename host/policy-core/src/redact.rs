//! Takes secrets and control characters out of texts before anybody sees them.
//!
//! In: any text from Kargo, steps, commits, guests. Out: the same text with secrets replaced by [`MARK`].
//! Recognises shapes, not values: what looks like a digest, a commit, a ULID or an image is left alone, so a secret
//! of such a shape is found only by what stands before it (`token=`, `Authorization:`). Idempotent.

use std::sync::LazyLock;

use regex::{Captures, Regex};

/// What stands where a secret was.
pub const MARK: &str = "***";

/// What ends a text that was cut.
const CUT: &str = "… [cut]";

/// Words that make what follows `=` (or the flag of that name) a secret.
const SECRET_WORDS: &str = "password|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|\
                            secret[_-]?key|credentials?|signature";

/// Shapes and replacements, applied in order. `$0` parts are kept through capture groups.
static RULES: LazyLock<Vec<(Regex, &'static str)>> = LazyLock::new(|| {
    rules().into_iter().filter_map(|(pattern, with)| Some((Regex::new(&pattern).ok()?, with))).collect()
});

/// `Bearer` and a text: a secret only if it has a digit, otherwise it is prose ("bearer authentication required").
static BEARER: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?i)\b(bearer\s+)([A-Za-z0-9._~+/=-]{8,})").ok());

fn rules() -> Vec<(String, &'static str)> {
    // What is redacted already ends at its mark, or a second pass would eat what follows it.
    let value = r#"(?:\*\*\*|"[^"]*"|'[^']*'|[^\s&"',;)\]}]+)"#;
    let rule = |pattern: &str, with| (pattern.to_owned(), with);
    vec![
        rule(
            r"(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY( BLOCK)?-----.*?(-----END [A-Z0-9 ]*PRIVATE KEY( BLOCK)?-----|\z)",
            MARK,
        ),
        // A user name alone may be a token; `git` is only ever the name that SSH wants.
        rule(r#"\b([A-Za-z][A-Za-z0-9+.-]*://)(git@)?(?:[^/\s?#"]+@)?"#, "${1}${2}\u{0}"),
        rule(
            r#"(?i)\b((?:proxy-)?authorization\\?["']?\s*[:=]\s*\\?["']?)(?:(?:basic|bearer|token|negotiate|digest)\s+)?(?:\*\*\*|[^\s"',;\\]+)"#,
            "${1}***",
        ),
        rule(r"\bgh[pousr]_[A-Za-z0-9]{16,}", MARK),
        rule(r"\bgithub_pat_[A-Za-z0-9_]{16,}", MARK),
        rule(r"\bgl[a-z]{2,6}-[A-Za-z0-9_.-]{16,}", MARK),
        rule(r"\b(?:xox[abeoprs]|xapp)-[A-Za-z0-9-]{10,}", MARK),
        rule(r"\bnpm_[A-Za-z0-9]{20,}", MARK),
        rule(r"\bdckr_[a-z]{3}_[A-Za-z0-9_-]{16,}", MARK),
        rule(r"\b(?:AKIA|ASIA|AGPA|AROA|AIDA|ANPA)[0-9A-Z]{16}\b", MARK),
        rule(r"\bAIza[0-9A-Za-z_-]{35}", MARK),
        rule(r"\bhv[sbr]\.[A-Za-z0-9_-]{20,}", MARK),
        rule(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)*", MARK),
        (format!(r"(?i)\b([a-z0-9_.-]*(?:{SECRET_WORDS})[a-z0-9_]*=){value}"), "${1}***"),
        (format!(r#"(?i)(\\?"[a-z0-9_.-]*(?:{SECRET_WORDS})\\?"\s*:\s*\\?")[^"\\]*"#), "${1}***"),
        (
            format!(r"(?i)(^|[\s\[])(--?(?:[a-z0-9-]*-)?(?:{SECRET_WORDS})\s+)(?:\*\*\*|[^\s\]-][^\s\]]*)"),
            "${1}${2}***",
        ),
    ]
}

/// The text without secrets and control characters. Line feeds and tabs stay.
pub fn text(text: &str) -> String {
    let mut text = clean(text);
    for (regex, with) in RULES.iter() {
        text = if with.contains('\u{0}') {
            userinfo(regex, &text)
        } else {
            regex.replace_all(&text, *with).into_owned()
        };
    }
    match BEARER.as_ref() {
        Some(regex) => regex.replace_all(&text, bearer).into_owned(),
        None => text,
    }
}

/// Replaces what stands before `@` in a URL, unless it is `git`.
fn userinfo(regex: &Regex, text: &str) -> String {
    let replace = |captures: &Captures<'_>| {
        let part = |at: usize| captures.get(at).map(|part| part.as_str()).unwrap_or_default();
        let (scheme, git, whole) = (part(1), part(2), part(0));
        let has_more = whole.len() > scheme.len() + git.len();
        let mark = if has_more { format!("{MARK}@") } else { git.to_owned() };
        format!("{scheme}{mark}")
    };
    regex.replace_all(text, replace).into_owned()
}

fn bearer(captures: &Captures<'_>) -> String {
    let part = |at: usize| captures.get(at).map(|part| part.as_str()).unwrap_or_default();
    let is_secret = part(2).contains(|character: char| character.is_ascii_digit());
    if is_secret { format!("{}{MARK}", part(1)) } else { part(0).to_owned() }
}

/// Without terminal escapes, other control characters and characters that reorder or hide text.
fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\n' | '\t' => clean.push(character),
            '\r' => {
                if characters.peek() != Some(&'\n') {
                    clean.push('\n');
                }
            }
            '\u{1b}' => skip_escape(&mut characters),
            '\u{ad}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}'
            | '\u{feff}' => {}
            _ if character.is_control() => {}
            _ => clean.push(character),
        }
    }
    clean
}

/// Skips the rest of a terminal escape: `[` up to its final letter, `]` up to its end, or one character.
fn skip_escape(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match characters.peek() {
        Some('[') => {
            characters.next();
            while characters.next_if(|next| matches!(next, '0'..='?' | ' '..='/')).is_some() {}
            characters.next_if(|next| matches!(next, '@'..='~'));
        }
        Some(']') => while characters.next_if(|next| !matches!(next, '\u{7}' | '\u{1b}' | '\n')).is_some() {},
        Some(_) | None => {}
    }
}

/// The text as anybody may see it: redacted, then at most `max_bytes` bytes of it. In this order, because a secret
/// that was cut in half has lost its shape.
pub fn shown(input: &str, max_bytes: usize) -> String {
    capped(&text(input), max_bytes)
}

/// At most `max_bytes` bytes of the text, cut between characters; a cut text says so at its end, if there is room.
/// For text that is redacted already; for any other, [`shown`].
pub fn capped(text: &str, max_bytes: usize) -> String {
    if text.len() <= max_bytes {
        return text.to_owned();
    }
    let mark = if max_bytes >= CUT.len() { CUT } else { "" };
    let mut end = max_bytes - mark.len();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let kept = text.get(..end).unwrap_or_default();
    format!("{kept}{mark}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_pattern_compiles() {
        assert_eq!(RULES.len(), rules().len());
        assert!(BEARER.is_some());
    }

    /// Words that secrets and innocent texts are made of, so that random texts come near the patterns.
    fn pieces() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("https://".to_owned()),
            Just("@".to_owned()),
            Just("git@".to_owned()),
            Just("password=".to_owned()),
            Just("--token ".to_owned()),
            Just("Authorization: Bearer ".to_owned()),
            Just("ghp_".to_owned()),
            Just("eyJhbGciOi.".to_owned()),
            Just("-----BEGIN PRIVATE KEY-----".to_owned()),
            Just("\"secret\": \"".to_owned()),
            Just("\u{1b}[31m".to_owned()),
            "[a-zA-Z0-9 .:/\"'\\\\=@&\\[\\]*-]{0,24}",
            "\\PC{0,8}",
        ];
        proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn twice_is_once(input in pieces()) {
            let once = text(&input);
            prop_assert_eq!(text(&once), once);
        }

        #[test]
        fn no_control_characters_are_left(input in "\\PC*|[\\x00-\\x1f\\x7f]{0,20}") {
            let is_clean = !text(&input).chars().any(|c| c.is_control() && c != '\n' && c != '\t');
            prop_assert!(is_clean);
        }

        #[test]
        fn tokens_never_survive(before in "[a-z :,]{0,10} ", token in "[A-Za-z0-9]{36}") {
            for secret in [format!("ghp_{token}"), format!("npm_{token}"), format!("glpat-{token}"), format!("dckr_pat_{token}")] {
                let clean = text(&format!("{before}{secret} after"));
                prop_assert!(!clean.contains(&token), "{}", clean);
            }
            for input in [
                format!("{before}https://user:{token}@git.example.com/x"),
                format!("{before}--password {token}"),
                format!("{before}https://a.example.com/?token={token}&x=1"),
                format!("{before}Authorization: Basic {token}"),
            ] {
                let clean = text(&input);
                prop_assert!(!clean.contains(&token), "{}", clean);
            }
        }

        #[test]
        fn identities_stay(hex in "[0-9a-f]{64}", ulid in "01[0-9a-hjkmnp-tv-z]{24}") {
            let sha = &hex[..40];
            let input = format!(
                "registry.example.com:5000/shop/web:v1@sha256:{hex} {sha} prod.{ulid}.{} oci://registry.example.com/a@sha256:{hex} git@git.example.com:shop/config.git",
                &hex[..7]
            );
            prop_assert_eq!(text(&input), input);
        }

        #[test]
        fn capped_stays_within(input in "\\PC{0,60}", max in 0_usize..80) {
            let cut = capped(&input, max);
            prop_assert!(cut.len() <= max);
            prop_assert!(input.len() > max || cut == input);
        }
    }
}
