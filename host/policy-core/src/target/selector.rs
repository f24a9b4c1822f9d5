//! Which Stages a selector means, by Kargo's conventions (`pkg/pattern/matcher.go`, `pkg/api/auto_promotion.go`).
//!
//! In: a selector, a Stage's name and labels. Out: whether they match. A pattern that cannot be read matches nothing.

use std::collections::BTreeMap;

use regex::Regex;

use crate::name::StageName;
use crate::snapshot::StageSelector;

/// Whether the selector means the Stage. Name and labels must both match; what is not set matches everything.
pub fn matches(selector: &StageSelector, name: &StageName, labels: &BTreeMap<String, String>) -> bool {
    let by_name = selector.name.as_deref().is_none_or(|pattern| name_matches(pattern, name.as_str()));
    let by_labels = selector.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value));
    let by_expressions = selector
        .match_expressions
        .iter()
        .all(|(key, operator, values)| expression_matches(labels.get(key), operator, values));
    by_name && by_labels && by_expressions
}

fn name_matches(pattern: &str, name: &str) -> bool {
    if pattern.is_empty() {
        return true;
    }
    if let Some(glob) = pattern.strip_prefix("glob:") {
        return glob_regex(glob).is_some_and(|regex| regex.is_match(name));
    }
    match expression(pattern) {
        // Not anchored, like Go's `MatchString`.
        Some(regex) => Regex::new(regex).is_ok_and(|regex| regex.is_match(name)),
        None => pattern == name,
    }
}

/// The regular expression of a pattern that is one.
fn expression(pattern: &str) -> Option<&str> {
    pattern.strip_prefix("regex:").or_else(|| pattern.strip_prefix("regexp:"))
}

/// Why a pattern's regular expression cannot be read, so that it matches nothing for ever.
pub fn unreadable_pattern(pattern: &str) -> Option<String> {
    let error = Regex::new(expression(pattern)?).err()?.to_string();
    // The last line of several says what is wrong.
    Some(error.lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_owned())
}

/// Kubernetes' own rules: `NotIn` and `DoesNotExist` match when the label is missing.
fn expression_matches(value: Option<&String>, operator: &str, values: &[String]) -> bool {
    match operator {
        "In" => value.is_some_and(|value| values.contains(value)),
        "NotIn" => value.is_none_or(|value| !values.contains(value)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}

/// A glob as Kargo's library reads it: `*`, `?`, `[a-c]`, `[!a]`, `{a,b}` and `\` before a literal character.
/// Names of Stages have no `/`, so `**` means the same as `*`.
fn glob_regex(glob: &str) -> Option<Regex> {
    let mut regex = String::from("^(?:");
    let mut braces = 0_u32;
    let mut characters = glob.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '*' => regex.push_str("[^/]*"),
            '?' => regex.push_str("[^/]"),
            '\\' => regex.push_str(&regex::escape(&characters.next()?.to_string())),
            '{' => {
                braces += 1;
                regex.push_str("(?:");
            }
            '}' if braces > 0 => {
                braces -= 1;
                regex.push(')');
            }
            ',' if braces > 0 => regex.push('|'),
            '[' => {
                regex.push('[');
                if characters.next_if(|next| matches!(next, '!' | '^')).is_some() {
                    regex.push('^');
                }
                loop {
                    match characters.next()? {
                        ']' => break,
                        '-' => regex.push('-'),
                        '\\' => regex.push_str(&regex::escape(&characters.next()?.to_string())),
                        other => regex.push_str(&regex::escape(&other.to_string())),
                    }
                }
                regex.push(']');
            }
            other => regex.push_str(&regex::escape(&other.to_string())),
        }
    }
    regex.push_str(")$");
    if braces == 0 { Regex::new(&regex).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_like_in_kargo() {
        for (pattern, name, expected) in [
            ("", "prod", true),
            ("prod", "prod", true),
            ("prod", "prod-eu", false),
            ("glob:prod-*", "prod-eu", true),
            ("glob:prod-*", "xprod-eu", false),
            ("glob:prod-?u", "prod-eu", true),
            ("glob:prod-[a-f]u", "prod-eu", true),
            ("glob:prod-[!a-f]u", "prod-eu", false),
            ("glob:{prod,test}-*", "test-eu", true),
            ("glob:a.c", "abc", false),
            ("glob:[", "[", false),
            ("glob:{a", "a", false),
            ("regex:^prod", "prod-eu", true),
            ("regex:eu", "prod-eu", true),
            ("regexp:^eu$", "prod-eu", false),
            ("regex:(", "(", false),
        ] {
            assert_eq!(name_matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn labels_match_like_in_kubernetes() {
        let labels = BTreeMap::from([("tier".to_owned(), "prod".to_owned())]);
        let expression = |key: &str, operator: &str, values: &[&str]| StageSelector {
            match_expressions: vec![(
                key.to_owned(),
                operator.to_owned(),
                values.iter().map(|value| (*value).to_owned()).collect(),
            )],
            ..StageSelector::default()
        };
        for (selector, expected) in [
            (StageSelector::default(), true),
            (expression("tier", "In", &["prod"]), true),
            (expression("tier", "NotIn", &["prod"]), false),
            (expression("zone", "NotIn", &["a"]), true),
            (expression("zone", "Exists", &[]), false),
            (expression("zone", "DoesNotExist", &[]), true),
            (expression("tier", "Near", &["prod"]), false),
        ] {
            assert_eq!(matches(&selector, &StageName::from("prod"), &labels), expected, "{selector:?}");
        }
    }
}
