//! Which texts Kubernetes takes as names and as values of labels.
//!
//! In: a text. Out: whether it is one. The rules are those of `apimachinery/pkg/util/validation/validation.go`: RFC 1123
//! subdomains and label values. Nothing here knows kinds of objects.

/// Longest name of an object.
const LONGEST_NAME: usize = 253;
/// Longest value of a label, and longest name of a namespace.
const LONGEST_LABEL: usize = 63;

/// Whether it may be the name of an object: parts of lower-case letters, digits and `-`, joined by `.`.
pub fn is_object_name(text: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let is_part = |part: &str| has_fine_ends(part) && part.chars().all(is_inner);
    text.len() <= LONGEST_NAME && text.split('.').all(is_part)
}

/// Whether it may be the name of a namespace: an object's name in one part.
pub fn is_namespace_name(text: &str) -> bool {
    text.len() <= LONGEST_LABEL && !text.contains('.') && is_object_name(text)
}

/// Whether it may be the value of a label, but for the empty one.
pub fn is_label_value(text: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    text.len() <= LONGEST_LABEL && has_fine_ends(text) && text.chars().all(is_inner)
}

fn has_fine_ends(text: &str) -> bool {
    let is_end = |c: char| c.is_ascii_alphanumeric();
    text.starts_with(is_end) && text.ends_with(is_end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_the_api_server_takes() {
        for (text, object, namespace, label) in [
            ("prod", true, true, true),
            ("prod.eu-1", true, false, true),
            ("Prod_1", false, false, true),
            ("a..b", false, false, true),
            ("-prod", false, false, false),
            ("prod.", false, false, false),
            ("", false, false, false),
        ] {
            let found = (is_object_name(text), is_namespace_name(text), is_label_value(text));
            assert_eq!(found, (object, namespace, label), "{text}");
        }
        let long = "a".repeat(64);
        assert!(is_object_name(&long) && !is_namespace_name(&long) && !is_label_value(&long));
        assert!(!is_object_name(&"a".repeat(254)));
    }

    /// Names from status fields and annotations become paths of requests.
    #[test]
    fn a_name_never_leads_anywhere_else() {
        assert!(is_object_name("prod.01kcqv5q8v2j3k4m5n6p7q8r9s.abc1234"));
        for bad in ["", "..", "a/b", "../secrets/token", "a?b", "A", "-a", "a%2fb"] {
            assert!(!is_object_name(bad), "{bad}");
        }
    }
}
