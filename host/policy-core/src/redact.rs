//! Takes secrets and control characters out of texts before anybody sees them.
//!
//! In: any text from Kargo, steps, commits, guests. Out: the same text with secrets replaced by [`MARK`].
//! Recognises shapes, not values: what looks like a digest, a commit, a ULID or an image is left alone, so a secret
//! of such a shape is found only by what stands before it (`token=`, `Authorization:`). Idempotent. The shapes are tables
//! in `rules`; `named` finds the values that names announce.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};

mod named;
mod rules;

/// What stands where a secret was.
pub const MARK: &str = "***";

/// What ends a text that was cut.
const CUT: &str = "… [cut]";

/// How often what is redacted is looked at again. Once is enough, unless a mark parts two secrets that were one word.
const ROUNDS: usize = 3;

/// Shapes and replacements, applied in order.
static SHAPES: LazyLock<Vec<(Regex, &'static str)>> = LazyLock::new(|| {
    rules::shapes()
        .into_iter()
        .filter_map(|(pattern, with)| Some((Regex::new(&pattern).ok()?, with)))
        .collect()
});

static BEARER: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(rules::BEARER).ok());

/// The text without secrets and control characters. Line feeds and tabs stay.
pub fn text(text: &str) -> String {
    let mut text = clean(text);
    for _ in 0..ROUNDS {
        let Some(changed) = once(&text) else { break };
        text = changed;
    }
    text
}

/// The text after every rule; `None` if none of them changes it.
fn once(text: &str) -> Option<String> {
    let mut now = Cow::Borrowed(text);
    // Borrowed is what did not change, which is nearly always: no copy then.
    let keep = |changed: Cow<'_, str>| match changed {
        Cow::Owned(changed) => Some(changed),
        Cow::Borrowed(_) => None,
    };
    for (regex, with) in SHAPES.iter() {
        let changed = match with.contains('\u{0}') {
            true => keep(regex.replace_all(&now, userinfo)),
            false => keep(regex.replace_all(&now, *with)),
        };
        now = changed.map_or(now, Cow::Owned);
    }
    now = keep(named::values(&now)).map_or(now, Cow::Owned);
    let changed = BEARER.as_ref().and_then(|regex| keep(regex.replace_all(&now, bearer)));
    now = changed.map_or(now, Cow::Owned);
    (now != text).then(|| now.into_owned())
}

/// Replaces what stands before `@` in a URL, unless it is `git`.
fn userinfo(captures: &Captures<'_>) -> String {
    let part = |at: usize| captures.get(at).map(|part| part.as_str()).unwrap_or_default();
    let (scheme, git, whole) = (part(1), part(2), part(0));
    let has_more = whole.len() > scheme.len() + git.len();
    let mark = if has_more { format!("{MARK}@") } else { git.to_owned() };
    format!("{scheme}{mark}")
}

/// Replaces the word after `Bearer`, if it looks like a secret.
fn bearer(captures: &Captures<'_>) -> String {
    let part = |at: usize| captures.get(at).map(|part| part.as_str()).unwrap_or_default();
    if named::looks_secret(part(2)) { format!("{}{MARK}", part(1)) } else { part(0).to_owned() }
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
