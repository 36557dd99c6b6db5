//! The two calls that have no safe face: a namespace of its own, and a wish before `exec`.
#![expect(unsafe_code, reason = "unshare and pre_exec")]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Gives this process its own table of mounts.
pub(crate) fn own_mounts() -> io::Result<()> {
    // SAFETY: no descriptor or memory is given up; and this process has one thread, so none is
    // left behind with another view of the file system.
    Ok(unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?)
}

/// Lets the kernel kill the command when this process dies: a runtime that goes on without its
/// keeper would start a container that nobody keeps.
pub(crate) fn tie(command: &mut Command) {
    // SAFETY: the closure makes one system call and allocates nothing.
    unsafe {
        command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
    }
}
