//! A start on what etcd, or a tool of its, has left: with etcd's command line, and nothing done in
//! between.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use drystone_etcd_api::etcdserverpb::alarm_request::AlarmAction;

use super::fill::{change_alarm, fill};
use super::picture::Picture;
use super::{done, run_ours, save, text, word};
use crate::support::calls::{client_of, in_a_runtime, put};
use crate::support::programs::{later_or_skip, ours, real_or_skip};
use crate::support::server::{Server, clean_command};
use crate::support::tree;

const KEYS: usize = 100;
/// With it, what etcd has been told is in its journal alone.
const BEHIND: &str = "--backend-batch-interval=1h";

/// All files below a folder, and what is in them.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let named = |file: PathBuf| {
        let name = file.strip_prefix(folder).expect("files lie below their folder").to_owned();
        (name, std::fs::read(&file).expect("files of a test can be read"))
    };
    tree::files(folder).into_iter().map(named).collect()
}

/// etcd is killed, and ours started with the words of its command line, on everything it left.
fn check_same_command_line(etcd: &Path) {
    let outside = tempfile::tempdir().expect("a temporary folder can be made");
    let [wal, kept_wal] = ["wal", "wal.etcd"].map(|name| outside.path().join(name));
    let wal_dir = format!("--wal-dir={}", wal.display());
    let mut server = Server::start(etcd, &[BEHIND, &wal_dir]);
    let filled = in_a_runtime(async { fill(&client_of(&server).await, KEYS).await });
    let before = Picture::of(&server, &filled);
    let data = server.data_dir();
    // Two servers on the same files: the second must not begin.
    let refused = run_ours(&["--data-dir", word(&data), &wal_dir]);
    let said = text(&refused.stderr);
    assert!(refused.status.code() == Some(1) && said.contains("stop etcd first"), "{said}");
    server.kill();
    let left = [contents(&data.join("member")), contents(&wal)];
    server.change_program(&ours(), &[BEHIND, &wal_dir]);
    server.start_again();
    let log = server.whole_log();
    assert!(log.contains("converted the data that etcd had written"), "{log}");
    assert_eq!(Picture::of(&server, &filled), before);
    let now = [contents(&data.join("member.etcd")), contents(&kept_wal)];
    assert!(now == left, "etcd's own files are as it left them");
    let revision = in_a_runtime(async {
        let client = client_of(&server).await;
        // The filling has left an alarm, which puts do not pass.
        change_alarm(&client, AlarmAction::Deactivate).await;
        put(&client, "after", "v", 0).await
    });
    server.crash();
    let next = in_a_runtime(async { put(&client_of(&server).await, "after", "w", 0).await });
    assert_eq!(next, revision + 1, "the second start finds what the first has done");
}

#[test]
fn same_command_line_goes_on_with_the_same_data() {
    let test = "migration::started::same_command_line_goes_on_with_the_same_data";
    if let Some(real) = real_or_skip(test) {
        check_same_command_line(&real.etcd);
    }
    if let Some(later) = later_or_skip(test) {
        check_same_command_line(&later.etcd);
    }
}

/// A copy of ours, made a data directory by etcd's tool, and started on by ours.
fn check_restored(server: &Server, etcdctl: &Path, mut restore: Command) {
    let filled = in_a_runtime(async { fill(&client_of(server).await, KEYS).await });
    let before = Picture::of(server, &filled);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let (copy, data) = (folder.path().join("copy.db"), folder.path().join("data"));
    save(etcdctl, server, &copy);
    done(restore.args(["snapshot", "restore"]).arg(&copy).arg("--data-dir").arg(&data));
    let mut restored = Server::start_in(folder, &ours(), &[]);
    assert_eq!(Picture::of(&restored, &filled), before);
    restored.crash();
    assert_eq!(Picture::of(&restored, &filled), before);
}

// What operators' scripts do after a loss.
#[test]
fn what_etcds_tools_restored_is_started_on() {
    let test = "migration::started::what_etcds_tools_restored_is_started_on";
    let Some(real) = real_or_skip(test) else { return };
    let mut etcdctl = clean_command(&real.etcdctl);
    etcdctl.env("ETCDCTL_API", "3");
    check_restored(&Server::start(&ours(), &[]), &real.etcdctl, etcdctl);
    let Some(later) = later_or_skip(test) else { return };
    let server = Server::start(&ours(), &[]);
    check_restored(&server, &real.etcdctl, clean_command(&later.etcdutl));
}
