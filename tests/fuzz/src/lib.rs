//! What the fuzz targets check: one module per target, each with `check` and `seeds`.
//!
//! In: bytes that libFuzzer makes up. Out: nothing, or a panic that says which promise was broken; `make fuzz` keeps the
//! input. Nothing here decides what is right: each promise stands in the documentation of what is called. A crash that
//! was found becomes a case under `tests/cases/`, because nothing in this crate is part of `make test`.

pub mod hints;
pub mod messages;
pub mod objects;
pub mod redaction;
pub mod rules;
pub mod seeds;

/// The first byte, which chooses something, and the rest.
fn choice(input: &[u8]) -> (usize, &[u8]) {
    input.split_first().map_or((0, input), |(first, rest)| (usize::from(*first), rest))
}

/// A choice among `all`, by a byte.
fn chosen<T: Copy>(all: &[T], by: usize) -> T {
    all[by % all.len()]
}

/// Nothing that could move a cursor or hide text is left.
fn assert_clean(text: &str) {
    let left = text.chars().find(|c| c.is_control() && *c != '\n' && *c != '\t');
    assert_eq!(left, None, "a control character is left in {text:?}");
}
