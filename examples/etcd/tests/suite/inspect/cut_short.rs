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

use tempfile::TempDir;

use super::look::{look, told};
use crate::data_dir::attempt::picture;
use crate::data_dir::sample::{HEADER_BYTES, LOG, Sample, edit, frames_end};
use crate::support::tree;

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

/// Looks at `data`, which has lost the end of its log at `place`: that is said, all before it is
/// shown, and not a byte is changed.
#[track_caller]
fn check(data: &Path, all: &[u64], place: (&Path, u64)) {
    let before = picture(data);
    let hurt = told(data, &[]);
    assert_eq!(hurt.code, Some(1), "{}", hurt.end);
    let damage = hurt.end["damage"].as_array().expect("a list");
    let file = place.0.display().to_string();
    let says = |words: &str| {
        damage.iter().any(|found| {
            let what = found["what"].as_str().expect("a text");
            found["file"] == file && found["offset"] == place.1 && what.contains(words)
        })
    };
    assert!(says("the log ends here with record"), "{file} at {}: {damage:?}", place.1);
    assert!(says("but the engine has the effect of entry"), "{damage:?}");
    let left: Vec<u64> = hurt.entries.iter().filter_map(|entry| entry["index"].as_u64()).collect();
    assert!(!left.is_empty() && left.len() < all.len(), "{} of {}", left.len(), all.len());
    assert_eq!(left, all[..left.len()], "all before the end is shown");
    assert_eq!(hurt.summary["log"]["last"], left[left.len() - 1]);
    let people = look(data, &[]);
    assert_eq!(people.code, Some(1));
    let line = format!("{file}: at byte {}: the log ends here with record", place.1);
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
    let all: Vec<u64> = sound.entries.iter().filter_map(|entry| entry["index"].as_u64()).collect();
    assert_eq!(sound.summary["engine"]["applied"], all[all.len() - 1], "it was saved");
    let hurt = |hurt: &dyn Fn(&Path)| {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let copy = folder.path().join("data");
        tree::copy(&data, &copy);
        hurt(&copy);
        folder
    };
    // The last record is torn, and nothing stands behind it.
    let torn = hurt(&|copy| {
        let (segment, at) = last_run(copy);
        edit(&segment, |bytes| bytes[at + 24..].fill(0));
    });
    let (segment, at) = last_run(&data);
    let ends = |folder: &TempDir, segment: &Path, at: usize| {
        let copy = folder.path().join("data");
        let file = copy.join(segment.strip_prefix(&data).expect("it lies there"));
        // A group of records counts only if it is whole: it may end sooner.
        let end = told(&copy, &["log"]).end;
        let places = end["damage"].as_array().expect("a list").iter();
        let offsets = places.filter(|found| found["file"] == file.display().to_string());
        let offset = offsets.filter_map(|found| found["offset"].as_u64()).min();
        let offset = offset.unwrap_or_else(|| panic!("{} in {end}", file.display()));
        assert!((HEADER_BYTES as u64..=at as u64).contains(&offset), "{offset}, not up to {at}");
        (copy, file, offset)
    };
    let (copy, file, offset) = ends(&torn, &segment, at);
    assert!(offset + 4096 > at as u64, "{offset} is close to {at}");
    check(&copy, &all, (&file, offset));
    // The file is shorter than it was made.
    let short = hurt(&|copy| {
        let (segment, at) = last_run(copy);
        edit(&segment, |bytes| bytes.truncate(at));
    });
    let (copy, file, offset) = ends(&short, &segment, at);
    assert!(offset + 4096 > at as u64, "{offset} is close to {at}");
    check(&copy, &all, (&file, offset));
    // The last file that was written to is gone, and those made behind it.
    let gone = hurt(&|copy| {
        let (segment, _) = last_run(copy);
        for file in segments(copy).into_iter().filter(|file| *file >= segment) {
            fs::remove_file(file).expect("it can be removed");
        }
    });
    let left = segments(&gone.path().join("data"));
    let last = left.last().expect("there are several segments");
    let original = data.join(last.strip_prefix(gone.path().join("data")).expect("it lies there"));
    let end = frames_end(last).0;
    let (copy, file, offset) = ends(&gone, &original, end);
    check(&copy, &all, (&file, offset));
    // The file that should follow is named, too.
    let damage = told(&copy, &["log"]).damage(&copy);
    let name = segment.strip_prefix(&data).expect("it lies there").display().to_string();
    assert!(damage.iter().any(|(file, _)| *file == name), "{name} in {damage:?}");
}
