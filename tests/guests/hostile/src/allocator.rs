//! An allocator that obeys texts: the host writes each text of a context into a block that it asked for here.
//!
//! In: requests for memory, and the content of the block before. Out: memory, or what the host must survive.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering::Relaxed};

pub struct Obedient;

/// The answer with this explanation is never let go of.
pub const NEVER_FREED: &str = "hold on to me";

static LAST: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
static LAST_SIZE: AtomicUsize = AtomicUsize::new(0);
static CROOKED: AtomicBool = AtomicBool::new(false);

fn last_block_is(text: &str) -> bool {
    let (last, size) = (LAST.load(Relaxed), LAST_SIZE.load(Relaxed));
    // SAFETY: linear memory never shrinks, so what was handed out once can be read.
    !last.is_null() && size == text.len() && unsafe { std::slice::from_raw_parts(last, size) } == text.as_bytes()
}

fn loop_for_ever() -> ! {
    loop {
        black_box(());
    }
}

// SAFETY: it is the system's allocator unless the test asks for a broken one, which only WebAssembly has to contain.
unsafe impl GlobalAlloc for Obedient {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if last_block_is("loop-in-realloc") {
            loop_for_ever();
        }
        if last_block_is("realloc-out-of-bounds") {
            return std::ptr::without_provenance_mut(0xFFFF_FFF0);
        }
        if last_block_is("realloc-misaligned") {
            CROOKED.store(true, Relaxed);
        }
        // SAFETY: the caller's promise is passed on.
        let block = unsafe { System.alloc(layout) };
        LAST.store(block, Relaxed);
        LAST_SIZE.store(layout.size(), Relaxed);
        if CROOKED.load(Relaxed) && layout.align() > 1 { block.wrapping_add(1) } else { block }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: a block that is being freed can still be read.
        let content = unsafe { std::slice::from_raw_parts(block, layout.size()) };
        if content == NEVER_FREED.as_bytes() {
            loop_for_ever();
        }
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(block, layout) }
    }
}
