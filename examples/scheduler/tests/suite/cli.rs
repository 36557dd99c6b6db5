//! The program itself, as people start it.
//!
//! Whatever needs containers needs root and a runtime, and says `SKIPPED` without them.

mod dev;
mod words;

use std::path::Path;
use std::process::{Command, Output};

/// The program, in a world of its own: no `dev` of whoever tests is found.
fn mason(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mason"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("XDG_RUNTIME_DIR", home).current_dir(home);
    command
}

/// What it prints and how it ends.
fn ends(home: &Path, words: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = mason(home).args(words).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}
