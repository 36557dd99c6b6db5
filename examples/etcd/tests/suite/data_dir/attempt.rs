//! One attempt to start a server that must not start.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use sha1::{Digest as _, Sha1};

use crate::support::server::{command, free_port};
use crate::support::{programs, tree};

/// A refusal is quick: it comes before anything is served.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a server that did not start ended.
#[derive(Debug)]
pub(super) struct Attempt {
    /// None for one that served.
    pub(super) code: Option<i32>,
    /// The lines for people on standard error; those for machines are JSON.
    pub(super) lines: Vec<String>,
    pub(super) log: String,
}

/// What a server says once it serves.
const READY: &str = "ready to serve client requests";

/// Starts our server on `data`, with `flags` after the usual ones, and waits until it has ended.
pub(super) fn attempt_with(data: &Path, flags: &[&str]) -> Attempt {
    let attempt = attempt_or_serve(data, flags);
    assert!(attempt.code.is_some(), "the server goes on\n{}", attempt.log);
    attempt
}

/// The same, but a server that serves is killed, and then has no code.
pub(super) fn attempt_or_serve(data: &Path, flags: &[&str]) -> Attempt {
    let outside = tempfile::tempdir().expect("a temporary folder can be made");
    let path = outside.path().join("log");
    let log = File::create(&path).expect("the log can be made");
    let mut command = command(&programs::ours(), data, free_port(), free_port());
    command.args(flags);
    command.stdout(log.try_clone().expect("the log can be shared")).stderr(log);
    let mut running = Running(command.spawn().expect("the server can be started"));
    let deadline = Instant::now() + PATIENCE;
    let code = loop {
        if let Some(status) = running.0.try_wait().expect("the child is ours to wait for") {
            break status.code();
        }
        let log = fs::read_to_string(&path).unwrap_or_default();
        if log.contains(READY) {
            break None;
        }
        assert!(Instant::now() < deadline, "the server neither serves nor ends\n{log}");
        std::thread::sleep(Duration::from_millis(5));
    };
    let log = fs::read_to_string(&path).expect("the log is text");
    let lines = log.lines().filter(|line| !line.starts_with('{')).map(str::to_owned).collect();
    Attempt { code, lines, log }
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended by itself in a test that passes.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Everything about a folder that a start could change: names, sizes, content, times.
pub(crate) fn picture(folder: &Path) -> BTreeMap<PathBuf, Entry> {
    let mut entries = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder can be read") {
            let path = entry.expect("the folder can be read").path();
            let found = fs::symlink_metadata(&path).expect("the entry is there");
            let hash = found.is_file().then(|| {
                let mut hash = Sha1::new();
                let see = |at: u64, block: &[u8]| {
                    hash.update(at.to_le_bytes());
                    hash.update(block);
                };
                tree::blocks(&path, see).expect("the file can be read");
                hash.finalize().into()
            });
            let changed = (found.mtime(), found.mtime_nsec());
            if found.is_dir() {
                folders.push(path.clone());
            }
            let (mode, bytes) = (found.mode(), found.is_file().then_some(found.len()));
            entries.insert(path, Entry { mode, bytes, hash, changed });
        }
    }
    entries
}

/// A file, a folder, or whatever else lies in one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    mode: u32,
    bytes: Option<u64>,
    hash: Option<[u8; 20]>,
    changed: (i64, i64),
}
