//! Takes secrets and control characters out of texts before anybody sees them.
//!
//! In: any text from Kargo, steps, commits, guests. Out: the same text with secrets replaced by [`MARK`].
//! Recognises shapes, not values: what looks like a digest, a commit, a ULID or an image is left alone, so a secret
//! of such a shape is found only by what stands before it (`token=`, `Authorization:`). Idempotent.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};

/// What stands where a secret was.
pub const MARK: &str = "***";

/// What ends a text that was cut.
const CUT: &str = "… [cut]";

/// Words that make what follows `=` (or the flag of that name) a secret.
const SECRET_WORDS: &str = "password|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|\
                            secret[_-]?key|account[_-]?key|credentials?|signature";

/// Shapes and replacements, applied in order. `$0` parts are kept through capture groups.
static RULES: LazyLock<Vec<(Regex, &'static str)>> = LazyLock::new(|| {
    rules().into_iter().filter_map(|(pattern, with)| Some((Regex::new(&pattern).ok()?, with))).collect()
});

/// `Bearer` or `password:` and a word: a secret only if it does not look like prose ("bearer authentication required",
/// "password: cannot be empty").
static PERHAPS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r#"(?i)\b((?:bearer|basic)\s+|[a-z0-9_.-]*(?:password|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key|account[_-]?key)[a-z0-9_]*:\s+["']?)([A-Za-z0-9._~+/=$!@#%^&*-]{8,})"#,
    )
    .ok()
});

fn rules() -> Vec<(String, &'static str)> {
    // Quotes may have any number of backslashes: what a server answers as JSON in JSON, Kargo quotes once more.
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
            r#"(?i)\b((?:proxy-)?authorization\\*["']?\s*[:=]\s*\\*["']?)(?:(?:basic|bearer|token|negotiate|digest)\s+)?(?:\*\*\*|[^\s"',;\\]+)"#,
            "${1}***",
        ),
        rule(r"\bgh[pousr]_[A-Za-z0-9]{16,}", MARK),
        rule(r"\bgithub_pat_[A-Za-z0-9_]{16,}", MARK),
        // The prefixes that GitLab lists; `gl` alone begins too many names.
        rule(r"\bgl(?:pat|dt|rt|rtr|cbt|ptt|ft|imt|agent|oas|soat|ffct|wt)-[A-Za-z0-9_.-]{16,}", MARK),
        rule(r"(hooks\.slack\.com/(?:services|workflows|triggers)/)[A-Za-z0-9_/-]+", "${1}***"),
        rule(r"\b(?:xox[abeoprs]|xapp)-[A-Za-z0-9-]{10,}", MARK),
        rule(r"\bnpm_[A-Za-z0-9]{20,}", MARK),
        rule(r"\bdckr_[a-z]{3}_[A-Za-z0-9_-]{16,}", MARK),
        rule(r"\b(?:AKIA|ASIA|AGPA|AROA|AIDA|ANPA)[0-9A-Z]{16}\b", MARK),
        rule(r"\bAIza[0-9A-Za-z_-]{35}", MARK),
        rule(r"\bya29\.[0-9A-Za-z_-]{20,}", MARK),
        rule(r"\bGOCSPX-[0-9A-Za-z_-]{20,}", MARK),
        // Client secrets and personal access tokens of Azure.
        rule(r"[0-9A-Za-z_~.-]{3}[0-9]Q~[0-9A-Za-z_~.-]{31,34}", MARK),
        rule(r"\b[0-9A-Za-z]{76}AZDO[0-9A-Za-z]{4}\b", MARK),
        rule(r#"(?i)([?&]sig=)(?:\*\*\*|[^\s&"'<>]+)"#, "${1}***"),
        rule(r"\bhv[sbr]\.[A-Za-z0-9_-]{20,}", MARK),
        rule(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)*", MARK),
        (format!(r"(?i)\b([a-z0-9_.-]*(?:{SECRET_WORDS})[a-z0-9_]* ?= ?){value}"), "${1}***"),
        (format!(r#"(?i)(\\*"(?:[a-z0-9_.-]*(?:{SECRET_WORDS})|auth)\\*"\s*:\s*\\*")[^"\\]*"#), "${1}***"),
        rule(
            r#"(?i)\b((?:private-token|job-token|deploy-token|x-[a-z-]*(?:key|token|secret|api)|(?:set-)?cookie)\\*["']?\s*[:=]\s*\\*["']?)(?:\*\*\*|[^\s"',;\\]+)"#,
            "${1}***",
        ),
        (
            format!(
                r#"(?i)(^|[^a-z0-9-])(--?(?:[a-z0-9-]*-)?(?:{SECRET_WORDS})\s+)(?:\*\*\*|[^\s\]\\"'-][^\s\]\\"']*)"#
            ),
            "${1}${2}***",
        ),
    ]
}

/// The text without secrets and control characters. Line feeds and tabs stay.
pub fn text(text: &str) -> String {
    let mut text = clean(text);
    for (regex, with) in RULES.iter() {
        // Borrowed is what did not change, which is nearly always: no copy then.
        let changed = match with.contains('\u{0}') {
            true => regex.replace_all(&text, userinfo),
            false => regex.replace_all(&text, *with),
        };
        if let Cow::Owned(changed) = changed {
            text = changed;
        }
    }
    let changed = PERHAPS.as_ref().map(|regex| regex.replace_all(&text, perhaps));
    match changed {
        Some(Cow::Owned(changed)) => changed,
        Some(Cow::Borrowed(_)) | None => text,
    }
}

/// Replaces what stands before `@` in a URL, unless it is `git`.
fn userinfo(captures: &Captures<'_>) -> String {
    let part = |at: usize| captures.get(at).map(|part| part.as_str()).unwrap_or_default();
    let (scheme, git, whole) = (part(1), part(2), part(0));
    let has_more = whole.len() > scheme.len() + git.len();
    let mark = if has_more { format!("{MARK}@") } else { git.to_owned() };
    format!("{scheme}{mark}")
}

fn perhaps(captures: &Captures<'_>) -> String {
    let part = |at: usize| captures.get(at).map(|part| part.as_str()).unwrap_or_default();
    let word = part(2);
    let has = |is: fn(&char) -> bool| word.chars().any(|character| is(&character));
    let is_mixed = has(char::is_ascii_uppercase) && word.chars().skip(1).any(|c| c.is_ascii_lowercase());
    let is_secret = has(char::is_ascii_digit) || word.ends_with('=') || (is_mixed && word.len() >= 16);
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
mod tests;
