//! Three C calls that the standard library does not offer: send a signal, block signals, wait for
//! one.
//!
//! Signals are waited for (`sigwait`) and never handled: no code runs at a moment of the signal's
//! choosing, so nothing here must be safe to call from a handler.

#![expect(
    unsafe_code,
    reason = "the standard library has no call for these, and a C library is there"
)]

use std::ffi::c_int;
use std::io;

/// A set of signals as the C library lays it out on Linux: 1024 bits, 128 bytes.
#[repr(C, align(8))]
struct Set([u64; 16]);

unsafe extern "C" {
    fn kill(pid: c_int, signal: c_int) -> c_int;
    fn sigfillset(set: *mut Set) -> c_int;
    fn pthread_sigmask(how: c_int, set: *const Set, old: *mut Set) -> c_int;
    fn sigwait(set: *const Set, signal: *mut c_int) -> c_int;
}

/// `SIG_BLOCK` on Linux.
const BLOCK: c_int = 0;

/// Sends this process a signal.
pub(crate) fn signal_self(signal: i32) -> io::Result<()> {
    let own = i32::try_from(std::process::id()).map_err(io::Error::other)?;
    // SAFETY: `kill` takes two integers and touches no memory of ours.
    match unsafe { kill(own, signal) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// All signals, held back from this thread until somebody waits for them.
pub(crate) struct Signals(Set);

impl Signals {
    /// Holds back every signal that can be.
    pub(crate) fn hold() -> io::Result<Signals> {
        let mut set = Set([0; 16]);
        // SAFETY: `set` is 128 bytes, the size of `sigset_t` on Linux, and ours alone.
        unsafe { sigfillset(&raw mut set) };
        // SAFETY: `set` was filled above; a null third argument asks for no old set.
        match unsafe { pthread_sigmask(BLOCK, &raw const set, std::ptr::null_mut()) } {
            0 => Ok(Signals(set)),
            code => Err(io::Error::from_raw_os_error(code)),
        }
    }

    /// The next signal.
    pub(crate) fn wait(&self) -> io::Result<i32> {
        let mut signal = 0;
        // SAFETY: the set was filled by `hold`, and `signal` is an integer of ours.
        match unsafe { sigwait(&raw const self.0, &raw mut signal) } {
            0 => Ok(signal),
            code => Err(io::Error::from_raw_os_error(code)),
        }
    }
}
