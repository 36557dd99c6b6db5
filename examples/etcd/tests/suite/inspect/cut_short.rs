//! A log that has lost its end.
//!
//! ```text
//!   … │ run │ run │ run │ head │ close │ 0 0 0      what a member left that was stopped in order
//!   … │ run │ run │ ru0 0 0 0 0 0 0 0 0 0 0 0      torn
//!   … │ run │ run │ (the end)                      truncated
//!   …                                              its last file is gone
//! ```
//!
//! After a crash, an unfinished write at the end is no damage: nobody was told that it is durable.
//! But how far the log went is noted when it is closed, and the engine knows how far it has come.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use super::look::{look, told};
use crate::data_dir::attempt::picture;
use crate::data_dir::sample::{HEADER_BYTES, LOG, Sample, edit, frames_end};
use crate::support::tree;

/// More than a group of records takes here.
const GROUP_BYTES_MAX: u64 = 4096;
/// The kind of a record that holds entries.
const RUN: u8 = 2;

/// The data of a member that was stopped in order.
fn stopped() -> TempDir {
    let mut server = Sample::new().serve();
    server.terminate();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    tree::copy(&server.data_dir(), &folder.path().join("data"));
    folder
}

/// The segments of the log, oldest first.
fn segments(data: &Path) -> Vec<PathBuf> {
    let mut files = tree::files(&data.join(LOG));
    files.retain(|file| file.to_string_lossy().ends_with(".wal"));
    files
}

/// Where the last record with entries begins: the segment, and the byte.
fn last_run(data: &Path) -> (PathBuf, usize) {
    let in_file = |file: &PathBuf| {
        let (bytes, end) = (fs::read(file).expect("it can be read"), frames_end(file).0);
        let (mut last, mut at) = (None, HEADER_BYTES);
        while at < end {
            let len = u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
            if len > 0 && bytes[at + 16] == RUN {
                last = Some(at);
            }
            at += (16 + len as usize).next_multiple_of(8);
        }
        last.map(|at| (file.clone(), at))
    };
    segments(data).iter().rev().find_map(in_file).expect("there are entries")
}

/// A copy of `data` that was hurt.
fn hurt(data: &Path, hurt: impl Fn(&Path)) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let copy = folder.path().join("data");
    tree::copy(data, &copy);
    hurt(&copy);
    folder
}

/// Looks at `data`, the log of which ends in `file` now, at byte `at` or a group of records sooner.
/// That is said, all of the entries before it are shown, and not a byte is changed.
#[track_caller]
fn check(data: &Path, all: &[u64], file: &Path, at: usize) {
    let before = picture(data);
    let told = told(data, &[]);
    assert_eq!(told.code, Some(1), "{}", told.end);
    let damage = told.end["damage"].as_array().expect("a list");
    let file = file.display().to_string();
    let says = |words: &str| {
        let what = |found: &&Value| found["what"].as_str().is_some_and(|it| it.contains(words));
        let found = damage.iter().find(what).unwrap_or_else(|| panic!("{words} in {damage:?}"));
        assert_eq!(found["file"], file, "{found}");
        found["offset"].as_u64().expect("a place is named")
    };
    let offset = says("the log ends here with record");
    assert_eq!(says("but the engine has the effect of entry"), offset);
    let at = at as u64;
    assert!(offset <= at && at < offset + GROUP_BYTES_MAX, "{offset}, and not {at}");
    let indexes = told.entries.iter().filter_map(|entry| entry["index"].as_u64());
    let left: Vec<u64> = indexes.collect();
    assert!(!left.is_empty() && left.len() < all.len(), "{} of {}", left.len(), all.len());
    assert_eq!(left, all[..left.len()], "all before the end is shown");
    assert_eq!(told.summary["log"]["last"], left[left.len() - 1]);
    let people = look(data, &[]);
    assert_eq!(people.code, Some(1));
    let line = format!("{file}: at byte {offset}: the log ends here with record");
    assert!(people.out.contains(&line), "{line} in {}", people.out);
    assert!(people.out.contains(&format!("{} printed", left.len())), "{}", people.out);
    assert!(before == picture(data), "a look leaves no trace");
}

/// Whether the end of a log is an end or a loss decides whether the member may be trusted.
#[test]
fn a_log_that_ends_before_what_was_durable_is_told_with_its_place() {
    let whole = stopped();
    let data = whole.path().join("data");
    let sound = told(&data, &[]);
    assert_eq!(sound.code, Some(0), "{}", sound.end);
    let indexes = sound.entries.iter().filter_map(|entry| entry["index"].as_u64());
    let all: Vec<u64> = indexes.collect();
    assert_eq!(sound.summary["engine"]["applied"], all[all.len() - 1], "it was saved");
    // The last record with entries is torn, and nothing stands behind it; or its file ends there.
    let tear: [fn(&mut Vec<u8>, usize); 2] =
        [|bytes, at| bytes[at + 24..].fill(0), |bytes, at| bytes.truncate(at)];
    for tear in tear {
        let torn = hurt(&data, |copy| {
            let (segment, at) = last_run(copy);
            edit(&segment, |bytes| tear(bytes, at));
        });
        let copy = torn.path().join("data");
        let (segment, at) = last_run(&data);
        let segment = copy.join(segment.strip_prefix(&data).expect("it lies there"));
        check(&copy, &all, &segment, at);
    }
    // That file is gone, and those that were made behind it.
    let gone = hurt(&data, |copy| {
        let (segment, _) = last_run(copy);
        for file in segments(copy).into_iter().filter(|file| *file >= segment) {
            fs::remove_file(file).expect("it can be removed");
        }
    });
    let copy = gone.path().join("data");
    let left = segments(&copy);
    let last = left.last().expect("there are several segments");
    check(&copy, &all, last, frames_end(last).0);
    // The file that should follow is named, too.
    let (segment, _) = last_run(&data);
    let name = segment.strip_prefix(&data).expect("it lies there").display().to_string();
    let damage = told(&copy, &["log"]).damage(&copy);
    assert!(damage.iter().any(|(file, _)| *file == name), "{name} in {damage:?}");
}
