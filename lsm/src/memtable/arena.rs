//! One block of memory that is handed out from the front and freed all at once.
//!
//! ```text
//!   base                      used                       capacity
//!   ├── node ── node ── node ──┼ - - - - - zeros - - - - - ┤
//!       ▲
//!       a place: u32, a multiple of 8, never 0
//! ```
//!
//! A place is half as wide as a pointer, and one counter is all the bookkeeping there is. The block
//! comes zeroed from the system itself, which maps a page only when it is touched: an empty arena
//! of 64 MiB costs nothing. An allocator would give the block of an earlier memtable again, and
//! write zeros over all of it first, for milliseconds, while every writer waits for the new one.
//!
//! **Who may touch what.** Bytes of a node are written by the thread that allocated it, before it
//! publishes the node through a link, and never again. Links are atomics from first to last. That
//! is all the discipline there is; [`skiplist`](super::skiplist) keeps it, and each function here
//! says what it asks for. Under the model checker every node has a shadow cell, which finds a
//! reader that comes before the writer is done.
#![expect(unsafe_code, reason = "memory that many threads build one list in, without a lock")]

use std::alloc::{Layout, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::atomic::Ordering;

use memmap2::MmapMut;

use crate::sync::AtomicU64;

/// Nodes begin at multiples of this.
pub(super) const ALIGN: u32 = 8;

/// See the module.
#[derive(Debug)]
pub(super) struct Arena {
    /// Where the block begins.
    base: NonNull<u8>,
    capacity: u32,
    used: AtomicU64,
    /// Unmapped with the arena.
    _block: MmapMut,
    #[cfg(loom)]
    shadow: shadow::Shadow,
}

// SAFETY: the block is owned by the arena; who may touch which bytes when is in the module's doc,
// and holds for any number of threads.
unsafe impl Send for Arena {}
// SAFETY: as above.
unsafe impl Sync for Arena {}

impl Arena {
    /// An arena of `capacity` bytes, all zero; at least 64, and rounded up to a multiple of 8.
    pub(super) fn new(capacity: u32) -> Arena {
        let capacity = capacity.clamp(64, u32::MAX - ALIGN).next_multiple_of(ALIGN);
        let Ok(mut block) = MmapMut::map_anon(capacity as usize) else {
            let layout = Layout::from_size_align(capacity as usize, ALIGN as usize);
            handle_alloc_error(layout.expect("a capacity below 4 GiB and a small power of two"))
        };
        let base = NonNull::new(block.as_mut_ptr()).expect("a block does not begin at zero");
        Arena {
            base,
            capacity,
            _block: block,
            // Place 0 is no place.
            used: AtomicU64::new(u64::from(ALIGN)),
            #[cfg(loom)]
            shadow: shadow::Shadow::new(capacity),
        }
    }

    pub(super) fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Bytes handed out; more than the capacity if somebody asked in vain.
    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// A place for `bytes` bytes that nobody else has, or nothing if there is no room.
    pub(super) fn alloc(&self, bytes: u32) -> Option<u32> {
        let bytes = u64::from(bytes).next_multiple_of(u64::from(ALIGN));
        // Relaxed: the counter hands out places and orders nothing.
        let at = self.used.fetch_add(bytes, Ordering::Relaxed);
        (at + bytes <= u64::from(self.capacity)).then_some(at as u32)
    }

    /// The link at `at`.
    ///
    /// # Safety
    /// `at` is a multiple of 8, lies in an allocated place, and its eight bytes are never touched
    /// but through this function.
    #[inline]
    pub(super) unsafe fn link(&self, at: u32) -> &AtomicU64 {
        debug_assert!(at.is_multiple_of(8) && at + 8 <= self.capacity, "a link lies in the arena");
        #[cfg(loom)]
        return self.shadow.link(at);
        #[cfg(not(loom))]
        {
            // SAFETY: in bounds and aligned, says the caller, and so is the base; an atomic may be
            // shared, and zeroed memory is a valid one. It lives as long as the arena.
            unsafe { AtomicU64::from_ptr(self.base.as_ptr().add(at as usize).cast()) }
        }
    }

    /// The bytes from `at` on.
    ///
    /// # Safety
    /// They lie in an allocated place, hold no link, and were written before the caller came to
    /// know of them through an acquiring load; or are the caller's own.
    #[inline]
    pub(super) unsafe fn bytes(&self, at: u32, len: u32) -> &[u8] {
        debug_assert!(u64::from(at) + u64::from(len) <= u64::from(self.capacity), "in the arena");
        // SAFETY: in bounds and never written again, says the caller; zeroed at first, so that no
        // byte is uninitialised.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr().add(at as usize), len as usize) }
    }

    /// Copies `bytes` to `at`.
    ///
    /// # Safety
    /// The place was allocated by the caller, who has not published it yet, and holds no link
    /// there.
    #[inline]
    pub(super) unsafe fn write(&self, at: u32, bytes: &[u8]) {
        debug_assert!(u64::from(at) + bytes.len() as u64 <= u64::from(self.capacity), "in bounds");
        // SAFETY: in bounds, and nobody else knows of the place, says the caller; `bytes` cannot
        // overlap it, for it would have to be a reference into it.
        unsafe {
            std::ptr::copy_nonoverlapping(
                bytes.as_ptr(),
                self.base.as_ptr().add(at as usize),
                bytes.len(),
            );
        }
    }

    /// The number at `at`, as [`write`](Arena::write) left it.
    ///
    /// # Safety
    /// As [`bytes`](Arena::bytes), of which there are `size_of::<N>()`; `at` is a multiple of that.
    #[inline]
    pub(super) unsafe fn number<N: Number>(&self, at: u32) -> N {
        debug_assert!((at as usize).is_multiple_of(size_of::<N>()), "numbers are aligned");
        debug_assert!(at as usize + size_of::<N>() <= self.capacity as usize, "in the arena");
        // SAFETY: in bounds, aligned and not written meanwhile, says the caller; every bit pattern
        // is a number.
        unsafe { self.base.as_ptr().add(at as usize).cast::<N>().read() }
    }

    /// Tells the model checker that the caller writes a node now, or has to do with one.
    #[cfg(loom)]
    pub(super) fn writes_node(&self, at: u32) {
        self.shadow.write_node(at);
    }

    #[cfg(loom)]
    pub(super) fn reads_node(&self, at: u32) {
        self.shadow.read_node(at);
    }
}

/// What [`Arena::number`] can read: any bit pattern is one.
pub(super) trait Number: Copy {}

impl Number for u64 {}
impl Number for u32 {}

#[cfg(loom)]
mod shadow {
    //! What the model checker sees of the arena: a link and a cell for every eight bytes.

    use loom::cell::UnsafeCell;
    use loom::sync::atomic::AtomicU64;

    #[derive(Debug)]
    pub(super) struct Shadow {
        links: Vec<AtomicU64>,
        cells: Vec<UnsafeCell<()>>,
    }

    impl Shadow {
        pub(super) fn new(capacity: u32) -> Shadow {
            let links = (0..capacity / 8).map(|_| AtomicU64::new(0)).collect();
            let cells = (0..capacity / 8).map(|_| UnsafeCell::new(())).collect();
            Shadow { links, cells }
        }

        pub(super) fn link(&self, at: u32) -> &AtomicU64 {
            &self.links[at as usize / 8]
        }

        pub(super) fn read_node(&self, at: u32) {
            self.cells[at as usize / 8].with(|_| ());
        }

        pub(super) fn write_node(&self, at: u32) {
            self.cells[at as usize / 8].with_mut(|_| ());
        }
    }
}
