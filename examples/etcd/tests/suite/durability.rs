//! Whatever was acknowledged is there after a crash: the real process, killed over and over.
//!
//! A [`trial`] plays [`workload`] bursts from many connections, kills the server with SIGKILL in
//! the middle of one, starts it again on the same data, and lets [`chronicle`] hold what clients
//! noted against what the server then says of itself ([`observe`]): its history, its content, its
//! leases.
//!
//! | room | holds |
//! |---|---|
//! | [`op`] | requests, and what must come of them |
//! | [`state`] | a store as it should be |
//! | [`chronicle`] | the judge, which knows no network |
//! | [`writer`], [`workload`] | the clients, and the crash |
//! | [`observe`] | the questions afterwards |
//! | [`trial`] | rounds of all that on one data folder |
//! | [`lease`] | what a crash does to time |
//!
//! Left out: power cuts. A killed process leaves its writes in the kernel's cache, where its
//! successor finds them, synced or not. What only a power cut can lose is tested on simulated
//! disks, by the suites of the log and the store.
//!
//! How we know that this can fail:
//!
//! - The tests of [`chronicle`] tell it histories with every kind of damage.
//! - `an_older_copy_of_the_data_is_caught` and `a_journal_cut_short_is_caught` do to a real
//!   server's data what a lost write would.
//! - Of real etcd, release 3.4.23 passes (`DRYSTONE_ETCD_BIN=/usr/bin/etcd`), while 3.5.1, which
//!   answers before its log is written, is caught within some rounds: "the revision went back", or
//!   an event that a watch has told is gone.
//! - Our own server, made to answer before its journal is written, is caught in the first round or
//!   two; made to cut its journal before the engine is saved, in the first.

mod chronicle;
mod lease;
mod observe;
mod op;
mod state;
mod trial;
mod workload;
mod writer;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use drystone_kv::EngineKind;
use rand::RngExt as _;
use tempfile::TempDir;

use self::trial::Trial;
use self::workload::{End, Moment, Shape};
use crate::support::calls::{client_of, in_a_runtime};
use crate::support::server::Server;
use crate::support::{calls, programs, tree};

crate::support::on_every_engine! {
    fifty_crashes_lose_nothing_that_was_acknowledged
    crashes_while_the_engine_is_saved_lose_nothing
}

const SMALL: Shape = Shape { connections: 8, writers_per_connection: 4, value_bytes: 0..600 };
/// Values that fill a journal quickly.
const LARGE: Shape =
    Shape { connections: 8, writers_per_connection: 1, value_bytes: 60_000..200_000 };

/// A client that was told "done" builds on it. No crash, whenever it comes, may take that back.
fn fifty_crashes_lose_nothing_that_was_acknowledged(kind: EngineKind) {
    let seed = crate::support::seed("fifty_crashes");
    // What all engines share, the journal and its replay, is worn hard on one.
    let rounds = match kind {
        _ if std::env::var_os("SLOW").is_some() => 500,
        EngineKind::Memory => 50,
        EngineKind::Btree | EngineKind::Lsm => 15,
    };
    let mut trial = Trial::new(start(kind), seed);
    let start = Instant::now();
    for round in 0..rounds {
        let delay = Duration::from_millis(trial.dice.random_range(50..300));
        let compact = if round % 5 == 3 { trial.past_revision() } else { None };
        trial.round(&SMALL, End::Killed(Moment::After(delay)), compact);
    }
    let (counts, revision) = (&trial.counts, trial.revision());
    let took = start.elapsed().as_secs_f64();
    println!("{rounds} crashes in {took:.1} s, revision {revision}: {counts:?}");
    assert!(counts.acknowledged > rounds * 20, "too little was written to prove anything");
    assert!(counts.unanswered > rounds, "the crashes came when nothing was under way");
}

/// The engine is saved beside the journal now and then; a crash in the middle of that must find
/// either what was saved before with all of the journal, or the new state.
fn crashes_while_the_engine_is_saved_lose_nothing(kind: EngineKind) {
    if !programs::is_ours() {
        return crate::support::skip("crashes_while_the_engine_is_saved", "the server is not ours");
    }
    let seed = crate::support::seed("crashes_while_the_engine_is_saved");
    let rounds = match kind {
        _ if std::env::var_os("SLOW").is_some() => 100,
        EngineKind::Memory => 8,
        EngineKind::Btree | EngineKind::Lsm => 4,
    };
    let mut trial = Trial::new(start(kind), seed);
    let (mut round, mut halfway) = (0, 0);
    // Of a file that is made anew one sees whether it is whole, of one that is changed in place one
    // does not.
    let visible = kind == EngineKind::Memory;
    // Whether a crash comes while the file is written is a matter of luck: some more rounds, then.
    while round < rounds || (visible && halfway == 0 && round < 10 * rounds) {
        round += 1;
        let delay = Duration::from_millis(trial.dice.random_range(0..80));
        // What is compacted away is not saved, so that no round takes longer than the one before.
        let compact = Some(trial.revision()).filter(|revision| *revision > 1);
        trial.round(&LARGE, End::Killed(Moment::EngineSaved { delay }), compact);
        halfway += usize::from(trial.left_behind(SAVING));
    }
    println!("{round} crashes, {halfway} in the middle of the file: {:?}", trial.counts);
    assert!(!visible || halfway > 0, "no crash came while the engine was saved");
}

/// How the memory engine's file ends while it is being written.
const SAVING: &str = ".snap.tmp";

fn start(kind: EngineKind) -> Server {
    Server::start(&programs::ours(), programs::flags_of(kind))
}

/// An operator's restart is not an accident: what is under way is answered, or did not happen.
#[test]
fn stops_under_load_lose_nothing() {
    let mut trial =
        Trial::new(Server::start(&programs::ours(), &[]), crate::support::seed("stops_under_load"));
    for _ in 0..8 {
        let delay = Duration::from_millis(trial.dice.random_range(50..200));
        trial.round(&SMALL, End::Stopped(Moment::After(delay)), None);
    }
    println!("{:?}", trial.counts);
    assert!(trial.counts.acknowledged > 8 * 20, "too little was written to prove anything");
}

/// A disk that refuses a write in the middle of everything: the server ends rather than go on with
/// a journal that may have a hole, and what it acknowledged is there once the disk takes writes
/// again.
#[test]
fn disk_that_refuses_loses_nothing() {
    if !programs::is_ours() {
        return crate::support::skip("disk_that_refuses", "the server is not ours");
    }
    let folder = TempDir::new().expect("a folder can be made");
    // No file may grow beyond 1.5 MiB (in blocks of 512 bytes), and being told so is no death. A
    // journal's first file has 1 MiB.
    let limited = programs::ours_after("trap '' XFSZ; ulimit -f 3072", folder.path());
    let seed = crate::support::seed("disk_that_refuses");
    for round in 0..3 {
        // A log that has grown beyond the limit cannot be opened under it: each round is a new one.
        let mut trial = Trial::new(Server::start(&limited, &[]), seed + round);
        let aftermath = trial.burst(&SMALL, End::ByItself, None);
        let log = trial.server.log();
        assert!(log.contains("storage failed") && log.contains("File too large"), "why?\n{log}");
        assert!(!log.contains("panicked"), "{log}");
        let started = Instant::now();
        trial.server.start_again_as(&programs::ours());
        trial.check(&aftermath, None, started).expect("nothing is lost");
        println!("{:?}", trial.counts);
        assert!(trial.counts.acknowledged > 100, "too little was written to prove anything");
    }
}

/// etcd once counted backwards after a crash when nothing was left at the newest revisions. Whoever
/// then watches from the revision he knew waits for ever.
#[test]
fn revision_stays_when_everything_is_deleted_and_compacted() {
    let mut server = Server::start(&programs::ours(), &[]);
    let newest = in_a_runtime(async {
        let client = client_of(&server).await;
        for i in 0..10 {
            calls::put(&client, &format!("k{i}"), "v", 0).await;
        }
        let newest = calls::delete_everything(&client).await;
        calls::compact(&client, newest).await;
        newest
    });
    server.crash();
    let (found, next) = in_a_runtime(async {
        let client = client_of(&server).await;
        (calls::revision(&client).await, calls::put(&client, "k", "v", 0).await)
    });
    assert_eq!((found, next), (newest, newest + 1), "the revision goes on where it was");
}

/// The judge and the clients together must see a store that has forgotten, or a green run says
/// nothing: here the data of an earlier moment come back, as sound as they were.
#[test]
fn an_older_copy_of_the_data_is_caught() {
    let mut trial = Trial::new(Server::start(&programs::ours(), &[]), 1);
    let end = End::Killed(Moment::After(Duration::from_millis(100)));
    trial.round(&SMALL, end, None);
    let (copy, data) = (TempDir::new().expect("a folder can be made"), trial.server.data_dir());
    let copy = copy.path().join("data");
    trial.server.kill();
    tree::copy(&data, &copy);
    trial.server.start_again();
    let aftermath = trial.burst(&SMALL, end, None);
    std::fs::remove_dir_all(&data).expect("the data can be removed");
    tree::copy(&copy, &data);
    trial.server.start_again();
    let judged = trial.check(&aftermath, None, Instant::now());
    let complaint = judged.expect_err("the loss is seen");
    assert!(complaint.contains("the revision went back"), "{complaint}");
}

/// More than two writes of [`SMALL`] bursts come to, so that half of it was acknowledged.
const SOME_GROUPS_BYTES: usize = 64 << 10;

/// The smallest loss there is: the server comes back sound, without the last writes it answered.
#[test]
fn a_journal_cut_short_is_caught() {
    if !programs::is_ours() {
        return crate::support::skip("a_journal_cut_short", "the server is not ours");
    }
    let mut trial = Trial::new(Server::start(&programs::ours(), &[]), 2);
    let mut delay = Duration::from_millis(50);
    let (aftermath, file, cut) = loop {
        let before = journal_end(&trial.server.data_dir());
        let aftermath = trial.burst(&SMALL, End::Killed(Moment::After(delay)), None);
        let (file, end) = journal_end(&trial.server.data_dir());
        // A burst that went on in another file, or was hardly begun, shows nothing. Files double in
        // size, and bursts in length, so that one fits soon.
        if before.0 == file && end > before.1 + SOME_GROUPS_BYTES {
            break (aftermath, file, before.1 + (end - before.1) / 2);
        }
        let started = Instant::now();
        trial.server.start_again();
        trial.check(&aftermath, None, started).expect("nothing is lost yet");
        delay *= 2;
        assert!(delay < Duration::from_secs(10), "no burst fitted one file");
    };
    let mut bytes = std::fs::read(&file).expect("the journal can be read");
    bytes[cut..].fill(0);
    std::fs::write(&file, bytes).expect("the journal can be written");
    trial.server.start_again();
    let judged = trial.check(&aftermath, None, Instant::now());
    let complaint = judged.expect_err("the loss is seen");
    assert!(complaint.contains("the revision went back"), "{complaint}");
}

/// The newest file of the journal, and where what was written to it ends.
fn journal_end(data: &Path) -> (PathBuf, usize) {
    let files = tree::files(&data.join("replica/raft"));
    let segments = files.into_iter().filter(|file| file.extension().is_some_and(|e| e == "wal"));
    let ends = segments.map(|file| {
        let bytes = std::fs::read(&file).expect("the journal can be read");
        let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        (file, end)
    });
    let mut used = ends.filter(|(_, end)| *end > 0);
    used.next_back().expect("the journal has a file")
}
