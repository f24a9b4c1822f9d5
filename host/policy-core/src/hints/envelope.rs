//! The envelope `[kargo-hint v=1 class=quota retry-after=120]` in a step's message.
//!
//! In: the step that failed. Out: its envelopes in order, as key and value pairs, or why one is not heard.
//! Only texts that the template's author wrote are read: `fail` messages, what an `http` step's `errorExpression`
//! made, and messages of step kinds that are not Kargo's own. Everything else quotes servers and commits.

use std::sync::LazyLock;

use regex::Regex;

use crate::classify::unwrap;
use crate::snapshot::StepSnapshot;

/// Key and value pairs of one envelope, or why it is refused.
pub(super) type Envelope = Result<Vec<(String, String)>, String>;

/// The grammar of failure-strategies.md 4.2 C: at most 24 pairs, no quotes, backslashes or `]` in values, because
/// Kargo quotes `http` texts like Go does.
static VALID: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"^\[kargo-hint((?: +[a-z][a-z0-9-]{0,31}=[A-Za-z0-9_.:/+@-]{0,200}){1,24})\]").ok()
});

const OPENING: &str = "[kargo-hint ";

/// The envelopes of the step; `is_trusted` when its text counts as the author's own, whatever it quotes.
pub(super) fn read(step: &StepSnapshot, is_trusted: bool) -> Vec<Envelope> {
    let text = unwrap::step_message(&step.message).text;
    let own = match step.kind.as_str() {
        "fail" => Some(text.strip_prefix("failed: ").unwrap_or(text).to_owned()),
        "http" => own_text_of_http(text).or_else(|| is_trusted.then(|| text.to_owned())),
        _ if is_trusted => Some(text.to_owned()),
        kind if unwrap::is_built_in(kind) => None,
        _ => Some(text.to_owned()),
    };
    match own {
        Some(own) => envelopes(&own),
        None if text.contains(OPENING) => {
            vec![Err(format!("messages of `{}` steps quote others", step.kind))]
        }
        None => Vec::new(),
    }
}

/// What `errorExpression` made of the answer: Go-quoted after the fixed text (`http_requester.go:156`).
fn own_text_of_http(text: &str) -> Option<String> {
    let (fixed, quoted) = text.split_once(" response met failure criteria: ")?;
    fixed.starts_with("HTTP (").then(|| unquote(quoted)).flatten()
}

fn envelopes(text: &str) -> Vec<Envelope> {
    let starts = text.match_indices(OPENING).take(8);
    starts.filter_map(|(at, _)| text.get(at..)).map(envelope).collect()
}

fn envelope(text: &str) -> Envelope {
    let valid = VALID.as_ref().and_then(|valid| valid.captures(text)).and_then(|captures| captures.get(1));
    let Some(pairs) = valid else { return Err("the envelope does not follow its grammar".to_owned()) };
    let pairs = pairs.as_str().split_whitespace().filter_map(|pair| pair.split_once('='));
    // An empty value means that the key is absent: expressions may have nothing to say.
    Ok(pairs
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect())
}

/// Reads a text that Go wrote with `%q`. `None` if it is not one.
pub fn unquote(quoted: &str) -> Option<String> {
    let inner = quoted.trim_end().strip_prefix('"')?.strip_suffix('"')?;
    let mut text = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            text.push(character);
            continue;
        }
        match characters.next()? {
            'n' => text.push('\n'),
            't' => text.push('\t'),
            'r' => text.push('\r'),
            'a' | 'b' | 'f' | 'v' => text.push(' '),
            'x' => text.push(escaped(&mut characters, 2)?),
            'u' => text.push(escaped(&mut characters, 4)?),
            'U' => text.push(escaped(&mut characters, 8)?),
            other => text.push(other),
        }
    }
    Some(text)
}

fn escaped(characters: &mut std::str::Chars<'_>, n_digits: usize) -> Option<char> {
    let mut code = 0_u32;
    for _ in 0..n_digits {
        code = code.checked_mul(16)?.checked_add(characters.next()?.to_digit(16)?)?;
    }
    Some(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
}
