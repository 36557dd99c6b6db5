//! The system's allocator, with a counter that costs nothing while it is off.
//!
//! A counter that always runs would slow down whoever allocates most, in the same program that
//! measures how fast everyone is.

#![expect(unsafe_code, reason = "an allocator is one by an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};

static ON: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicI64 = AtomicI64::new(0);

/// To be a program's global allocator.
#[derive(Debug)]
pub struct Counting;

/// Counts from now on, or no longer.
pub fn count(on: bool) {
    ON.store(on, Relaxed);
}

/// Allocations while it was on, and reallocations.
#[must_use]
pub fn allocations() -> u64 {
    ALLOCATIONS.load(Relaxed)
}

/// Bytes asked for while it was on, less those given back.
#[must_use]
pub fn bytes() -> i64 {
    BYTES.load(Relaxed)
}

fn note(allocations: u64, more: usize, less: usize) {
    if ON.load(Relaxed) {
        ALLOCATIONS.fetch_add(allocations, Relaxed);
        let change = more.cast_signed() - less.cast_signed();
        BYTES.fetch_add(change as i64, Relaxed);
    }
}

// SAFETY: each call is handed to the system's allocator as it is, and its answer handed back; what
// is done besides touches three atomics and allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(1, layout.size(), 0);
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(1, layout.size(), 0);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        note(0, 0, layout.size());
        // SAFETY: as above; the block came from the system's allocator, for all of ours do.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        note(1, bytes, layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, bytes) }
    }
}
