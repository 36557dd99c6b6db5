//! From etcd to this server and back, with the real programs on the other side.
//!
//! ```text
//!   etcd 3.4, 3.5 ── data directory, `migrate`, or a start ───► ours
//!                 ── etcdctl snapshot save, `restore` ───────► ours
//!   ours ── etcdctl snapshot save ── etcdctl, etcdutl restore ──► etcd 3.4, 3.5
//! ```
//!
//! On each side a [`Picture`](picture::Picture) is taken of all that clients can see, the past
//! included, and the pictures must be equal. Where both ends are etcd, so must be its own hash of
//! all history.

mod apart;
mod damage;
mod fill;
mod into;
pub(crate) mod out;
pub(crate) mod picture;
mod started;
mod users;

use std::path::Path;
use std::process::{Command, Output};

use crate::support::programs::ours;
use crate::support::server::{Server, clean_command};

/// Runs our program with these words.
pub(crate) fn run_ours(words: &[&str]) -> Output {
    clean_command(&ours()).args(words).output().expect("our program can be run")
}

/// The same, which must do it; what it prints.
#[track_caller]
pub(crate) fn ours_does(words: &[&str]) -> String {
    done(clean_command(&ours()).args(words))
}

/// Runs a command that must succeed; what it prints.
#[track_caller]
pub(crate) fn done(command: &mut Command) -> String {
    let output = command.output().expect("the program can be run");
    let (said, error) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{said}{error}", output.status);
    said
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Has the real `etcdctl` save a copy.
#[track_caller]
fn save(etcdctl: &Path, server: &Server, copy: &Path) {
    let mut command = clean_command(etcdctl);
    command.env("ETCDCTL_API", "3").arg(format!("--endpoints={}", server.client_url()));
    done(command.args(["snapshot", "save"]).arg(copy));
}

/// A path as a word of a command line.
pub(crate) fn word(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}
