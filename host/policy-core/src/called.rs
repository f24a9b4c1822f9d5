//! What people call Freight: its alias, and once the beginning of its name.
//!
//! In: a text in which Freight stands by its name, and whoever knows aliases. Out: the same text for people. What is
//! written to Kargo and what is compared keeps names: this is for what is read. Nothing here looks at Kargo's objects.
//! Kargo names Freight by 40 hexadecimal digits (`pkg/api/freight.go`, v1.11.2), so that a name is told from other words.

use crate::kubernetes_name::is_label_value;

/// Digits of a name.
const NAME: usize = 40;
/// Digits of it that people see, as many as Kargo puts into a Promotion's name.
const SHORT: usize = 7;

/// The text with Freight under its alias: `` Freight `brave-otter` (60c5590) ``, and from the second time on without the
/// digits. A name whose alias `alias_of` does not know stays whole, and so does one whose alias is no label's value.
pub fn by_alias(text: &str, alias_of: impl Fn(&str) -> Option<String>) -> String {
    let mut shown: Vec<&str> = Vec::new();
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, name, after)) = next_name(rest) {
        out.push_str(before);
        rest = after;
        // Whoever may write Freight without Kargo's webhook could put anything there.
        let Some(alias) = alias_of(name).filter(|alias| is_label_value(alias)) else {
            out.push_str(name);
            continue;
        };
        out.push_str(&alias);
        // The digits stand behind what closes the quotation.
        let quote = before.chars().next_back().filter(|c| matches!(c, '`' | '"' | '\''));
        if let Some(behind) = quote.and_then(|quote| after.strip_prefix(quote)) {
            out.extend(quote);
            rest = behind;
        }
        if !shown.contains(&name) {
            shown.push(name);
            out.push_str(&format!(" ({})", name.get(..SHORT).unwrap_or(name)));
        }
    }
    out.push_str(rest);
    out
}

/// What stands before the first name, the name, and what follows it.
fn next_name(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    loop {
        let begin = from + text.get(from..)?.find(|c: char| c.is_ascii_alphanumeric())?;
        let word = text.get(begin..)?;
        let length = word.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(word.len());
        let (word, after) = word.split_at_checked(length)?;
        if is_name(word) {
            return Some((text.get(..begin)?, word, after));
        }
        from = begin + length;
    }
}

fn is_name(word: &str) -> bool {
    word.len() == NAME && word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "bf95772b8c1b188c8e4b98a22366778f5be78404";
    const NEW: &str = "72b1975b2eeac46e96e63aabc0e0c68ec4e84846";

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let alias_of = |name: &str| match name {
            OLD => Some("brave-otter".to_owned()),
            NEW => Some("not `an` alias".to_owned()),
            _ => None,
        };
        let text = text.replace("OLD", OLD).replace("NEW", NEW);
        let shown = by_alias(&text, alias_of);
        assert_eq!(shown, expected.replace("NEW", NEW));
        assert_eq!(by_alias(&shown, alias_of), shown, "a second time");
    }

    #[test]
    fn the_digits_follow_the_alias_once() {
        check(
            "Freight `OLD` is back; `OLD` and OLD are one",
            "Freight `brave-otter` (bf95772) is back; `brave-otter` and brave-otter are one",
        );
        check("Freight \"OLD\" not found", "Freight \"brave-otter\" (bf95772) not found");
        check("Warehouse/web=OLD, OLD", "Warehouse/web=brave-otter (bf95772), brave-otter");
        check("OLD", "brave-otter (bf95772)");
    }

    #[test]
    fn what_has_no_alias_or_is_no_name_stays() {
        check("Freight `NEW` is held", "Freight `NEW` is held");
        let commit = "commit 8e52d1c0d6f29b4f92a70dbc626bb5de687d3102, sha256:32ed84d74f998249cc3b9e8c2944ec365aedc8b617c88b33a1a92066211e1639";
        check(commit, commit);
        check("", "");
        check(
            "prod.01m83h2j471mg8m660v4q5fnx8.bf95772 über é",
            "prod.01m83h2j471mg8m660v4q5fnx8.bf95772 über é",
        );
    }
}
