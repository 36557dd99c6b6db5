//! Backups in parts: whether any moment comes back as it was, and nothing is taken for whole that
//! is not.
//!
//! | room | asks |
//! |---|---|
//! | [`points`] | whether every revision comes back as a model has it, with its past and leases |
//! | [`chains`] | what is written when: little, nothing, or all once more |
//! | [`crash`] | whether a backup that is killed leaves what the next one can go on with |
//! | [`damage`] | whether what is damaged is named, and an increment is never a database |
//! | [`elsewhere`] | whether etcd goes on with a point, and clients never see a revision twice |
//! | [`users`] | who may, and whether users come back |

mod chains;
mod crash;
mod damage;
mod elsewhere;
mod points;
mod users;

use std::path::Path;
use std::process::Output;

use crate::migration::{run_ours, text, word};
use crate::support::programs::ours;
use crate::support::server::Server;

/// Adds to the folder what the server has; how that ended.
fn try_add(server: &Server, dir: &Path, flags: &[&str]) -> Output {
    let url = server.client_url();
    run_ours(&[&["backup", "--endpoints", &url, "--dir", word(dir)], flags].concat())
}

/// The same, which must do it; what it says.
#[track_caller]
fn add(server: &Server, dir: &Path) -> String {
    let output = try_add(server, dir, &[]);
    assert!(output.status.success(), "{output:?}");
    text(&output.stdout) + &text(&output.stderr)
}

/// Makes a data directory of a point; how that ended.
fn try_restore(dir: &Path, data: &Path, flags: &[&str]) -> Output {
    let place = ["--name=solo", "--initial-cluster=solo=http://localhost:2380"];
    let words = ["backup", "restore", word(dir), "--data-dir", word(data)];
    run_ours(&[&words[..], &place, flags].concat())
}

/// A server with what the folder has of a point.
#[track_caller]
fn restored(dir: &Path, flags: &[&str]) -> Server {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let output = try_restore(dir, &folder.path().join("data"), flags);
    assert!(output.status.success(), "{output:?}");
    Server::start_in(folder, &ours(), &[])
}

/// The names in a folder that end so, in their order.
fn files(dir: &Path, end: &str) -> Vec<String> {
    let names = std::fs::read_dir(dir).expect("the folder is there");
    let names = names.map(|entry| entry.expect("it can be read").file_name());
    let names = names.map(|name| name.into_string().expect("names are text"));
    let mut names: Vec<String> = names.filter(|name| name.ends_with(end)).collect();
    names.sort();
    names
}
