//! The fuzz target `redaction`; what it checks stands in `src/redaction.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: refloat_fuzz::seeds::write(refloat_fuzz::redaction::seeds),
    |input: &[u8]| refloat_fuzz::redaction::check(input)
);
