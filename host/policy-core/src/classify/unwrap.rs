//! Takes off what Kargo's engine wraps around a step's own error.
//!
//! In: a message as Kargo recorded it. Out: the step's own text, and what the wrapping said.
//! Kargo nests its prefixes (`step "dl" met error threshold of 1: step "dl": HTTP request failed …`), so they are
//! taken off until none is left (`pkg/promotion/local_orchestrator.go`, `local_executor.go`, v1.11.2).

/// A step's own text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unwrapped<'a> {
    /// The text.
    pub text: &'a str,
    /// How often Kargo tried the step, if the wrapping says it.
    pub attempts: Option<u32>,
    /// Whether Kargo called it unrecoverable, which says nothing about a new Promotion.
    pub is_terminal: bool,
}

/// Unwraps a message.
pub fn step_message(message: &str) -> Unwrapped<'_> {
    let text = message.strip_suffix("; step will be retried").unwrap_or(message);
    let mut unwrapped = Unwrapped { text, attempts: None, is_terminal: false };
    // Each round takes off at least one prefix, and every prefix is shorter than the text.
    while let Some(next) = one(unwrapped) {
        unwrapped = next;
    }
    unwrapped
}

fn one(unwrapped: Unwrapped<'_>) -> Option<Unwrapped<'_>> {
    let text = unwrapped.text;
    if let Some(rest) = text.strip_prefix("an unrecoverable error occurred: ") {
        return Some(Unwrapped { text: rest, is_terminal: true, ..unwrapped });
    }
    let (is_running, after_word) = match text.strip_prefix("error running step \"") {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix("step \"")?),
    };
    let (_, rest) = after_word.split_once('"')?;
    if let Some(rest) = rest.strip_prefix(": ") {
        return Some(Unwrapped { text: rest, ..unwrapped });
    }
    if is_running {
        return None;
    }
    let (count, rest) = rest.strip_prefix(" met error threshold of ")?.split_once(": ")?;
    Some(Unwrapped { text: rest, attempts: Some(count.parse().ok()?), ..unwrapped })
}

/// Step kinds that open-source Kargo v1.11.2 registers.
pub const BUILT_IN: [&str; 34] = [
    "argocd-update",
    "argocd-wait",
    "compose-output",
    "copy",
    "delete",
    "fail",
    "file-write",
    "git-clear",
    "git-clone",
    "git-commit",
    "git-merge-pr",
    "git-open-pr",
    "git-push",
    "git-tag",
    "git-wait-for-pr",
    "github-push",
    "helm-template",
    "helm-update-chart",
    "http",
    "http-download",
    "json-parse",
    "json-update",
    "kustomize-build",
    "kustomize-set-image",
    "oci-download",
    "oci-push",
    "set-freight-alias",
    "set-metadata",
    "toml-parse",
    "toml-update",
    "untar",
    "yaml-merge",
    "yaml-parse",
    "yaml-update",
];

/// Whether a step kind comes with Kargo itself, so that its messages are known.
pub fn is_built_in(kind: &str) -> bool {
    BUILT_IN.contains(&kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_come_off_in_any_order() {
        for (message, text, attempts, is_terminal) in [
            ("step \"gate\": failed: no", "failed: no", None, false),
            ("step \"a\" met error threshold of 3: error running step \"a\": boom", "boom", Some(3), false),
            (
                "step \"dl\" met error threshold of 1: step \"dl\": HTTP request failed",
                "HTTP request failed",
                Some(1),
                false,
            ),
            (
                "an unrecoverable error occurred: error running step \"u\": step panicked: x",
                "step panicked: x",
                None,
                true,
            ),
            ("step \"w\" timed out after 3s", "step \"w\" timed out after 3s", None, false),
            ("error running step \"a\": boom; step will be retried", "boom", None, false),
            ("plain", "plain", None, false),
            ("step \"", "step \"", None, false),
        ] {
            assert_eq!(step_message(message), Unwrapped { text, attempts, is_terminal }, "{message}");
        }
    }
}
