//! Claims about bytes that rot: what was promised is either read as it was, or reported.

use std::io::IoSlice;
use std::path::{Path, PathBuf};

use drystone_vfs::{OpenMode, SimVfs, Vfs};

use super::model::{Model, Work};
use super::{Open, Random, dyn_vfs, home, open_sound};
use crate::engine::{Direction, Engine, EngineError, Snapshot, Space};

/// All files of a disk.
type Files = Vec<(PathBuf, Vec<u8>)>;

/// How many places of each file are damaged.
const PLACES_PER_FILE: usize = 400;

/// Whatever single bit flips in whichever file, and wherever a file is cut off, the engine does
/// not open, or every read gives what was written or an error. An engine that does not open has
/// changed nothing.
///
/// Damage that only hits what no record needs (free space, files already replaced) may go
/// unnoticed.
///
/// # Panics
///
/// If the claim does not hold.
pub fn damaged_bytes_never_become_records<E: Engine>(open: &Open<E>) {
    let (files, model) = sound_files(open);
    let mut random = Random(13);
    for (at, (path, bytes)) in files.iter().enumerate() {
        for place in places(bytes.len(), &mut random) {
            let mut flipped = files.clone();
            flipped[at].1[place] ^= 1 << random.below(8);
            check(open, &flipped, &model, &format!("flip at {place} of {}", path.display()));
            let mut cut = files.clone();
            cut[at].1.truncate(place);
            check(open, &cut, &model, &format!("{} cut at {place}", path.display()));
        }
    }
}

/// Whichever sector of whichever file cannot be read, the engine does not open, or every read
/// gives what was written or an error: never a shorter state.
///
/// # Panics
///
/// If the claim does not hold.
pub fn unreadable_sectors_never_become_absent_records<E: Engine>(open: &Open<E>) {
    let (files, model) = sound_files(open);
    for (path, bytes) in &files {
        for offset in (0..bytes.len() as u64).step_by(512) {
            let what = format!("{} is unreadable at {offset}", path.display());
            let disk = disk_of(&files);
            disk.break_sector(path, offset).expect("the file is there");
            match open(dyn_vfs(&disk), home()) {
                Ok(engine) => check_reads(&engine.snapshot(), &model, &what),
                Err(EngineError::Io { .. }) => assert_eq!(disk.files(), files, "{what}"),
                Err(error) => panic!("{what}: {error:?} is not how it is reported"),
            }
        }
    }
}

/// The files of an engine after some work, and what it holds.
fn sound_files<E: Engine>(open: &Open<E>) -> (Files, Model) {
    let disk = SimVfs::new(13);
    let mut work = Work::new(13);
    let engine = open_sound(open, &disk);
    for _ in 0..20 {
        engine.write(work.batch()).expect("writable");
    }
    engine.persist().expect("the disk is in order");
    drop(engine);
    let files = disk.files();
    assert!(files.iter().any(|(_, bytes)| !bytes.is_empty()), "the state is in some file");
    (files, work.last().clone())
}

/// The places to damage in a file: its beginning, its end, and some between.
fn places(len: usize, random: &mut Random) -> Vec<usize> {
    if len <= PLACES_PER_FILE {
        return (0..len).collect();
    }
    let quarter = PLACES_PER_FILE / 4;
    let between = (0..2 * quarter).map(|_| random.below(len));
    (0..quarter).chain(len - quarter..len).chain(between).collect()
}

fn check<E: Engine>(open: &Open<E>, files: &Files, model: &Model, what: &str) {
    let disk = disk_of(files);
    match open(dyn_vfs(&disk), home()) {
        Ok(engine) => check_reads(&engine.snapshot(), model, what),
        Err(EngineError::Corrupt { file, .. } | EngineError::Unsupported { file, .. }) => {
            assert!(files.iter().any(|(path, _)| *path == file), "{what}: names the damaged file");
            assert_eq!(disk.files(), *files, "{what}: an engine that does not open writes nothing");
        }
        Err(error) => panic!("{what}: {error:?} is not how damage is reported"),
    }
}

/// A disk that holds these files.
fn disk_of(files: &Files) -> SimVfs {
    let disk = SimVfs::new(0);
    for (path, bytes) in files {
        disk.create_dir_all(path.parent().unwrap_or(Path::new(""))).expect("a new disk");
        let file = disk.open(path, OpenMode::CreateNew).expect("a new disk");
        file.write_at(&[IoSlice::new(bytes)], 0).expect("a new disk");
    }
    disk
}

/// Asserts that each read of `snapshot` gives what `model` says, or an error.
fn check_reads(snapshot: &impl Snapshot, model: &Model, what: &str) {
    for space in Space::ALL {
        for (key, value) in model.space(space) {
            if let Ok(found) = snapshot.get(space, key) {
                assert_eq!(found.as_ref(), Some(value), "{what}: a wrong value in {space:?}");
            }
        }
        for direction in [Direction::Forward, Direction::Backward] {
            check_scan(snapshot, model, space, direction, what);
        }
    }
}

fn check_scan(
    snapshot: &impl Snapshot,
    model: &Model,
    space: Space,
    direction: Direction,
    what: &str,
) {
    let mut expected: Vec<_> = model.space(space).iter().collect();
    if direction == Direction::Backward {
        expected.reverse();
    }
    let mut expected = expected.into_iter();
    let mut records = snapshot.range(space, b"", None, direction);
    for record in records.by_ref() {
        let Ok((key, value)) = record else {
            // It must not skip the damage and go on.
            assert!(matches!(records.next(), Some(Err(_))), "{what}: the error stays");
            return;
        };
        let same = expected.next().is_some_and(|(k, v)| *k == key[..] && *v == value);
        assert!(same, "{what}: a wrong record in {space:?}");
    }
    assert_eq!(expected.next(), None, "{what}: a record is missing in {space:?}");
}
