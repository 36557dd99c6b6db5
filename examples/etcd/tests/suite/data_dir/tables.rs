//! Damage in the tables of a log-structured tree.
//!
//! Unlike a state file, which is read whole, tables are read where they are needed. But a start
//! reads every record, for the index of keys; so what would change an answer is found then. What
//! is left is damage that changes none (a filter that is not asked, a block that nobody needs).
//!
//! A refusal takes nothing away: with the damage undone the server serves what it always did.

use std::fs;
use std::path::PathBuf;

use drystone_kv::EngineKind;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::attempt::attempt_or_serve;
use super::count;
use super::sample::{ENGINE, KEYS, Sample, edit, flip, len};
use crate::support::tree;

const FLIPS: usize = 24;

/// The files of the engine that are not empty.
fn engine_files(sample: &Sample) -> Vec<PathBuf> {
    let mut files = tree::files(&sample.data().join(ENGINE));
    files.retain(|file| len(file) > 0);
    files
}

/// Starts a server on the sample with `file` damaged. Whether it refuses, naming the folder; a
/// server that starts has everything.
fn is_refused(sample: Sample, file: &std::path::Path, what: &str) -> bool {
    let attempt = attempt_or_serve(&sample.data(), &[]);
    let Some(code) = attempt.code else {
        assert_eq!(count(&sample.serve()), KEYS, "{what}: it serves, and something is missing");
        return false;
    };
    assert_eq!(code, 1, "{what}\n{}", attempt.log);
    let [line] = attempt.lines.as_slice() else {
        panic!("{what}: one sentence for people, not {}", attempt.log)
    };
    let folder = sample.data().join(ENGINE);
    assert!(line.contains(&*folder.to_string_lossy()), "{what}: {file:?} is named in: {line}");
    true
}

/// A flipped bit is found, or changes nothing, and goes when it is flipped back.
#[test]
fn flipped_bit_is_refused_or_changes_nothing() {
    let mut dice = ChaCha8Rng::seed_from_u64(crate::support::seed("flipped_bit_is_refused_or"));
    let mut refused = 0;
    for _ in 0..FLIPS {
        let sample = Sample::on(EngineKind::Lsm);
        let files = engine_files(&sample);
        let file = &files[dice.random_range(0..files.len())];
        let at = dice.random_range(0..len(file));
        let what = format!("byte {at} of {} of {}", len(file), file.display());
        println!("{what}");
        flip(file, at);
        let attempt = attempt_or_serve(&sample.data(), &[]);
        if attempt.code.is_some() {
            refused += 1;
            flip(file, at);
            assert_eq!(count(&sample.serve()), KEYS, "{what}: with the bit put right");
            continue;
        }
        assert!(!is_refused(sample, file, &what), "{what}: it starts every time or never");
    }
    println!("{refused} of {FLIPS} were refused");
    assert!(refused >= FLIPS / 3, "most bits matter: {refused} of {FLIPS}");
}

/// A file that is cut short or gone is missed.
#[test]
fn files_that_are_cut_short_or_gone_are_refused() {
    let sound = Sample::on(EngineKind::Lsm);
    let names: Vec<_> = engine_files(&sound)
        .iter()
        .map(|file| file.strip_prefix(sound.data()).expect("it lies in the sample").to_owned())
        .filter(|name| name.extension().is_some())
        .collect();
    assert!(names.len() >= 2, "{names:?}");
    for name in names {
        for cut in [None, Some(0), Some(1)] {
            if cut == Some(1) && name.extension().is_some_and(|kind| kind == "wal") {
                // The list of tables is followed by room for more, which nobody misses.
                continue;
            }
            let sample = Sample::on(EngineKind::Lsm);
            let file = sample.data().join(&name);
            let what = format!("{} cut to {cut:?} halves", name.display());
            match cut {
                None => fs::remove_file(&file).expect("it is there"),
                Some(halves) => edit(&file, |bytes| bytes.truncate(bytes.len() * halves / 2)),
            }
            println!("{what}");
            assert!(is_refused(sample, &file, &what), "{what}");
        }
    }
}
