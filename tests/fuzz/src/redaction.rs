//! Redaction of any text.
//!
//! In: two bytes that are the cap, then the text. Holds: a second pass changes nothing, no control character is left, a
//! capped text is no longer than its cap, and redacting a text that is within its cap never takes it above.

use policy_core::redact;

/// Checks one input.
pub fn check(input: &[u8]) {
    let (high, rest) = crate::choice(input);
    let (low, text) = crate::choice(rest);
    let cap = high << 8 | low;
    let text = String::from_utf8_lossy(text);

    let once = redact::text(&text);
    assert_eq!(redact::text(&once), once, "a second pass changes the text");
    crate::assert_clean(&once);

    let shown = redact::shown(&text, cap);
    assert!(shown.len() <= cap, "{} bytes, {cap} are allowed", shown.len());
    assert!(once.len() > cap || shown == once, "a text that fits is cut");
    assert!(redact::shown(&shown, cap).len() <= cap);
}

/// Texts of the cases about redaction, and every captured message.
pub fn seeds() -> Vec<Vec<u8>> {
    let cases =
        crate::seeds::documents("tests/cases/redact").chain(crate::seeds::documents("tests/data/captures"));
    let mut seeds = Vec::new();
    for case in cases {
        let texts = crate::seeds::texts(&case, &["text", "message", "repoURL", "url"]);
        seeds.extend(texts.iter().map(|text| [&[0, 200], text.as_bytes()].concat()));
    }
    // One text that comes near every family.
    let near = "https://bot:x@git.example.com/a?sig=abc ghp_0123456789abcdefghij Authorization: Basic YTpi password: Abc123456 \
        --token abc {\\\"auth\\\":\\\"YTpi\\\"} eyJhbGciOi.abcdefghij.x -----BEGIN PRIVATE KEY-----\nMIIE\n";
    seeds.push([&[0, 80], near.as_bytes()].concat());
    seeds
}
