//! The few calls that have no safe face: signals as values, a session before `exec`, and a
//! descriptor that was inherited.
#![expect(unsafe_code, reason = "libc's signal calls, pre_exec and inherited descriptors")]

use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::FromRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use mason_shim::init::SIGNAL_MAX;
use rustix::process::Pid;

fn all_signals() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: `sigfillset` writes a whole set to the place it is given, which is ours.
    unsafe {
        libc::sigfillset(set.as_mut_ptr());
        set.assume_init()
    }
}

/// Keeps all signals pending until [`next_signal`] asks.
pub(crate) fn block_signals() {
    let set = all_signals();
    // SAFETY: the set is whole, and nobody wants to know the old mask.
    unsafe {
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    }
}

/// Waits for a signal.
pub(crate) fn next_signal() -> i32 {
    let set = all_signals();
    loop {
        // SAFETY: the set is whole, and nobody wants to know more than the number.
        let signal = unsafe { libc::sigwaitinfo(&raw const set, std::ptr::null_mut()) };
        if signal > 0 {
            return signal;
        }
    }
}

/// Sends a signal by number, real-time ones too, to a process group.
pub(crate) fn signal_group(group: Pid, signal: i32) {
    // SAFETY: `kill` touches no memory. A group that is gone is an error, and meant.
    unsafe {
        libc::kill(-group.as_raw_pid(), signal);
    }
}

/// Lets the command run in a session of its own, with the terminal if there is one, and with no
/// signal blocked or ignored.
pub(crate) fn in_own_session(command: &mut Command) {
    let session = || {
        let mut none = MaybeUninit::uninit();
        // SAFETY: all are async-signal-safe, and the only memory is a set that is ours. Without a
        // terminal the last fails, as it should.
        unsafe {
            libc::sigemptyset(none.as_mut_ptr());
            libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
            // Whoever started the agent may ignore some, and that is inherited all the way.
            for signal in 1..=SIGNAL_MAX {
                libc::signal(signal, libc::SIG_DFL);
            }
            libc::setsid();
            libc::ioctl(0, libc::TIOCSCTTY, 0);
        }
        Ok(())
    };
    // SAFETY: the closure makes async-signal-safe calls only and allocates nothing.
    unsafe {
        command.pre_exec(session);
    }
}

/// Takes an inherited descriptor, if there is one of that number; children do not get it.
pub(crate) fn own(fd: i32) -> Option<File> {
    // SAFETY: `fcntl` touches no memory; on a number that is no descriptor it fails.
    let open = unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } == 0;
    // SAFETY: it is open, its number was given to us by whoever opened it for us, and this is
    // called once, before anything else of this process opens a descriptor.
    open.then(|| unsafe { File::from_raw_fd(fd) })
}
