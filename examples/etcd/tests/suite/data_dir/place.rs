//! Folders that are no place for our data: in use, out of reach, or somebody else's.

use std::fs;
use std::os::unix::fs::symlink;

use drystone_kv::EngineKind;

use super::attempt::{attempt_with, picture};
use super::sample::{Sample, edit};
use super::{KEYS, count, refused, refused_with};
use crate::support::calls::{self, client_of, in_a_runtime};
use crate::support::server::Server;
use crate::support::{on_every_engine, programs};

on_every_engine! {
    data_of_another_engine_are_refused
}

/// Two servers on one folder would overwrite each other's journal.
#[test]
fn folder_in_use_is_refused_and_its_user_goes_on() {
    let mut server = Sample::new().serve();
    refused(&server.data_dir(), "replica/LOCK", "in use");
    assert!(server.is_running());
    assert_eq!(count(&server), KEYS);
    // Its death gives the folder back.
    server.crash();
    assert_eq!(count(&server), KEYS);
}

/// A mistyped path must not become a store.
#[test]
fn what_is_no_folder_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("file");
    fs::write(&file, "somebody's notes").expect("the file can be written");
    refused(&file, "", "is not a directory");
    refused(&file.join("below"), "", "");
    let endless = folder.path().join("endless");
    symlink(&endless, &endless).expect("a link can be made");
    refused(&endless, "", "");
    let nowhere = folder.path().join("nowhere");
    symlink(folder.path().join("missing/missing"), &nowhere).expect("a link can be made");
    refused(&nowhere, "", "");
    assert!(!folder.path().join("missing").exists(), "nothing is made in its place");
    assert_eq!(fs::read(&file).expect("the file is there"), b"somebody's notes");
    // Here nobody may make a folder, not even root, for whom modes do not count.
    refused("/proc/self/no-such-folder".as_ref(), "", "");
    let long = folder.path().join("n".repeat(300));
    let attempt = attempt_with(&long, &[]);
    assert_eq!(attempt.code, Some(1), "{}", attempt.log);
}

/// A folder where a file should be, and the other way round.
#[test]
fn things_of_the_wrong_kind_are_refused() {
    let replace_by_folder = |file: &str| {
        let sample = Sample::new();
        let path = sample.data().join(file);
        fs::remove_file(&path).expect("it is there");
        fs::create_dir(&path).expect("a folder can be made");
        refused(&sample.data(), file, "");
    };
    replace_by_folder("identity");
    replace_by_folder("peers");
    replace_by_folder("replica/FORMAT");
    replace_by_folder("replica/LOCK");
    let replace_by_file = |folder: &str| {
        let sample = Sample::new();
        let path = sample.data().join(folder);
        fs::remove_dir_all(&path).expect("it is there");
        fs::write(&path, "").expect("a file can be made");
        refused(&sample.data(), folder, "");
    };
    replace_by_file("replica");
    replace_by_file("replica/engine-a");
    replace_by_file("replica/raft");
    replace_by_file("replica/raft/log-1");
}

/// Whoever points us at etcd's own data must learn that we cannot read them, and lose nothing.
#[test]
fn data_of_real_etcd_are_refused() {
    let Some(real) = programs::real_or_skip("data_of_real_etcd_are_refused") else { return };
    let mut etcd = Server::start(&real.etcd, &[]);
    in_a_runtime(async {
        calls::put(&client_of(&etcd).await, "k", "v", 0).await;
    });
    etcd.terminate();
    let asked = ["--convert-etcd-data=false"];
    refused_with(&asked, &etcd.data_dir(), "member/snap/db", "etcd");
    etcd.start_again();
    let found = in_a_runtime(async { calls::get(&client_of(&etcd).await, "k").await });
    assert_eq!(found.count, 1, "etcd reads them as before");
    // Half of it is still etcd's.
    etcd.kill();
    fs::remove_file(etcd.data_dir().join("member/snap/db")).expect("it is there");
    refused_with(&asked, &etcd.data_dir(), "member/wal", "etcd");
    refused(&etcd.data_dir(), "", "no member/snap/db");
}

/// A store without its mark is a folder of strange files.
#[test]
fn store_without_its_format_file_is_refused() {
    let sample = Sample::new();
    fs::remove_file(sample.data().join("replica/FORMAT")).expect("it is there");
    refused(&sample.data(), "replica", "is not a drystone data folder");
}

/// A server that was started with another engine would find none of that engine's files, and serve
/// an empty store to everyone. Without the flag it goes on with the engine that is there.
fn data_of_another_engine_are_refused(kind: EngineKind) {
    let mut server = Server::start(&programs::ours(), programs::flags_of(kind));
    in_a_runtime(async {
        calls::put(&client_of(&server).await, "k", "v", 0).await;
    });
    server.terminate();
    for other in EngineKind::ALL.into_iter().filter(|other| *other != kind) {
        let advice = format!("start with --storage-engine={kind}");
        let data = server.data_dir();
        refused_with(programs::flags_of(other), &data, "replica/FORMAT", &advice);
    }
    server.start_without_flags();
    let found = in_a_runtime(async { calls::get(&client_of(&server).await, "k").await });
    assert_eq!(found.count, 1, "the data are there");
    assert!(server.whole_log().contains(&format!("\"storage-engine\":\"{kind}\"")));
}

/// A newer version's folder holds what this one would misread.
#[test]
fn other_versions_are_refused() {
    let sample = Sample::new();
    fs::write(sample.data().join("replica/FORMAT"), "drystone-kv-replica 99\n")
        .expect("it can be written");
    refused(&sample.data(), "replica/FORMAT", "version 99");
    let sample = Sample::new();
    edit(&sample.data().join("identity"), |line| {
        *line = b"drystone-etcd 99 something new\n".to_vec();
    });
    refused(&sample.data(), "identity", "version 99");
    // The layout before there was a consensus log.
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let line = "drystone-etcd 1 cluster=cdf818194e3a8c32 member=8e9e05c52164694d";
    let crc = crc32fast::hash(line.as_bytes());
    fs::write(folder.path().join("identity"), format!("{line} crc={crc:08x}\n")).expect("written");
    fs::create_dir(folder.path().join("kv")).expect("a folder can be made");
    refused(folder.path(), "identity", "version 1");
}

const FORMAT_TWICE: &str = "drystone-kv-replica 1\n\n";

/// What cannot be read must not be guessed at.
#[test]
fn garbage_in_the_small_files_is_refused() {
    for content in
        ["", "\n", "garbage", "drystone-kv 1\n", "drystone-kv-replica 1", FORMAT_TWICE, "\u{ff}\n"]
    {
        let sample = Sample::new();
        fs::write(sample.data().join("replica/FORMAT"), content).expect("it can be written");
        refused(&sample.data(), "replica/FORMAT", "damaged");
    }
    let identity = fs::read(Sample::new().data().join("identity")).expect("it can be read");
    let mut changed = identity.clone();
    changed[30] ^= 1;
    let contents: [&[u8]; 5] = [b"", b"garbage", &[0xff; 40], &identity[..20], &changed];
    for content in contents {
        let sample = Sample::new();
        fs::write(sample.data().join("identity"), content).expect("it can be written");
        refused(&sample.data(), "identity", "damaged");
    }
    let sample = Sample::new();
    fs::write(sample.data().join("identity"), vec![b'x'; 1 << 20]).expect("it can be written");
    refused(&sample.data(), "identity", "damaged");
    for content in ["", "\n", "garbage", "engine-b", "engine-c\n", "engine-a\n\n"] {
        let sample = Sample::new();
        fs::write(sample.data().join("replica/ENGINE"), content).expect("it can be written");
        refused(&sample.data(), "replica/ENGINE", "does not name an engine");
    }
}

/// A refusal that is not one leaves a store where there was none.
#[test]
fn folder_to_join_with_is_not_made() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let empty = picture(folder.path());
    let data = folder.path().join("data");
    // The sample's flags say "new"; the last one counts.
    let attempt = attempt_with(&data, &["--initial-cluster-state", "existing"]);
    assert_eq!(attempt.code, Some(1), "{}", attempt.log);
    // There is nobody to ask, as etcd says.
    let words = "cannot fetch cluster info from peer urls: could not retrieve cluster information";
    assert!(attempt.lines.concat().contains(words), "{}", attempt.log);
    assert_eq!(picture(folder.path()), empty);
}
