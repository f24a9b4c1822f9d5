//! Calls of the host that no generated code would make.
//!
//! In: a deed. Out: nothing that returns, when the host is right. The names are those that the linker sees.

use std::hint::black_box;

#[link(wasm_import_module = "refloat:failure-policy/log@0.1.0")]
unsafe extern "C" {
    #[link_name = "write"]
    fn log(level: i32, text: *const u8, length: usize);
}

#[link(wasm_import_module = "wasi:cli/stdout@0.2.0")]
unsafe extern "C" {
    #[link_name = "get-stdout"]
    fn get_stdout() -> i32;
}

#[link(wasm_import_module = "wasi:clocks/monotonic-clock@0.2.0")]
unsafe extern "C" {
    #[link_name = "resolution"]
    fn resolution() -> i64;
}

pub fn misuse_the_host(deed: &str) {
    // SAFETY: whatever these do, they do it to this instance.
    match deed {
        "log-bad-level" => unsafe { log(99, b"x".as_ptr(), 1) },
        "log-out-of-bounds" => unsafe { log(1, std::ptr::without_provenance(0xFFFF_0000), 100_000) },
        "log-not-utf8" => unsafe { log(1, [0xFF_u8, 0xFE].as_ptr(), 2) },
        "log-40-mib" => {
            let text = vec![b'x'; 40 << 20];
            unsafe { log(1, text.as_ptr(), text.len()) };
        }
        "handles-for-ever" => loop {
            black_box(unsafe { get_stdout() });
        },
        "ask-for-ever" => loop {
            black_box(unsafe { resolution() });
        },
        "grow-by-nothing-for-ever" => loop {
            black_box(std::arch::wasm32::memory_grow::<0>(0));
        },
        "fill-for-ever" => {
            let mut block = vec![0_u8; 32 << 20];
            loop {
                black_box(&mut block).fill(7);
            }
        }
        _ => {}
    }
}
