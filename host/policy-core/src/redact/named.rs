//! Values that a name announces: `password=…`, `"token": "…"`, `Authorization: …`, `--secret …`, in any quoting.
//!
//! In: a text. Out: the text with [`MARK`] for the value of each name that makes it a secret. A pattern finds the name
//! ([`rules::names`]); code finds where the value ends, because that depends on how it began: JSON in JSON puts
//! backslashes before its quotes, and only the same number of them ends a value. What reads like prose or a count stays.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::{MARK, rules};

/// How far away a bracket may be, in bytes: where a map of Go opened, where an expression ends.
const MAX_NEAR: usize = 300;

/// The patterns that this file needs.
pub(super) struct Patterns {
    names: Regex,
    opener: Regex,
    next: Regex,
    scheme: Regex,
    authorization: Regex,
}

/// `None` only if a pattern does not compile, which a test excludes.
pub(super) static PATTERNS: LazyLock<Option<Patterns>> = LazyLock::new(|| {
    Some(Patterns {
        names: Regex::new(&rules::names()).ok()?,
        opener: Regex::new(rules::OPENER).ok()?,
        next: Regex::new(r#"\A\s*,\s*\\*["']"#).ok()?,
        scheme: Regex::new(&format!(r#"\A(?i:{})[ \t]+[^\s&"',;)\]}}\\]+"#, rules::SCHEMES)).ok()?,
        authorization: Regex::new(&rules::authorization()).ok()?,
    })
});

/// What kind of name it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A header whose value is a scheme and a secret.
    Authorization,
    /// `Cookie: a=b; c=d`.
    Cookie,
    /// Another header.
    Header,
    /// `password`, `api_key`: a secret.
    Secret,
    /// `pass`, `pwd`: also the name of a count and of a folder.
    Weak,
    /// `auth` of Docker's configuration, in JSON only.
    Auth,
}

/// A name, what is around it, and what follows.
struct Place<'t> {
    kind: Kind,
    name: &'t str,
    suffix: String,
    close: &'t str,
    /// Without white space; empty for a flag.
    separator: &'t str,
    is_spaced: bool,
    is_member: bool,
    before: &'t str,
    rest: &'t str,
}

/// The text without the values that names announce.
pub(super) fn values(text: &str) -> Cow<'_, str> {
    let Some(patterns) = PATTERNS.as_ref() else { return Cow::Borrowed(text) };
    let (mut clean, mut done, mut at) = (String::new(), 0, 0);
    while let Some(found) = patterns.names.captures_at(text, at) {
        at = found.get(0).map_or(text.len(), |whole| whole.end());
        let Some(place) = place(text, &found, at) else { continue };
        let Some(Range { start, end }) = patterns.value(&place) else { continue };
        let (start, end) = (at + start, at + end);
        clean.push_str(text.get(done..start).unwrap_or_default());
        // A number stays a JSON text when it becomes one.
        let is_number = !place.close.is_empty() && text.get(start..end).is_some_and(is_number);
        let quote = if is_number && !text.get(..start).is_some_and(|t| t.ends_with(['"', '\''])) {
            place.close
        } else {
            ""
        };
        for part in [quote, MARK, quote] {
            clean.push_str(part);
        }
        (done, at) = (end, end);
    }
    match done {
        0 => Cow::Borrowed(text),
        _ => Cow::Owned(clean + text.get(done..).unwrap_or_default()),
    }
}

/// The place of a match that ends at `at`; `None` if it is none after all: a blank separates only a flag from its value.
fn place<'t>(text: &'t str, found: &Captures<'t>, at: usize) -> Option<Place<'t>> {
    let part = |name: &str| found.name(name).map(|part| part.as_str());
    let name = part("header").or(part("name")).or(part("weak")).or(part("auth"))?;
    let separator = part("separator").unwrap_or_default();
    let kind = match part("header").map(str::to_ascii_lowercase) {
        Some(header) if header.ends_with("authorization") => Kind::Authorization,
        Some(header) if header.ends_with("cookie") => Kind::Cookie,
        Some(_) => Kind::Header,
        None if part("weak").is_some() => Kind::Weak,
        None if part("auth").is_some() => Kind::Auth,
        None => Kind::Secret,
    };
    let (close, trimmed) = (part("close").unwrap_or_default(), separator.trim());
    let before = text.get(..found.get(0)?.start())?;
    let is_flag = matches!(trimmed, "" | ",");
    // A flag is a name behind one or two dashes; a value on another line belongs to a quoted name.
    let belongs = if is_flag {
        let dashes = before.trim_end_matches('-');
        let is_word = dashes.ends_with(|c: char| c.is_ascii_alphanumeric());
        before.len() > dashes.len()
            && before.len() - dashes.len() <= 2
            && !is_word
            && (trimmed.is_empty() || !close.is_empty())
    } else {
        !separator.contains('\n') || close.ends_with(['"', '\''])
    };
    let is_member = part("member").is_some();
    (is_member || belongs).then(|| Place {
        kind,
        name,
        suffix: part("suffix").unwrap_or_default().trim_start_matches('_').to_ascii_lowercase(),
        close,
        separator: if is_flag { "" } else { trimmed },
        is_spaced: separator.len() > trimmed.len(),
        is_member,
        before,
        rest: text.get(at..).unwrap_or_default(),
    })
}

impl Patterns {
    /// Where in `rest` the secret is, if there is one.
    fn value(&self, place: &Place<'_>) -> Option<Range<usize>> {
        // Redacted already, or an expression that says where the secret is.
        if place.rest.starts_with(MARK) || is_expression(place.rest) || place.is_operator() || !place.may_be()
        {
            return None;
        }
        let opener = self.opener.captures(place.rest)?;
        let list = opener.name("list").map_or(0, |list| list.end());
        // `{` opens a list only in a literal of Go: `http.Header{"Authorization": {"Bearer x"}}`.
        let is_object = place.rest.starts_with('{');
        let found = match opener.name("quote") {
            None if is_object && (place.separator != "=" || place.is_spaced) => None,
            None if is_object => self.word(place),
            Some(_) if is_object && !place.is_header() => None,
            Some(quote) => self.quoted(place, list > 0, quote.as_str(), quote.end()),
            None if !place.close.is_empty() && place.separator.is_empty() => None,
            None if list > 0 => place.listed(list),
            None => self.word(place),
        }?;
        let value = place.rest.get(found.clone())?;
        (!value.is_empty() && !place.is_plain(value)).then_some(found)
    }

    /// A quoted value, or several in a list; `start` is behind the first quote.
    fn quoted(&self, place: &Place<'_>, is_list: bool, quote: &str, start: usize) -> Option<Range<usize>> {
        let rest = place.rest;
        let closed = closing(rest.get(start..)?, quote);
        let Some(mut close) = closed.map(|close| start + close.start..start + close.end) else {
            // Cut off: up to the end of the line.
            let line = rest.get(start..)?.split('\n').next()?;
            return (place.is_certain() || begins_with_secret(line)).then_some(start..start + line.len());
        };
        let first = rest.get(start..close.start)?;
        while let Some(next) = self.next.find(rest.get(close.end..)?).filter(|_| is_list) {
            let from = close.end + next.end();
            let Some(end) = closing(rest.get(from..)?, quote) else { break };
            close = from + end.start..from + end.end;
        }
        if rest.starts_with('{') && rest.get(close.end..)?.trim_start().starts_with(':') {
            return None;
        }
        let is_secret =
            place.is_certain() || place.is_alone(rest.get(close.end..)?) || begins_with_secret(first);
        is_secret.then_some(start..close.start)
    }

    /// A value without quotes.
    fn word(&self, place: &Place<'_>) -> Option<Range<usize>> {
        let rest = place.rest;
        if place.separator.is_empty() && !place.is_member {
            let end = end(rest, |c| c.is_whitespace() || r#""'\]"#.contains(c));
            return (!rest.starts_with('-') && !begins_with_prose(rest)).then_some(0..end);
        }
        if place.is_header() && begins_with_prose(rest) {
            return None;
        }
        match place.kind {
            Kind::Authorization => return self.authorization(rest),
            Kind::Cookie => return Some(0..cookie_end(rest)),
            Kind::Header => return Some(0..end(rest, |c| c.is_whitespace() || r#""',;\]}"#.contains(c))),
            Kind::Auth => return None,
            Kind::Secret | Kind::Weak => {}
        }
        if place.is_in_map() {
            let end = end(rest, |c| c.is_whitespace() || r#""'\]{}&"#.contains(c));
            return (!place.is_reference() || looks_secret(rest.get(..end)?)).then_some(0..end);
        }
        if let Some(scheme) =
            self.scheme.find(rest).filter(|_| place.separator.contains('=') || place.is_member)
        {
            return Some(0..scheme.end());
        }
        if place.separator.contains('=') {
            let end = end(rest, |c| c.is_whitespace() || r#"&"',;)]}"#.contains(c));
            return Some(0..rest.get(..end)?.trim_end_matches('\\').len());
        }
        let end = end(rest, |c| !(c.is_ascii_alphanumeric() || "._~+/=$!@#%^&*-".contains(c)));
        let word = rest.get(..end)?;
        let after = rest.get(end..)?;
        let is_password =
            place.name.to_ascii_lowercase().contains("pass") && word.contains(|c: char| c.is_ascii_digit());
        let is_secret = place.is_member
            || (!place.close.is_empty() && is_number(word) && (is_password || word.len() >= 4))
            || (is_password && place.is_alone(after))
            || (place.is_spaced || !place.close.is_empty())
                && word.len() >= 8
                && looks_secret(word)
                && (place.kind == Kind::Secret || place.is_alone(after) || place.name.len() > 4);
        is_secret.then_some(0..end)
    }

    /// `Bearer x`, `x`, `Any x` and what belongs to it; nothing of "header is missing". A second word after a word that
    /// is no scheme is the secret only if it ends the value or looks like one.
    fn authorization(&self, rest: &str) -> Option<Range<usize>> {
        let found = self.authorization.captures(rest)?;
        let (whole, first) = (found.get(0)?.end(), found.name("first")?);
        let Some(second) = found.name("second") else { return Some(0..whole) };
        let is_scheme = found.name("scheme").is_some();
        let word = first.as_str();
        if begins_with_prose(word) {
            return None;
        }
        if begins_with_prose(second.as_str()) {
            // HTTP writes `Bearer`, prose "basic auth is required".
            let is_prose = !is_scheme || rest.starts_with(|c: char| c.is_ascii_lowercase());
            let is_word = word.len() < 16 && word.bytes().all(|b| b.is_ascii_lowercase());
            return (!is_prose || !is_word).then_some(0..first.end());
        }
        let is_end = rest.get(second.end()..)?.chars().next().is_none_or(|c| "\n\"'\\]},".contains(c));
        let is_pair = !is_scheme && (is_end || looks_secret(second.as_str()));
        let has_more = found.name("more").is_some_and(|more| !more.is_empty());
        Some(0..if is_pair || has_more { whole } else { first.end() })
    }
}

impl Place<'_> {
    /// Whether a secret may follow a name of this form.
    fn may_be(&self) -> bool {
        let is_about = rules::ABOUT.split(' ').any(|about| self.suffix.starts_with(about));
        let suffix = self.suffix.trim_end_matches(|c: char| c.is_ascii_digit());
        let is_still = suffix.is_empty() || is_in(rules::STILL, suffix);
        let is_quoted = self.close.ends_with('"');
        match self.kind {
            Kind::Auth => is_quoted,
            Kind::Secret => !is_about && (is_still || (!is_quoted && !self.is_member)),
            // Not `let pass = f()`, not `Pass => x`.
            Kind::Weak => {
                !self.separator.contains('=') || (!self.is_spaced && self.separator == "=") || self.begins()
            }
            Kind::Authorization | Kind::Cookie | Kind::Header => true,
        }
    }

    /// Whether the separator is a part of `==`, `=~`, `::` or `://`.
    fn is_operator(&self) -> bool {
        let begins = |start: &str| self.rest.starts_with(start);
        match self.separator {
            "=" => begins("=") || (self.is_spaced && begins("~")),
            ":" => !self.is_spaced && (begins(":") || begins("//")),
            _ => false,
        }
    }

    fn is_header(&self) -> bool {
        matches!(self.kind, Kind::Authorization | Kind::Cookie | Kind::Header)
    }

    /// Whether a quoted value is one, however it reads.
    fn is_certain(&self) -> bool {
        let is_assigned = self.separator.contains('=') || self.separator.is_empty();
        let has_names = self.name.to_ascii_lowercase().ends_with("secret") && self.suffix == "s";
        self.is_header()
            || is_assigned
            || self.is_member
            || ((!self.close.is_empty() || self.is_in_map()) && !has_names)
    }

    /// A name that often stands before the name of a Secret.
    fn is_reference(&self) -> bool {
        self.name.eq_ignore_ascii_case("secret") || self.suffix == "s"
    }

    /// Whether the name is the first on its line, or in a map in braces.
    fn begins(&self) -> bool {
        let before = self.before.trim_end_matches([' ', '\t', '-']);
        before.is_empty() || before.ends_with(['\n', '{']) || before.ends_with("\\n")
    }

    /// Whether name and value are all that is on their line, or a member of a map in braces.
    fn is_alone(&self, after: &str) -> bool {
        let after = after.trim_start_matches([' ', '\t']);
        let ends = after.chars().next().is_none_or(|c| "\n\\},#\"".contains(c));
        self.begins() && ends && !self.is_reference()
    }

    /// `map[user:x password:y]`, `{User:x Password:y}` as Go prints them.
    fn is_in_map(&self) -> bool {
        if self.separator != ":" || self.is_spaced || !self.close.is_empty() {
            return false;
        }
        let mut from = self.before.len().saturating_sub(MAX_NEAR);
        while !self.before.is_char_boundary(from) {
            from += 1;
        }
        let near = self.before.get(from..).unwrap_or_default();
        let mut closed = 0_usize;
        for (at, character) in near.char_indices().rev() {
            match character {
                ']' | '}' => closed += 1,
                '[' | '{' if closed > 0 => closed -= 1,
                '[' => return near.get(..at).is_some_and(|before| before.ends_with("map")),
                '{' => return true,
                '\n' => return false,
                _ => {}
            }
        }
        false
    }

    /// The values of a list without quotes, which starts at `start`: `[Bearer x]`.
    fn listed(&self, start: usize) -> Option<Range<usize>> {
        let list = self.rest.get(start..)?;
        let list = list.get(..end(list, |c| "]}\n".contains(c)))?;
        let is_secret = self.is_header()
            || self.separator.contains('=')
            || self.is_in_map()
            || list.split([' ', ',']).any(|word| word.len() >= 8 && looks_secret(word));
        let is_open = list.starts_with(['{', '[']) || list == MARK;
        (is_secret && !is_open).then_some(start..start + list.len())
    }

    /// Whether the value says that there is none, goes on with a sentence or counts.
    fn is_plain(&self, value: &str) -> bool {
        let digits = value.len() <= 4 && value.bytes().all(|b| b.is_ascii_digit());
        let is_count = match self.kind {
            Kind::Weak => digits || (self.name.ends_with(['d', 'D']) && value.starts_with(['/', '.', '~'])),
            Kind::Secret => self.suffix == "s" && value.bytes().all(|b| b.is_ascii_digit()),
            Kind::Authorization | Kind::Cookie | Kind::Header | Kind::Auth => false,
        };
        let is_prose = value.contains(' ') && begins_with_prose(value);
        value == MARK
            || is_expression(value)
            || is_count
            || is_prose
            || is_in(rules::NONE, &value.to_ascii_lowercase())
    }
}

/// `${{ secret("x").token }}`, `${TOKEN}`, `{{ .Values.token }}`: where the secret is, not the secret.
fn is_expression(text: &str) -> bool {
    let begins = text.starts_with("${") || text.starts_with("{{");
    begins && text.bytes().take(MAX_NEAR).take_while(|byte| *byte != b'\n').any(|byte| byte == b'}')
}

fn is_in(words: &str, word: &str) -> bool {
    words.split(' ').any(|one| one == word)
}

/// Whether the first word goes on with a sentence. What is joined to it by anything but a blank or the marks that
/// end a word of a sentence makes both of them one word, which may be a secret: `or%2F9x`, `may-be`.
fn begins_with_prose(text: &str) -> bool {
    let word = text.split(|c: char| !c.is_ascii_alphabetic() && c != '\'').next().unwrap_or_default();
    let after = text.get(word.len()..).unwrap_or_default();
    let after = after.strip_prefix('.').unwrap_or(after);
    let ends = after.chars().next().is_none_or(|c| c.is_whitespace() || ",;:!?\"'\\)]}>".contains(c));
    is_in(rules::PROSE, word) && ends
}

/// Where the text first has such a character, or its end.
fn end(text: &str, stops: impl Fn(char) -> bool) -> usize {
    text.find(stops).unwrap_or(text.len())
}

/// The end of `a=b; c=d; HttpOnly`.
fn cookie_end(rest: &str) -> usize {
    let stop = |c: char| c.is_whitespace() || r#""',;\]}"#.contains(c);
    let mut at = end(rest, stop);
    while let Some(more) = rest.get(at..).and_then(|more| more.strip_prefix("; ")) {
        at += 2 + end(more, stop);
    }
    at
}

/// The quote that ends what `quote` began, with its backslashes. One with more of them is within the value, unless they
/// are a backslash of the value and then the quote.
fn closing(inside: &str, quote: &str) -> Option<Range<usize>> {
    let (depth, kind) = (quote.len().saturating_sub(1), quote.chars().next_back()?);
    let mut run = 0_usize;
    let mut characters = inside.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        if character == '\\' {
            run += 1;
            continue;
        }
        if character == kind {
            let is_doubled =
                kind == '\'' && at > 0 && characters.next_if(|(_, next)| *next == kind).is_some();
            let is_escaped = run.saturating_sub(depth) % (2 * (depth + 1)) == depth + 1;
            if !is_doubled && !is_escaped {
                return Some(at - run.min(depth)..at + 1);
            }
        }
        run = 0;
    }
    None
}

fn is_number(word: &str) -> bool {
    let word = word.strip_prefix('-').unwrap_or(word);
    word.starts_with(|c: char| c.is_ascii_digit())
        && word.bytes().all(|b| b.is_ascii_digit() || b".eE+-".contains(&b))
}

fn begins_with_secret(text: &str) -> bool {
    text.split_whitespace().next().is_some_and(|word| word.len() >= 8 && looks_secret(word))
}

/// Whether a word has digits, the end of Base64 or the mixture of random letters, which words of prose have not.
pub(super) fn looks_secret(word: &str) -> bool {
    let has = |is: fn(&char) -> bool| word.chars().any(|character| is(&character));
    let is_mixed = has(char::is_ascii_uppercase) && word.chars().skip(1).any(|c| c.is_ascii_lowercase());
    has(char::is_ascii_digit) || word.ends_with('=') || (is_mixed && word.len() >= 16)
}
