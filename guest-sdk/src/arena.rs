//! The guest's memory allocator: one arena that is handed out from its start and given back as a whole.
//!
//! In: allocation requests. Out: the next free piece of a 1 MiB arena, and the system allocator once that is full.
//! An instance lives for one call, so nothing is gained by keeping track of freed blocks; and because the arena is
//! part of the module's initial memory, a usual decision never executes `memory.grow`, which costs the host two
//! system calls and stops calls from scaling over threads.
//!
//! Why not a crate from the registry: the leaking and bumping ones take their pages by `memory.grow`, or start at
//! `__heap_base`, which is where the C library of `wasm32-wasip2` starts, too.

#![allow(unsafe_code, reason = "a global allocator cannot be written without; this file holds nothing else")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, UnsafeCell};

/// Holds a context of 200 KB with all its copies. It is zero-initialised, so it adds nothing to the module's size; the
/// host looks at each of its pages after a call to see which are to be reset, so it is not larger than that.
const ARENA_BYTES: usize = 1 << 20;

#[cfg(target_arch = "wasm32")]
#[global_allocator]
static ALLOCATOR: Arena<ARENA_BYTES> = Arena::new();

/// What the host calls for each text and each list that it hands over, empty ones included: most calls of a decision
/// are of this one, so it goes straight to the arena. It stands in for the `cabi_realloc` of the standard library and
/// of `wit-bindgen`, which give way to it.
///
/// # Safety
/// As for `realloc`: `old` is null, or a block of `old_bytes` with this alignment that came from here.
#[cfg(target_arch = "wasm32")]
#[unsafe(export_name = "cabi_realloc")]
unsafe extern "C" fn cabi_realloc(old: *mut u8, old_bytes: usize, align: usize, bytes: usize) -> *mut u8 {
    if bytes == 0 {
        return std::ptr::without_provenance_mut(align);
    }
    // SAFETY: the canonical ABI gives a power of two as the alignment, and sizes that fit into the memory.
    let layout = |bytes| unsafe { Layout::from_size_align_unchecked(bytes, align) };
    // SAFETY: `bytes` is not zero, and the caller's promise about `old` is passed on.
    let block = unsafe {
        match old_bytes {
            0 => ALLOCATOR.alloc(layout(bytes)),
            _ => ALLOCATOR.realloc(old, layout(old_bytes), bytes),
        }
    };
    if block.is_null() {
        std::alloc::handle_alloc_error(layout(bytes));
    }
    block
}

/// A block of memory and how much of it is handed out.
#[repr(C, align(16))]
struct Arena<const BYTES: usize> {
    memory: UnsafeCell<[u8; BYTES]>,
    /// Bytes from the start that are in use. No atomic: the compiler keeps every access to one, and this is accessed
    /// for each block.
    used: Cell<usize>,
}

// SAFETY: this is for the static above, which exists only where there are no threads.
#[cfg(all(target_arch = "wasm32", not(target_feature = "atomics")))]
unsafe impl<const BYTES: usize> Sync for Arena<BYTES> {}

impl<const BYTES: usize> Arena<BYTES> {
    const fn new() -> Self {
        Self { memory: UnsafeCell::new([0; BYTES]), used: Cell::new(0) }
    }

    fn start(&self) -> usize {
        self.memory.get().addr()
    }

    /// The offset of `pointer` in the arena, if it lies in it.
    fn offset(&self, pointer: *mut u8) -> Option<usize> {
        Some(pointer.addr().wrapping_sub(self.start())).filter(|offset| *offset < BYTES)
    }

    /// Moves the end of what is in use from `old` to `new`; fails when the arena is too small or `old` is not the end.
    fn move_end(&self, old: usize, new: usize) -> bool {
        let moves = new <= BYTES && self.used.get() == old;
        if moves {
            self.used.set(new);
        }
        moves
    }

    /// The offset of a fresh block for `layout`.
    #[inline]
    fn claim(&self, layout: Layout) -> Option<usize> {
        let used = self.used.get();
        let padding = (self.start() + used).wrapping_neg() & (layout.align() - 1);
        // `used` is at most `BYTES` and the padding is less than an alignment, so that this sum fits.
        let offset = used + padding;
        let end = offset.checked_add(layout.size())?;
        self.move_end(used, end).then_some(offset)
    }
}

// SAFETY: `alloc` returns either a block of the system allocator or a range of `memory` that is aligned, as large as
// asked for, and nobody else's: `claim` moves `used` past its end, and it becomes free again only when `dealloc` moves
// `used` from its end back to its start, which its owner asks for. `dealloc` and `realloc` send each pointer back to
// where it came from, which its address tells. `realloc` keeps a block in place only when it is the last one, and
// otherwise copies.
unsafe impl<const BYTES: usize> GlobalAlloc for Arena<BYTES> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match self.claim(layout) {
            // SAFETY: `claim` returns offsets inside of `memory`.
            Some(offset) => unsafe { self.memory.get().cast::<u8>().add(offset) },
            // SAFETY: the caller's promise about `layout` is passed on.
            None => unsafe { System.alloc(layout) },
        }
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        match self.offset(pointer) {
            // The last block is given back, any other one stays until the instance ends.
            Some(offset) => _ = self.move_end(offset + layout.size(), offset),
            // SAFETY: a block outside of the arena came from `System` with this layout.
            None => unsafe { System.dealloc(pointer, layout) },
        }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let Some(offset) = self.offset(pointer) else {
            // SAFETY: a block outside of the arena came from `System` with this layout.
            return unsafe { System.realloc(pointer, layout, new_size) };
        };
        let grown_in_place =
            offset.checked_add(new_size).is_some_and(|end| self.move_end(offset + layout.size(), end));
        if grown_in_place || new_size <= layout.size() {
            return pointer;
        }
        // SAFETY: the caller promises that `new_size` with this alignment is a valid layout, and the fresh block does
        // not overlap the old one, which is still in use.
        unsafe {
            let fresh = self.alloc(Layout::from_size_align_unchecked(new_size, layout.align()));
            if !fresh.is_null() {
                fresh.copy_from_nonoverlapping(pointer, layout.size());
            }
            fresh
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).expect("a valid layout")
    }

    #[test]
    fn the_arena_holds_a_mebibyte() {
        assert_eq!(size_of::<Arena<ARENA_BYTES>>() - ARENA_BYTES, 16);
    }

    #[test]
    fn blocks_are_aligned_and_do_not_overlap() {
        let arena = Arena::<1024>::new();
        let mut end = 0;
        for (size, align) in [(1, 1), (8, 8), (3, 2), (100, 64), (5, 1)] {
            // SAFETY: no layout here has size zero.
            let address = unsafe { arena.alloc(layout(size, align)) }.addr();
            assert_eq!(address % align, 0);
            assert!(address >= end, "{size} bytes overlap the block before");
            end = address + size;
        }
    }

    #[test]
    fn the_last_block_grows_in_place_and_an_earlier_one_moves_with_its_content() {
        let arena = Arena::<256>::new();
        // SAFETY: each pointer is used with the layout that it was last given.
        unsafe {
            let first = arena.alloc(layout(8, 1));
            first.write_bytes(7, 8);
            assert_eq!(arena.realloc(first, layout(8, 1), 16), first);
            let second = arena.alloc(layout(8, 1));
            let moved = arena.realloc(first, layout(16, 1), 32);
            assert!(moved > second);
            assert_eq!(moved.add(7).read(), 7);
        }
    }

    #[test]
    fn a_full_arena_falls_back_to_the_system() {
        let arena = Arena::<64>::new();
        // SAFETY: each pointer is used with the layout that it was last given.
        unsafe {
            let inside = arena.alloc(layout(60, 1));
            let outside = arena.alloc(layout(60, 1));
            assert!(arena.offset(inside).is_some() && arena.offset(outside).is_none());
            let grown = arena.realloc(outside, layout(60, 1), 600);
            arena.dealloc(grown, layout(600, 1));
            arena.dealloc(inside, layout(60, 1));
            assert_eq!(arena.alloc(layout(64, 1)), inside, "what was last is free again");
        }
    }
}
