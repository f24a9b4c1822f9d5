//! The fuzz target `hints`; what it checks stands in `src/hints.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: refloat_fuzz::seeds::write(refloat_fuzz::hints::seeds),
    |input: &[u8]| refloat_fuzz::hints::check(input)
);
