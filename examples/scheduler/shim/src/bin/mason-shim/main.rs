//! Keeps one run: starts its container, writes down what it prints, notes how it ended.
//!
//! `mason-shim FOLDER` starts itself again, in a session of its own and without a parent, and
//! leaves; the second one keeps the run in that folder until it is over. Everything it needs is in
//! there or comes on its stdin; see the library for the files and the order of steps.
//!
//! It has one thread: it is woken a few times for each thing that happens to its container, and
//! the kernel's wish to kill a container whose parent died is tied to the thread that died.

mod clients;
mod container;
mod keeper;
mod mounts;
mod outputs;
mod sys;
mod tail;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let done = match (words.next(), words.next()) {
        (Some(flag), Some(folder)) if flag == "--keep" => keeper::keep(&PathBuf::from(folder)),
        (Some(folder), None) => leave(&PathBuf::from(folder)),
        _ => Err(std::io::Error::other("usage: mason-shim FOLDER")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The folder's `keeper.log`.
            eprintln!("mason-shim: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Starts the keeper and leaves it to the first process of the machine.
fn leave(folder: &Path) -> std::io::Result<()> {
    let mut keeper = Command::new("/proc/self/exe");
    keeper.arg("--keep").arg(folder).stdin(Stdio::inherit()).spawn().map(drop)
}
