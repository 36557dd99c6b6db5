//! A journal in a directory of its own (`--wal-dir`): found again with its data, or not at all.
//!
//! A member that starts with its data and without its journal has forgotten its votes and what it
//! acknowledged last. So a start that names another directory, or none, or another member's, ends
//! with a sentence that names both, and changes nothing.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use drystone_etcd_api::client::{Config, connect};
use drystone_kv::EngineKind;
use tempfile::TempDir;

use super::attempt::{attempt_with, picture};
use super::sample::{self, Sample};
use super::{KEYS, count, refused_with};
use crate::support::calls::{self, client_of, in_a_runtime};
use crate::support::programs::{flags_of, is_ours, ours};
use crate::support::server::{Server, clean_command, free_port};
use crate::support::{on_every_engine, tree};
use crate::tls::secured::Started;

on_every_engine! {
    journal_apart_survives_crashes
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}

fn flag(wal: &Path) -> String {
    format!("--wal-dir={}", wal.display())
}

fn put(server: &Server, from: usize, count: usize) {
    in_a_runtime(async {
        let client = client_of(server).await;
        for number in from..from + count {
            calls::put(&client, &format!("apart/{number}"), "v", 0).await;
        }
    });
}

/// The files of the journal in its own directory, and of one that is in the data directory.
fn journals(data: &Path, wal: &Path) -> [usize; 2] {
    [wal.join("log-1"), data.join(sample::LOG)].map(|log| match log.is_dir() {
        true => tree::files(&log).len(),
        false => 0,
    })
}

fn run(words: &[&str]) -> Output {
    clean_command(&ours()).args(words).output().expect("the program can be run")
}

/// What it is for: acknowledged is what the journal has, wherever that lies.
fn journal_apart_survives_crashes(kind: EngineKind) {
    if !is_ours() {
        return;
    }
    let outside = folder();
    let wal = outside.path().join("disk/wal");
    let flag = flag(&wal);
    let flags = [flags_of(kind), &[flag.as_str()]].concat();
    let mut server = Server::start(&ours(), &flags);
    for round in 0..3 {
        put(&server, 50 * round, 50);
        assert_eq!(count(&server), 50 * (round + 1));
        match round {
            0 => server.crash(),
            _ => server.restart(),
        };
        assert_eq!(count(&server), 50 * (round + 1), "round {round}");
    }
    let [apart, inside] = journals(&server.data_dir(), &wal);
    assert!(apart > 2 && inside == 0, "{apart} files apart, {inside} inside");
    assert_eq!(fs::metadata(&wal).expect("it is there").mode() & 0o777, 0o700);
    // Who looks need not know where the journal is, running or not.
    for _ in 0..2 {
        let data = server.data_dir();
        let looked = run(&["inspect", &data.to_string_lossy(), "log", "entries"]);
        let text = String::from_utf8_lossy(&looked.stdout);
        assert!(looked.status.success(), "{text}{}", String::from_utf8_lossy(&looked.stderr));
        assert!(text.contains(&*wal.to_string_lossy()) && text.contains("apart/149"), "{text}");
        server.terminate();
        server.launch();
    }
}

/// A server whose journal is apart, stopped, with ten keys.
fn stopped(wal: &Path) -> Server {
    let mut server = Server::start(&ours(), &[&flag(wal)]);
    put(&server, 0, 10);
    server.kill();
    server
}

/// The flag that is forgotten, mistyped, or points to a disk that is not mounted.
#[test]
fn journal_is_missed_wherever_it_is_not() {
    if !is_ours() {
        return;
    }
    let outside = folder();
    let [wal, other] = ["wal", "other"].map(|name| outside.path().join(name));
    let mut server = stopped(&wal);
    let data = server.data_dir();
    let kept = wal.to_string_lossy();
    refused_with(&[], &data, "replica/raft", &format!("the log is kept in {kept}, not in"));
    refused_with(&[], &data, "replica/raft", &format!("start with --wal-dir={kept}"));
    let attempt = attempt_with(&data, &[&flag(&other)]);
    assert!(attempt.log.contains(&format!("in {kept}, not in {}", other.display())), "{attempt:?}");
    assert!(!other.exists(), "nothing was made");
    // Its disk is not mounted.
    fs::rename(&wal, &other).expect("it can be moved");
    refused_with(&[&flag(&wal)], &data, "replica/raft", "see whether its disk is mounted");
    fs::create_dir(&wal).expect("an empty mount point");
    refused_with(&[&flag(&wal)], &data, "replica/raft", "see whether its disk is mounted");
    // It was moved as a whole, and so it is found.
    let (shown, place) = (data.to_string_lossy(), other.to_string_lossy());
    let looked = run(&["inspect", &shown, "log", "--wal-dir", &place]);
    assert!(looked.status.success(), "{looked:?}");
    let lost = run(&["inspect", &shown, "log"]);
    assert_eq!(lost.status.code(), Some(1), "{lost:?}");
    server.change_program(&ours(), &[&flag(&other)]);
    server.start_again();
    assert_eq!(count(&server), 10);
    server.kill();
    // And whose data are lost has lost the journal, too.
    fs::remove_dir_all(data.join("replica")).expect("it can be removed");
    refused_with(&[&flag(&other)], &data, "", "the member's store is missing");
}

/// Two members with one journal would vote twice in one name.
#[test]
fn journal_has_one_member() {
    if !is_ours() {
        return;
    }
    let outside = folder();
    let wal = outside.path().join("wal");
    let mut server = Server::start(&ours(), &[&flag(&wal)]);
    put(&server, 0, 10);
    let second = folder();
    let data = second.path().join("data");
    for _ in 0..2 {
        let attempt = attempt_with(&data, &[&flag(&wal)]);
        assert_eq!(attempt.code, Some(1), "{attempt:?}");
        assert!(attempt.log.contains("each member needs a --wal-dir of its own"), "{attempt:?}");
        assert!(attempt.log.contains(&*server.data_dir().to_string_lossy()), "{attempt:?}");
        server.crash();
    }
    assert_eq!(count(&server), 10);
    // Nor is it anybody's who keeps something else there.
    let etcds = outside.path().join("etcds");
    fs::create_dir(&etcds).expect("a folder");
    fs::write(etcds.join("0000000000000000-0000000000000000.wal"), "x").expect("a file");
    let before = picture(&etcds);
    let attempt = attempt_with(&data, &[&flag(&etcds)]);
    assert!(attempt.log.contains("of etcd's own journal"), "{attempt:?}");
    assert_eq!(picture(&etcds), before);
    let attempt =
        attempt_with(&data, &[&flag(&etcds.join("0000000000000000-0000000000000000.wal"))]);
    assert!(attempt.log.contains("is not a directory"), "{attempt:?}");
}

/// A member that began without the flag gets it later: its journal moves.
#[test]
fn journal_moves_out_of_the_data() {
    if !is_ours() {
        return;
    }
    let (sample, outside) = (Sample::new(), folder());
    let wal = outside.path().join("wal");
    let mut server = sample.serve();
    server.kill();
    let [_, before] = journals(&server.data_dir(), &wal);
    assert!(before > 2, "{before} files inside");
    server.change_program(&ours(), &[&flag(&wal), "--force-new-cluster"]);
    server.start_again();
    assert_eq!(count(&server), KEYS);
    let [apart, inside] = journals(&server.data_dir(), &wal);
    assert!(apart > 2 && inside == 0, "{apart} files apart, {inside} inside");
    server.change_program(&ours(), &[&flag(&wal)]);
    server.crash();
    assert_eq!(count(&server), KEYS);
}

/// etcd's usual place for a journal, by name: it must not be taken for etcd's own.
#[test]
fn journal_may_be_in_the_data_directory() {
    if !is_ours() {
        return;
    }
    let folder = folder();
    let wal = flag(&folder.path().join("data/member/wal"));
    let mut server = Server::start_in(folder, &ours(), &[&wal]);
    put(&server, 0, 10);
    server.crash();
    assert_eq!(count(&server), 10);
}

/// The two other ways to give a flag.
#[test]
fn journal_is_named_by_a_variable_and_by_a_file() {
    if !is_ours() {
        return;
    }
    let folder = folder();
    let [data, wal] = ["data", "wal"].map(|name| folder.path().join(name));
    let (client, peer) = (free_port(), free_port());
    let url = |port| format!("http://127.0.0.1:{port}");
    let (log, ready) = (folder.path().join("log"), "ready to serve client requests");
    let mut command = clean_command(&ours());
    command.env("ETCD_WAL_DIR", &wal).arg("--data-dir").arg(&data);
    command.args(["--listen-client-urls", &url(client), "--advertise-client-urls", &url(client)]);
    command.args(["--listen-peer-urls", &url(peer)]);
    Started::new(command, &log).wait_until(ready);
    assert!(wal.join("log-1").is_dir());
    let file = folder.path().join("etcd.yml");
    let yaml = |wal: &Path| {
        let (data, wal, client, peer) = (data.display(), wal.display(), url(client), url(peer));
        format!(
            "data-dir: {data}\nwal-dir: {wal}\nlisten-client-urls: {client}\n\
             advertise-client-urls: {client}\nlisten-peer-urls: {peer}\n"
        )
    };
    fs::write(&file, yaml(&wal)).expect("a file");
    let mut command = clean_command(&ours());
    command.arg("--config-file").arg(&file);
    Started::new(command, &folder.path().join("again")).wait_until(ready);
    fs::write(&file, yaml(Path::new(""))).expect("a file");
    let refused = run(&["--config-file", &file.to_string_lossy()]);
    let text = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text.contains("start with --wal-dir="), "{text}");
}

/// etcdutl's `snapshot restore --wal-dir`, and with it that of backups.
#[test]
fn restored_journal_is_where_it_was_asked_for() {
    if !is_ours() {
        return;
    }
    let outside = folder();
    let wal = outside.path().join("wal");
    let mut server = stopped(&wal);
    server.start_again();
    let place = |name: &str| outside.path().join(name).to_string_lossy().into_owned();
    let backups = place("backups");
    let taken = run(&["backup", "--endpoints", &server.client_url(), "--dir", &backups]);
    assert!(taken.status.success(), "{taken:?}");
    let copy: PathBuf = outside.path().join("copy.db");
    let made = run(&["backup", "restore", &backups, "--to", &copy.to_string_lossy()]);
    assert!(made.status.success(), "{made:?}");
    let copy = copy.to_string_lossy();
    let ways: [&[&str]; 2] = [&["snapshot", "restore", &copy], &["backup", "restore", &backups]];
    for (at, way) in ways.into_iter().enumerate() {
        let (data, wal) = (place(&format!("data-{at}")), place(&format!("wal-{at}")));
        let (data_flag, wal_flag) = (format!("--data-dir={data}"), format!("--wal-dir={wal}"));
        let (client, peer) = (free_port(), format!("http://127.0.0.1:{}", free_port()));
        let cluster = format!("--initial-cluster=default={peer}");
        let advertised = format!("--initial-advertise-peer-urls={peer}");
        let words = [way, &[&data_flag, &wal_flag, &cluster, &advertised]].concat();
        let restored = run(&words);
        assert!(restored.status.success(), "{restored:?}");
        let [apart, inside] = journals(Path::new(&data), Path::new(&wal));
        assert!(apart > 0 && inside == 0, "{apart} files apart, {inside} inside");
        let again = [way, &["--data-dir=elsewhere", &wal_flag, &cluster, &advertised]].concat();
        let again = run(&again);
        let text = String::from_utf8_lossy(&again.stderr);
        assert!(text.contains(&format!("wal-dir {wal:?} exists")), "{text}");
        let url = format!("http://127.0.0.1:{client}");
        let mut command = clean_command(&ours());
        command.args([&data_flag, &wal_flag, &advertised]);
        command.args(["--listen-client-urls", &url, "--advertise-client-urls", &url]);
        command.args(["--listen-peer-urls", &peer]);
        let mut started = Started::new(command, &outside.path().join(format!("log-{at}")));
        started.wait_until("ready to serve client requests");
        let keys = in_a_runtime(async {
            let client = connect(&url, &Config::default()).await.expect("it serves");
            calls::get(&client, "apart/9").await.count
        });
        assert_eq!(keys, 1);
    }
}
