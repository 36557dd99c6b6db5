//! A word to the processor: these bytes are going to be read.
//!
//! A block lies in a page of memory of its own, and the hardware, which sees coming what a walk
//! reads next, does not look beyond a page. The first bytes of each block are then waited for, for
//! as long as ten rows take. Asked for while the block before is read, they are there in time.
#![expect(unsafe_code, reason = "the instruction takes a pointer, and there is no other way to it")]

/// What is fetched: as much as the columns of a block take, and its first entries.
const LINES: usize = 4;
const LINE_BYTES: usize = 64;

/// Has the beginning of `bytes` fetched. Does nothing that can be told but by a clock.
#[inline]
pub(crate) fn prefetch(bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    for line in bytes.chunks(LINE_BYTES).take(LINES) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: any address may be prefetched, and this one is that of a reference.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = bytes;
}
