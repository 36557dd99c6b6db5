//! Asking the kernel for throughput: no thread of this process interrupts another.
//!
//! A put crosses four threads: the one that serves its connection, the one that runs consensus, the
//! one that syncs the log, the one that applies. On a busy machine the kernel's usual policy lets
//! each that wakes interrupt the one that woke it. So the first of a hundred puts drags the rest of
//! the threads onto the core for its own sake, and a sync carries few puts.
//!
//! Under `SCHED_BATCH` (sched(7)) a thread that wakes on a busy core waits for its turn, a few
//! milliseconds at most, and then finds more to do. An idle core takes it at once as ever. Measured
//! with a hundred clients on two cores: half the switches, 13 % less CPU a put, 10 % more puts, a
//! quarter off the 99th percentile; one client beside two hogs of the processor notices nothing.
//! Figures are in decision 0013.

#![expect(unsafe_code, reason = "a system call that no safe crate has")]

use std::io;

/// Puts this thread, and all that it starts from now on, under `SCHED_BATCH`. No privilege is
/// needed, and the niceness stays what it is.
///
/// # Errors
/// If the kernel refuses, as a sandbox may make it. Nothing has changed then, and all works.
pub(crate) fn prefer_throughput() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the pointer is to a live value of the type that the call reads; 0 is this thread.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameters) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Field 41 of `/proc/thread-self/stat` is the policy; see proc_pid_stat(5).
    fn policy() -> String {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let behind_name = stat.rsplit_once(')').unwrap().1;
        behind_name.split_whitespace().nth(41 - 3).unwrap().to_owned()
    }

    #[test]
    fn threads_inherit_the_policy() {
        std::thread::spawn(|| {
            assert_eq!(policy(), libc::SCHED_OTHER.to_string());
            prefer_throughput().unwrap();
            let child = std::thread::spawn(policy).join().unwrap();
            assert_eq!(child, libc::SCHED_BATCH.to_string());
        })
        .join()
        .unwrap();
    }
}
