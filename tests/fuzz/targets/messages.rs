//! The fuzz target `messages`; what it checks stands in `src/messages.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: refloat_fuzz::seeds::write(refloat_fuzz::messages::seeds),
    |input: &[u8]| refloat_fuzz::messages::check(input)
);
