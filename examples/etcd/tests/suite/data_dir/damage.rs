//! Files that are not what was written: flipped bits, cuts, losses, mix-ups.
//!
//! | part of the sample | what vouches for it |
//! |---|---|
//! | engine's file | a checksum for each block, and totals at its end |
//! | log's sealed segments | a checksum a frame; the next segment's header names their end |
//! | log's last segment | the same, up to the last record that a later one vouches for |
//! | that there is a log | a file beside its segments, and the member's identity |
//! | that the log goes with the engine | the engine, which knows the last command it has applied |
//!
//! A last segment that only the log itself knew of cannot be missed; see [`super::tail`].

use std::fs;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::refused;
use super::sample::{ENGINE, LOG, Sample, edit, flip, frames_end, len};
use crate::support::tree;

const FLIPS: usize = 12;
/// The consensus store: its log, and room for states that come from others.
const RAFT: &str = "replica/raft";

/// `replica/engine-a/x.snap` for a path that ends so.
pub(super) fn name_in(sample: &Sample, file: &std::path::Path) -> String {
    let name = file.strip_prefix(sample.data()).expect("it lies in the sample");
    name.to_string_lossy().into_owned()
}

/// A wrong state that is served looks right to everyone.
#[test]
fn flipped_bit_in_the_engine_is_refused() {
    let mut dice = ChaCha8Rng::seed_from_u64(crate::support::seed("flipped_bit_in_the_engine"));
    for _ in 0..FLIPS {
        let sample = Sample::new();
        let file = sample.one(ENGINE, ".snap");
        let at = dice.random_range(0..len(&file));
        println!("byte {at}");
        flip(&file, at);
        refused(&sample.data(), &name_in(&sample, &file), "");
    }
}

/// Every cut is noticed, also one between two blocks, and so is every byte too many.
#[test]
fn engine_of_another_length_is_refused() {
    let whole = len(&Sample::new().one(ENGINE, ".snap"));
    for bytes in [0, 1, 31, 32, whole / 2, whole - 60, whole - 1, whole + 1] {
        println!("{bytes} of {whole} bytes");
        let sample = Sample::new();
        let file = sample.one(ENGINE, ".snap");
        edit(&file, |content| content.resize(bytes, 0));
        refused(&sample.data(), &name_in(&sample, &file), "");
    }
}

/// The header says who wrote the file; its checksum tells "newer" from "damaged".
#[test]
fn engine_and_log_of_later_versions_are_refused() {
    let sample = Sample::new();
    let file = sample.one(ENGINE, ".snap");
    edit(&file, |bytes| {
        bytes[8..12].copy_from_slice(&99_u32.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..28]);
        bytes[28..32].copy_from_slice(&crc.to_le_bytes());
    });
    refused(&sample.data(), &name_in(&sample, &file), "version 99");

    for position in ["first", "last"] {
        let sample = Sample::new();
        let files = sample.all(LOG, ".wal");
        let file = &files[if position == "first" { 0 } else { files.len() - 1 }];
        edit(file, |bytes| {
            bytes[8..12].copy_from_slice(&99_u32.to_le_bytes());
            bytes[12..16].fill(0);
            let crc = crc32fast::hash(&bytes[..4096]);
            bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        });
        refused(&sample.data(), &name_in(&sample, file), "version 99");
    }
}

/// A file under another name is another state.
#[test]
fn engine_under_another_name_is_refused() {
    let sample = Sample::new();
    let file = sample.one(ENGINE, ".snap");
    let other = file.with_file_name("mem-00000000000000000077.snap");
    fs::rename(&file, &other).expect("it can be renamed");
    refused(&sample.data(), &name_in(&sample, &other), "another name");
}

/// Acknowledged writes live here alone.
#[test]
fn flipped_bit_in_the_log_is_refused() {
    let mut dice = ChaCha8Rng::seed_from_u64(crate::support::seed("flipped_bit_in_the_log"));
    for round in 0..FLIPS {
        let sample = Sample::new();
        let files = sample.all(LOG, ".wal");
        // All headers in turn, then anywhere; of the last file, what later records vouch for.
        let file = &files[round % files.len()];
        let last = round % files.len() == files.len() - 1;
        // A record's watermark vouches for those that were durable when it was written.
        let (end, last_at) = frames_end(file);
        let vouched = if last { last_at } else { end };
        let at = if round < files.len() { round * 9 } else { dice.random_range(0..vouched) };
        println!("byte {at} of {file:?}");
        flip(file, at);
        refused(&sample.data(), &name_in(&sample, file), "");
    }
}

/// A log with a hole is not replayed around it.
#[test]
fn missing_segment_is_refused() {
    let count = Sample::new().all(LOG, ".wal").len();
    for gone in 0..count - 1 {
        let sample = Sample::new();
        let file = sample.all(LOG, ".wal").remove(gone);
        fs::remove_file(&file).expect("it is there");
        refused(&sample.data(), &name_in(&sample, &file), "missing");
    }
}

/// A sealed segment's end is known to the next one.
#[test]
fn segment_cut_short_is_refused() {
    let sample = Sample::new();
    let file = sample.all(LOG, ".wal").remove(0);
    let (end, _) = frames_end(&file);
    for bytes in [0, 100, 4096, end / 2, end - 1] {
        println!("{bytes} of {end} bytes");
        edit(&file, |content| content.truncate(bytes));
        refused(&sample.data(), &name_in(&sample, &file), "");
    }
    let sample = Sample::new();
    let files = sample.all(LOG, ".wal");
    fs::copy(&files[1], &files[0]).expect("it can be copied");
    refused(&sample.data(), &name_in(&sample, &files[0]), "elsewhere");
}

/// The engine knows what it has applied: a log that ends before it is not the log.
#[test]
fn lost_log_is_refused() {
    let sample = Sample::new();
    fs::remove_dir_all(sample.data().join(RAFT)).expect("it is there");
    refused(&sample.data(), RAFT, "missing");

    let sample = Sample::new();
    fs::remove_dir_all(sample.data().join(LOG)).expect("it is there");
    refused(&sample.data(), RAFT, "missing");

    // Nothing of the store is left but the folder.
    let sample = Sample::new();
    fs::remove_dir_all(sample.data().join("replica")).expect("it is there");
    refused(&sample.data(), "replica", "missing");

    let sample = Sample::new();
    for file in sample.all(LOG, ".wal") {
        fs::remove_file(file).expect("it is there");
    }
    refused(&sample.data(), LOG, "no other member");

    // An older log, whole in itself, beside a newer engine.
    let (older, newer) = (super::sample::before_it_grew(), Sample::new());
    fs::remove_dir_all(newer.data().join(LOG)).expect("it is there");
    tree::copy(&older.data().join(LOG), &newer.data().join(LOG));
    refused(&newer.data(), LOG, "was durable");
}

/// The log was cut to fit the engine: without it, the beginning is gone.
#[test]
fn lost_engine_is_refused() {
    let sample = Sample::new();
    fs::remove_file(sample.one(ENGINE, ".snap")).expect("it is there");
    refused(&sample.data(), LOG, "lacks");

    let sample = Sample::new();
    fs::remove_dir_all(sample.data().join(ENGINE)).expect("it is there");
    refused(&sample.data(), LOG, "lacks");

    // An older engine, whole in itself, beside a newer log.
    let (older, newer) = (super::sample::before_it_grew(), Sample::new());
    fs::remove_file(newer.one(ENGINE, ".snap")).expect("it is there");
    for file in older.all(ENGINE, ".snap") {
        let name = file.file_name().expect("a file has a name");
        fs::copy(&file, newer.data().join(ENGINE).join(name)).expect("it can be copied");
    }
    refused(&newer.data(), LOG, "lacks");
}

/// A newer program's command, sound to the last bit, must not be taken for damage or passed over.
#[test]
fn command_of_a_later_version_is_refused() {
    let sample = Sample::new();
    super::sample::append(&sample, &[99, 1, 2, 3]);
    refused(&sample.data(), LOG, "");
}
