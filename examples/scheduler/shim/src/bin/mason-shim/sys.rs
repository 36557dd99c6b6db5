//! The calls that have no safe face: a namespace of its own, a wish before `exec`, and inherited
//! descriptors.
#![expect(unsafe_code, reason = "unshare, pre_exec and close_range")]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Closes what was inherited besides stdin, stdout and stderr: it is somebody else's, and takes up
/// the number on which a container's end is told.
pub(crate) fn close_inherited() {
    // SAFETY: this is called before the program opens anything, so that no descriptor closed here
    // has an owner in this process. A kernel before 5.9 refuses, and they stay.
    unsafe {
        libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0);
    }
}

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
