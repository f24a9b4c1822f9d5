//! The fuzz target `rules`; what it checks stands in `src/rules.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: refloat_fuzz::seeds::write(refloat_fuzz::rules::seeds),
    |input: &[u8]| refloat_fuzz::rules::check(input)
);
