//! Asking the processor for memory before it is needed.
//!
//! A page that was not touched for a while is sixty-four cache lines away, and the processor
//! notices that somebody walks along them only after the first few. Who knows the next page while
//! there is work to do on this one can have it brought near meanwhile.

#![expect(unsafe_code, reason = "the instruction takes a pointer; it is a hint and cannot fault")]

/// Bytes of a cache line.
const LINE: usize = 64;

/// Brings bytes near, to be read.
#[inline]
pub(crate) fn prefetch(bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    for line in bytes.chunks(LINE) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: every x86-64 processor has the instruction, and it changes no state but that of
        // the caches, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (bytes, LINE);
}
