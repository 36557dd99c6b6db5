//! Directories of etcd's that go on here with a journal apart (`--wal-dir`), and journals that etcd
//! had apart.

use std::fs;
use std::path::Path;

use drystone_etcd_api::etcdserverpb::alarm_request::AlarmAction;

use super::fill::{change_alarm, fill};
use super::picture::Picture;
use super::{ours_does, run_ours, text, word};
use crate::cluster::fleet::Fleet;
use crate::data_dir::sample;
use crate::support::calls::{client_of, in_a_runtime, put};
use crate::support::programs::{later_or_skip, ours, real_or_skip};
use crate::support::server::Server;
use crate::support::tree;

const KEYS: usize = 100;
/// With it, what etcd has been told is in its journal alone.
const BEHIND: &str = "--backend-batch-interval=1h";

fn flag(wal: &Path) -> String {
    format!("--wal-dir={}", wal.display())
}

/// Whether there is a journal of ours in a directory, and in the data directory.
fn journals(data: &Path, wal: &Path) -> (bool, bool) {
    let has_files = |log: &Path| log.is_dir() && !tree::files(log).is_empty();
    (has_files(&wal.join("log-1")), has_files(&data.join(sample::LOG)))
}

/// etcd has its journal in a directory apart, and so has ours, in the place of it: the first start
/// moves it there. What is seen is the same, then and after a crash and a stop.
fn check(etcd: &Path) {
    let outside = tempfile::tempdir().expect("a temporary folder can be made");
    let [own, kept] = ["wal", "wal.etcd"].map(|name| outside.path().join(name));
    let mut server = Server::start(etcd, &[BEHIND, &flag(&own)]);
    let filled = in_a_runtime(async { fill(&client_of(&server).await, KEYS).await });
    let before = Picture::of(&server, &filled);
    server.kill();
    let data = server.data_dir();
    let etcds = tree::files(&own).len();
    let said = ours_does(&["migrate", "--data-dir", word(&data), "--wal-dir", word(&own)]);
    assert!(!said.contains(" 0 behind it"), "the journal has it: {said}");
    assert_eq!(journals(&data, &own), (false, true), "it is made in the data directory");
    assert_eq!(tree::files(&own).len(), etcds, "etcd's is only read");
    server.change_program(&ours(), &[&flag(&own)]);
    server.start_again();
    assert_eq!(journals(&data, &own), (true, false), "it has moved");
    assert_eq!(tree::files(&kept).len(), etcds, "etcd's is kept");
    assert_eq!(Picture::of(&server, &filled), before);
    let revision = in_a_runtime(async {
        let client = client_of(&server).await;
        // The filling has left an alarm, which puts do not pass.
        change_alarm(&client, AlarmAction::Deactivate).await;
        put(&client, "after", "v", 0).await
    });
    server.crash();
    let now = in_a_runtime(async { put(&client_of(&server).await, "after", "w", 0).await });
    assert_eq!(now, revision + 1, "nothing is lost, nothing is done twice");
    server.restart();
    // Without the flag it is refused as any other, and says where the journal is.
    server.terminate();
    let refused = run_ours(&["--data-dir", word(&data)]);
    let told = text(&refused.stderr);
    assert!(told.contains(&format!("start with {}", flag(&own))), "{told}");
}

#[test]
fn converted_directory_takes_a_journal_apart() {
    let test = "migration::apart::converted_directory_takes_a_journal_apart";
    if let Some(real) = real_or_skip(test) {
        check(&real.etcd);
    }
    if let Some(later) = later_or_skip(test) {
        check(&later.etcd);
    }
}

/// Members that are converted need each other's entries for what they lack: the journals that they
/// get them from have moved meanwhile.
#[test]
fn converted_members_catch_up_from_journals_apart() {
    let test = "migration::apart::converted_members_catch_up_from_journals_apart";
    let Some(real) = real_or_skip(test) else { return };
    let Some(mut fleet) = Fleet::start_as(test, &real.etcd, 3, &[BEHIND]) else { return };
    let outside = tempfile::tempdir().unwrap();
    let wal = |number: usize| outside.path().join(format!("wal-{number}"));
    let away = fleet.follower();
    fleet.kill(away);
    let others: Vec<usize> = fleet.running();
    for number in 0..50 {
        fleet.ctl_ok(&others, &["put", &format!("k/{number}"), "v"]);
    }
    for number in others {
        fleet.kill(number);
    }
    for number in 0..3 {
        ours_does(&["migrate", "--data-dir", word(&fleet.data(number))]);
    }
    fleet.change_program(&ours());
    for number in 0..3 {
        fleet.launch_with(number, &[&flag(&wal(number))]);
    }
    fleet.wait_for_all();
    for number in 0..3 {
        assert_eq!(fleet.get(number, "k/49"), "v", "m{number}");
        assert_eq!(journals(&fleet.data(number), &wal(number)), (true, false), "m{number}");
    }
    // Etcd's own files are as they were.
    assert!(fs::exists(fleet.data(away).join("member.etcd/wal")).unwrap());
}
