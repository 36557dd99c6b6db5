//! From ours to etcd.

use std::path::Path;

use tempfile::TempDir;

use super::fill::fill;
use super::picture::{Picture, hash};
use super::{done, ours_does, save, word};
use crate::support::calls::{client_of, in_a_runtime};
use crate::support::programs::{Later, Real, later_or_skip, ours, real_or_skip};
use crate::support::server::{Server, clean_command};

const KEYS: usize = 300;

/// Where a restored member is to be reached by others; nobody tries.
const PLACE: [&str; 3] = [
    "--name=solo",
    "--initial-cluster=solo=http://localhost:2380",
    "--initial-advertise-peer-urls=http://localhost:2380",
];

/// etcd 3.4 with what its own tool made of a copy.
pub(crate) fn restored_by_etcdctl(real: &Real, copy: &Path) -> Server {
    let folder = tempfile::tempdir().expect("files of a test can be used");
    let mut command = clean_command(&real.etcdctl);
    command.env("ETCDCTL_API", "3").args(["snapshot", "restore"]).arg(copy);
    start(folder, &mut command, &real.etcd)
}

/// etcd 3.5 with what its own tool made of a copy.
pub(crate) fn restored_by_etcdutl(later: &Later, copy: &Path) -> Server {
    let folder = tempfile::tempdir().expect("files of a test can be used");
    let mut command = clean_command(&later.etcdutl);
    command.args(["snapshot", "restore"]).arg(copy);
    start(folder, &mut command, &later.etcd)
}

fn start(folder: TempDir, command: &mut std::process::Command, etcd: &Path) -> Server {
    done(command.arg("--data-dir").arg(folder.path().join("data")).args(PLACE));
    Server::start_in(folder, etcd, &[])
}

// What is saved here must be all that etcd needs to go on: for whoever wants to go back, and for
// whoever has tools that look into such files. Trap 27: they look for the checksum and the buckets.
#[test]
fn etcd_goes_on_with_what_was_saved_here() {
    let test = "migration::out::etcd_goes_on_with_what_was_saved_here";
    let Some(real) = real_or_skip(test) else { return };
    let server = Server::start(&ours(), &[]);
    let filled = in_a_runtime(async { fill(&client_of(&server).await, KEYS).await });
    let before = Picture::of(&server, &filled);
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.db");
    save(&real.etcdctl, &server, &copy);
    assert_eq!(std::fs::metadata(&copy).unwrap().len() % 512, 32, "etcdctl's own test of a copy");
    let status = ["snapshot", "status", word(&copy), "--write-out=json"];
    let own = ours_does(&status);
    let numbers = |json: &str| -> Vec<serde_json::Value> {
        let json: serde_json::Value = serde_json::from_str(json).unwrap();
        ["hash", "revision", "totalKey", "totalSize"].map(|name| json[name].clone()).into()
    };
    let etcdctl = done(clean_command(&real.etcdctl).env("ETCDCTL_API", "3").args(status));
    assert_eq!(numbers(&own), numbers(&etcdctl));
    let back = restored_by_etcdctl(&real, &copy);
    assert_eq!(Picture::of(&back, &filled), before);
    let Some(later) = later_or_skip(test) else { return };
    // This one walks through all pages first, and says which are not as they should be.
    let etcdutl = done(clean_command(&later.etcdutl).args(status));
    assert_eq!(numbers(&own), numbers(&etcdutl));
    let later = restored_by_etcdutl(&later, &copy);
    assert_eq!(Picture::of(&later, &filled), before);
    assert_eq!(hash(&back), hash(&later), "etcd's own hash of all history");
}
