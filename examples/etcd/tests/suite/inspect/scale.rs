//! How much memory a look takes.
//!
//! A log is as long as its member was left alone, and the machine that one looks on is a busy one.
//! So nothing that grows with the log may be kept: not the entries, nor where each of them stands.
//! Writes of one entry each are the worst case: as many records as entries.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;

use drystone_kv::command::{Command, Put};
use drystone_kv::runtime::inspect::Inspection;
use drystone_raft::store::{Options, Store};
use drystone_raft::{Entry, Index, Payload, Position, Write, WriteId};
use drystone_vfs::{OsVfs, Vfs};

use crate::support::calls::{self, client_of, in_a_runtime};
use crate::support::programs;
use crate::support::server::{Server, clean_command};

const SHORT: u64 = 2_000;
const LONG: u64 = 200_000;
/// What a look may take whatever it looks at.
const PEAK_KB_MAX: u64 = 64 << 10;
/// What it may take more for the long log: buffers, and what the allocator keeps. Where each entry
/// stands would be 6 MB, the entries themselves 30 MB.
const GROWTH_KB_MAX: u64 = 4 << 10;

/// Appends so many small puts to the log of the member in `data`, which is stopped.
fn append(data: &Path, count: u64) {
    let dir = data.join("replica/raft");
    let vfs: Arc<dyn Vfs> = Arc::new(OsVfs::new());
    let found = Store::inspect(&vfs, &dir, None).expect("it can be read").expect("there is a log");
    let Position { term, index } = found.group(Inspection::GROUP).expect("it is there").last();
    drop(found);
    let store = Store::open(vfs, &dir, Options::default()).expect("the log opens");
    let mut last = None;
    for number in 1..=count {
        let index = Index(index.0 + number);
        let mut command = Vec::new();
        Command::Put(Put::new(format!("key/{number:07}"), "v")).encode(&mut command);
        let entry = Entry { term, index, payload: Payload::Data(command.into()) };
        let (id, mended, append) = (WriteId(0), Vec::new(), index..index.next());
        let write = Write { id, hard: None, snapshot: None, mended, append };
        let mut batch = store.batch();
        batch.put(Inspection::GROUP, &write, [&entry]).expect("the group is there");
        last = batch.commit().expect("the log takes it");
    }
    last.expect("there was something").wait().expect("it is synced");
    store.close().expect("the log can be closed");
}

/// The most memory that a process has had so far, in kB; nothing once it has ended.
fn peak_kb(child: &Child) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// Looks at `data`; the most memory that took in kB, and how many lines were printed.
///
/// The last look at its memory is made when it has at most what a pipe holds left to print.
fn watch(data: &Path, words: &[&str]) -> (u64, u64) {
    let mut command = clean_command(&programs::ours());
    command.arg("inspect").arg(data).args(words).stdout(Stdio::piped());
    let mut child = command.spawn().expect("the program can be started");
    let mut out = child.stdout.take().expect("it is a pipe");
    let (mut peak, mut lines, mut buf) = (0, 0, vec![0; 1 << 20]);
    loop {
        let count = out.read(&mut buf).expect("the pipe can be read");
        if count == 0 {
            break;
        }
        lines += buf[..count].iter().filter(|byte| **byte == b'\n').count() as u64;
        peak = peak.max(peak_kb(&child).unwrap_or(0));
    }
    let status = child.wait().expect("the child is ours to wait for");
    assert_eq!(status.code(), Some(0), "all is sound");
    (peak, lines)
}

#[test]
fn a_look_takes_little_memory_however_long_the_log() {
    let mut server = Server::start(&programs::ours(), &[]);
    in_a_runtime(async { calls::put(&client_of(&server).await, "first", "v", 0).await });
    server.terminate();
    let data = server.data_dir();
    append(&data, SHORT);
    let formats: [&[&str]; 2] = [&[], &["--json"]];
    let short = formats.map(|words| watch(&data, words));
    append(&data, LONG);
    let long = formats.map(|words| watch(&data, words));
    for (((short, before), (long, lines)), words) in short.iter().zip(&long).zip(formats) {
        println!("{words:?}: {short} kB for {before} lines, {long} kB for {lines}");
        assert!(*before > SHORT && *lines > LONG + SHORT, "all entries are printed");
        assert!(*long <= PEAK_KB_MAX, "{long} kB for {lines} lines {words:?}");
        let growth = long.saturating_sub(*short);
        assert!(growth <= GROWTH_KB_MAX, "{growth} kB more for {lines} lines {words:?}");
    }
}
