//! The torn tail: what a crash may leave at the end of a log, and what must open in spite of
//! it.
//!
//! ```text
//!   ... │ record │ record │ record │ 0 0 0 0        what was synced
//!   ... │ record │ record │ reco 0 0 0 0 0 0        torn
//!   ... │ record │ record │ 0 0 0 0 0 0 0 0         zeroed
//!   ... │ record │ record │ record │ x ? 9 #        more than was written
//!   ... │ record │ record │ reco     (the end)      cut: no crash does that
//! ```
//!
//! The last record that was written may be lost this way, since nothing after it says that it was
//! durable; on a real disk a synced record does not tear. All before it must be there.

use std::fs;
use std::path::PathBuf;

use super::attempt::attempt_with;
use super::damage::name_in;
use super::sample::{ENGINE, HEADER_BYTES, KEYS, LOG, Sample, edit, flip, frames_end};
use super::{count, refused};

/// The log's last segment that was written to.
fn last(sample: &Sample) -> PathBuf {
    let mut files = sample.all(LOG, ".wal");
    files.retain(|file| frames_end(file).0 > HEADER_BYTES);
    files.pop().expect("the log was written to")
}

/// The server starts on `sample` and has all keys but `lost`.
#[track_caller]
fn opens(sample: Sample, lost: usize) {
    let mut server = sample.serve();
    assert_eq!(count(&server), KEYS - lost, "{}", server.log());
    // What was repaired stays repaired.
    server.crash();
    assert_eq!(count(&server), KEYS - lost);
}

/// A crash in the middle of a write is no damage.
#[test]
fn torn_tail_is_cut_off() {
    let sample = Sample::new();
    let (end, last_at) = frames_end(&last(&sample));
    // The record's last bytes are zeros anyway.
    let bytes = fs::read(last(&sample)).expect("it can be read");
    let at_last = bytes[..end].iter().rposition(|byte| *byte != 0).expect("it has a content");
    for at in [last_at, last_at + 1, last_at + 8, last_at + 16, at_last] {
        println!("torn at byte {at}, frame from {last_at} to {end}");
        let sample = Sample::new();
        edit(&last(&sample), |bytes| bytes[at..].fill(0));
        opens(sample, 1);
    }
}

/// A log's files are as long as they will ever be before anything is written to them. One that
/// is shorter was cut by somebody, and nobody knows what else stood there.
#[test]
fn shortened_log_is_refused() {
    let sample = Sample::new();
    let (end, last_at) = frames_end(&last(&sample));
    for at in [last_at, last_at + 1, last_at + 16, end] {
        println!("cut at byte {at}, frame from {last_at} to {end}");
        let sample = Sample::new();
        let file = last(&sample);
        edit(&file, |bytes| bytes.truncate(at));
        refused(&sample.data(), &name_in(&sample, &file), "file ends early");
    }
}

/// A bit of the last record itself, which nothing vouches for yet.
#[test]
fn damaged_last_record_is_cut_off() {
    let sample = Sample::new();
    let file = last(&sample);
    flip(&file, frames_end(&file).1 + 20);
    opens(sample, 1);
}

/// Blocks that were never written may hold anything.
#[test]
fn noise_behind_the_end_is_ignored() {
    let sample = Sample::new();
    let file = last(&sample);
    let (end, _) = frames_end(&file);
    edit(&file, |bytes| {
        for (at, byte) in bytes[end..].iter_mut().take(5000).enumerate() {
            *byte = (at * 31 % 251) as u8 + 1;
        }
    });
    opens(sample, 0);
}

/// Files that a crash leaves half made are removed or finished, not complained about.
#[test]
fn half_made_files_are_no_damage() {
    let sample = Sample::new();
    let whole = sample.one(ENGINE, ".snap");
    let half = whole.with_file_name("mem-00000000000000000078.snap.tmp");
    let bytes = fs::read(&whole).expect("it can be read");
    fs::write(&half, &bytes[..bytes.len() / 2]).expect("it can be written");
    for file in ["replica/FORMAT.tmp", "replica/ENGINE.tmp", "identity.tmp", "peers.tmp"] {
        fs::write(sample.data().join(file), "dryst").expect("it can be written");
    }
    // An engine that was being built from another member's state, and a log that was being mended.
    let other = sample.data().join("replica/engine-b");
    fs::create_dir(&other).expect("a folder can be made");
    fs::write(other.join("mem-00000000000000000009.snap"), "half").expect("it can be written");
    let mended = sample.data().join("replica/raft/log-2");
    fs::create_dir(&mended).expect("a folder can be made");
    fs::write(mended.join("half.wal"), "half").expect("it can be written");
    fs::write(sample.data().join(LOG).join("LAST.tmp"), "half").expect("it can be written");
    fs::write(sample.data().join(LOG).join("spare.tmp"), [0; 5000]).expect("it can be written");
    opens(sample, 0);
}

/// A crash in the very first start leaves folders without content; the next start makes a store.
#[test]
fn unfinished_first_start_is_finished() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let replica = folder.path().join("data/replica");
    fs::create_dir_all(&replica).expect("a folder can be made");
    fs::write(replica.join("LOCK"), "").expect("it can be written");
    fs::write(replica.join("FORMAT.tmp"), "dry").expect("it can be written");
    let server =
        crate::support::server::Server::start_in(folder, &crate::support::programs::ours(), &[]);
    assert_eq!(count(&server), 0);
    // And it is a real one: another server is kept out.
    assert_eq!(attempt_with(&server.data_dir(), &[]).code, Some(1));
}
