//! The fuzz target `objects`; what it checks stands in `src/objects.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: refloat_fuzz::seeds::write(refloat_fuzz::objects::seeds),
    |input: &[u8]| refloat_fuzz::objects::check(input)
);
