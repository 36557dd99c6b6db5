//! Folders that must not be touched: in use, somebody else's, of another version, damaged. The
//! store refuses each with its reason, and leaves every byte where it was.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use drystone_kv::command::Put;
use drystone_kv::engine::EngineError;
use drystone_kv::engines::{AnyEngine, EngineConfig};
use drystone_kv::{Command, EngineKind, Error, Kv, Options};
use drystone_vfs::{Call, Fault, Harm, Op, OpenMode, SimClock, SimVfs, TapVfs, Vfs};
use drystone_wal::{Options as WalOptions, Wal};

use crate::common::{delete, put};
use crate::running::{DIR, Machine, ok, on_every_engine, open, options};

on_every_engine! {
    a_folder_keeps_its_engine_when_none_is_asked_for
    a_damaged_journal_is_reported
    a_missing_journal_segment_is_reported
    a_lost_journal_is_not_a_fresh_start
    a_lost_engine_is_not_a_fresh_start
    records_that_no_store_wrote_are_reported
}

fn path(name: &str) -> PathBuf {
    Path::new(DIR).join(name)
}

/// Writes a file as it is to be, in place of what was there.
fn write(disk: &SimVfs, path: &Path, bytes: &[u8]) {
    let file = disk.open(path, OpenMode::Create).expect("the folder is there");
    file.set_len(0).expect("writable");
    file.write_at(&[IoSlice::new(bytes)], 0).expect("writable");
    file.sync_data().expect("writable");
    disk.sync_dir(path.parent().expect("in a folder")).expect("writable");
}

/// A folder with a persisted engine, and a journal that goes on after it over several segments.
fn used() -> Machine {
    used_with(EngineKind::Memory)
}

fn used_with(kind: EngineKind) -> Machine {
    let machine = Machine::of(kind, 1);
    let kv = machine.open();
    for n in 0..80 {
        ok(&kv, Command::Put(Put::new(format!("k{n}"), vec![n; 300])));
        if n == 40 {
            kv.persist().expect("the disk is in order");
        }
    }
    for n in 0..200 {
        ok(&kv, Command::Put(Put::new(format!("k{n}"), vec![n; 300])));
    }
    drop(kv);
    machine
}

/// Everything that holds something: all files but locks, and the journal's stock of empty ones.
fn data(machine: &Machine) -> Vec<(PathBuf, Vec<u8>)> {
    let empty = |file: &Path| file.ends_with("LOCK") || file.ends_with("spare.tmp");
    machine.disk.files().into_iter().filter(|(file, _)| !empty(file)).collect()
}

/// Opens, and asserts that the refusal left no trace.
#[track_caller]
fn refused(machine: &Machine) -> Error {
    let before = data(machine);
    let Err(error) = machine.try_open(options()) else {
        panic!("a folder in this state must not open")
    };
    let after = data(machine);
    let names =
        |files: &[(PathBuf, _)]| files.iter().map(|file| file.0.clone()).collect::<Vec<_>>();
    assert_eq!(names(&after), names(&before), "{error:?}");
    for (after, before) in after.iter().zip(&before) {
        assert!(after == before, "{} was changed by a refusal: {error:?}", before.0.display());
    }
    error
}

/// The files below a folder of the store, with their bytes.
fn files_in(machine: &Machine, folder: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let files = data(machine).into_iter();
    files.filter(|(file, _)| file.starts_with(path(folder))).collect()
}

// Two stores over one journal would acknowledge what the other overwrites.
#[test]
fn a_folder_is_used_once_at_a_time() {
    let machine = used();
    let kv: Kv = machine.open();
    ok(&kv, put("k", "v"));
    let error = refused(&machine);
    assert!(matches!(&error, Error::Locked { file } if *file == path("LOCK")), "{error:?}");
    ok(&kv, put("k", "still at work"));
    drop(kv);
    machine.open();
}

// A slip in the configuration must not turn somebody's home folder into a store.
#[test]
fn a_folder_of_somebody_else_is_left_alone() {
    for name in ["notes.txt", "member", "0000.snap"] {
        let machine = Machine::new(2);
        machine.disk.create_dir_all(Path::new(DIR)).unwrap();
        write(&machine.disk, &path(name), b"precious");
        let error = refused(&machine);
        assert!(matches!(&error, Error::Foreign { found, .. } if *found == Path::new(name)));
    }
    let machine = Machine::new(2);
    machine.disk.create_dir_all(&path("member/wal")).unwrap();
    write(&machine.disk, &path("member/wal/0.wal"), b"etcd's own");
    assert!(matches!(refused(&machine), Error::Foreign { .. }));
}

// What a crash leaves of a folder that was just being made is as good as nothing.
#[test]
fn a_folder_half_made_is_made_whole() {
    let machine = Machine::new(3);
    machine.disk.create_dir_all(Path::new(DIR)).unwrap();
    write(&machine.disk, &path("LOCK"), b"");
    write(&machine.disk, &path("FORMAT.tmp"), b"dryst");
    ok(&machine.open(), put("k", "v"));
    assert_eq!(machine.open().revision(), 2);
}

// An older build must not touch what a newer one has written, and must say what it is.
#[test]
fn a_folder_of_another_version_is_left_alone() {
    let machine = used();
    for line in ["drystone-kv 3\n", "drystone-kv 3 btree\n", "drystone-kv 3 of a new kind\n"] {
        write(&machine.disk, &path("FORMAT"), line.as_bytes());
        let error = refused(&machine);
        assert!(
            matches!(&error, Error::Unsupported { file, version: 3 } if *file == path("FORMAT")),
            "{error:?}"
        );
    }
    write(&machine.disk, &path("FORMAT"), b"drystone-kv 1\n");
    machine.open();
}

/// The line of a folder of that kind.
fn format_line(kind: EngineKind) -> &'static str {
    match kind {
        EngineKind::Memory => "drystone-kv 1\n",
        EngineKind::Btree => "drystone-kv 2 btree\n",
        EngineKind::Lsm => "drystone-kv 2 lsm\n",
    }
}

// The one line that says whose the folder is, damaged in every way.
#[test]
fn a_damaged_format_file_is_reported() {
    let machine = used();
    let mut damaged: Vec<Vec<u8>> = Vec::new();
    for sound in EngineKind::ALL.map(|kind| format_line(kind).as_bytes()) {
        damaged.extend((0..sound.len()).map(|len| sound[..len].to_vec()));
        damaged.push([sound, b"x"].concat());
        damaged.push([sound, sound].concat());
    }
    damaged.push(vec![0; 500]);
    damaged.extend(
        [
            "-1",
            "+1",
            "01",
            "99999999999",
            "1 memory",
            "1 btree",
            "2",
            "2 memory",
            "2 rocks",
            "2  lsm",
        ]
        .map(|rest| format!("drystone-kv {rest}\n").into_bytes()),
    );
    for bytes in damaged {
        write(&machine.disk, &path("FORMAT"), &bytes);
        let error = refused(&machine);
        let names_it = matches!(&error, Error::Damaged { file, .. } if *file == path("FORMAT"));
        assert!(names_it, "{:?}: {error:?}", String::from_utf8_lossy(&bytes));
    }
    // Flipped bits make it another name, another version, another engine, or no text at all, and
    // never a folder that opens.
    for (line, bit) in EngineKind::ALL
        .map(|kind| format_line(kind).as_bytes())
        .iter()
        .flat_map(|line| (0..line.len() * 8).map(move |bit| (line, bit)))
    {
        let mut bytes = line.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        write(&machine.disk, &path("FORMAT"), &bytes);
        let error = refused(&machine);
        let told = matches!(&error, Error::Damaged { .. } | Error::Unsupported { .. });
        assert!(told, "bit {bit}: {error:?}");
    }
    write(&machine.disk, &path("FORMAT"), format_line(EngineKind::Memory).as_bytes());
    machine.open();
}

// An engine that is started in another one's folder finds no file of its own, and would serve an
// empty store.
#[test]
fn a_folder_of_another_engine_is_left_alone() {
    for kind in EngineKind::ALL {
        let machine = used();
        write(&machine.disk, &path("FORMAT"), format_line(kind).as_bytes());
        for asked in EngineKind::ALL.into_iter().filter(|asked| *asked != kind) {
            let error = refused(&Machine { kind: asked, ..machine.with(machine.disk.clone()) });
            let Error::WrongEngine { file, found, asked: told } = &error else {
                panic!("{kind} as {asked}: {error:?}")
            };
            assert_eq!((file, *found, *told), (&path("FORMAT"), kind, asked));
            assert!(error.to_string().contains(&format!("the {kind} engine, not by {asked}")));
        }
    }
}

// Who does not say which engine goes on with the one that is there, whatever the default may be.
fn a_folder_keeps_its_engine_when_none_is_asked_for(kind: EngineKind) {
    let machine = used_with(kind);
    let line = machine.disk.files().into_iter().find(|(file, _)| *file == path("FORMAT"));
    assert_eq!(line.expect("it is there").1, format_line(kind).as_bytes());
    let revision = machine.open().revision();
    let any = Options { engine: None, ..options() };
    let kv = open(Arc::new(machine.disk.clone()), machine.clock.clone(), any).expect("in order");
    assert_eq!((kv.engine_kind(), kv.revision()), (kind, revision));
}

// A process that died while it made the folder may have left its format's name where only a living
// machine sees it. Whoever builds on that must not lose it to a power cut.
#[test]
fn a_format_that_was_not_yet_durable_is_not_lost_later() {
    for seed in 0..16 {
        let machine = Machine::new(seed);
        machine.disk.fail(Fault::new(Op::SyncDir, Harm::Error));
        assert!(matches!(machine.try_open(options()), Err(Error::Io { .. })));
        assert!(machine.disk.files().iter().any(|(file, _)| *file == path("FORMAT")));
        machine.disk.heal();
        ok(&machine.open(), put("k", "v"));
        assert_eq!(machine.with(machine.disk.crash()).open().revision(), 2, "seed {seed}");
    }
}

// Two servers started at once with different engines: the second must see what the first has made,
// and not write its own name over it.
#[test]
fn a_folder_made_between_the_look_and_the_lock_is_seen() {
    let machine = Machine::new(3);
    let by = format_line(EngineKind::Lsm);
    let overtake = {
        let disk = machine.disk.clone();
        move |call: Call<'_>, go: &mut dyn FnMut() -> io::Result<()>| {
            if matches!(call, Call::Lock { .. }) {
                write(&disk, &path("FORMAT"), by.as_bytes());
            }
            go()
        }
    };
    let vfs = Arc::new(TapVfs::over(machine.disk.clone(), overtake));
    let asked = Options { engine: Some(EngineKind::Memory), ..options() };
    let error = open(vfs, machine.clock.clone(), asked).err().expect("it is another engine's");
    assert!(matches!(error, Error::WrongEngine { found: EngineKind::Lsm, .. }), "{error:?}");
    let line = machine.disk.files().into_iter().find(|(file, _)| *file == path("FORMAT"));
    assert_eq!(line.expect("it is there").1, by.as_bytes());
}

// A bit of the engine's file that rots is found before anything is served or written.
#[test]
fn a_damaged_engine_is_reported_with_its_file() {
    let machine = used();
    let (file, sound) = files_in(&machine, "engine").remove(0);
    let places = [0, 9, 40, sound.len() / 2, sound.len() - 1];
    for place in places {
        let mut bytes = sound.clone();
        bytes[place] ^= 0x10;
        write(&machine.disk, &file, &bytes);
        let error = refused(&machine);
        let named = matches!(&error, Error::Engine(EngineError::Corrupt { file: named, .. })
            if *named == file);
        assert!(named, "byte {place}: {error:?}");
    }
    for len in [0, 1, 31, sound.len() / 2, sound.len() - 1] {
        write(&machine.disk, &file, &sound[..len]);
        let error = refused(&machine);
        assert!(matches!(&error, Error::Engine(_)), "cut to {len}: {error:?}");
    }
    write(&machine.disk, &file, &sound);
    machine.open();
}

// A journal is trusted from where the engine ends to its last acknowledged record, and no further.
fn a_damaged_journal_is_reported(kind: EngineKind) {
    let machine = used_with(kind);
    let journal = files_in(&machine, "journal");
    let segments: Vec<_> = journal.iter().filter(|(_, bytes)| !bytes.is_empty()).collect();
    assert!(segments.len() > 3, "the journal has turned");
    let middle = segments[segments.len() / 2];
    for place in [0, 100, 5000, 8000] {
        let mut bytes = middle.1.clone();
        bytes[place] ^= 0x10;
        write(&machine.disk, &middle.0, &bytes);
        let error = refused(&machine);
        assert!(matches!(&error, Error::Journal(_)), "byte {place}: {error:?}");
    }
    write(&machine.disk, &middle.0, &middle.1);
    machine.open();
}

// A file that is gone is damage too: a store that started without it would start with a hole. (Of
// the last one alone nothing tells, unless the engine has seen beyond it.)
fn a_missing_journal_segment_is_reported(kind: EngineKind) {
    let machine = used_with(kind);
    let journal = files_in(&machine, "journal");
    for (file, _) in &journal[..journal.len() - 1] {
        let copy = machine.with(machine.disk.crash_copy(7));
        copy.disk.remove(file).expect("the disk is in order");
        copy.disk.sync_dir(&path("journal")).expect("the disk is in order");
        let error = refused(&copy);
        let told = matches!(&error, Error::Journal(_) | Error::JournalGap { .. });
        assert!(told, "{}: {error:?}", file.display());
    }
}

// An engine that knows more than its journal means that a journal was lost; a fresh one in its
// place would give old positions to new commands.
fn a_lost_journal_is_not_a_fresh_start(kind: EngineKind) {
    let machine = used_with(kind);
    for (file, _) in files_in(&machine, "journal") {
        machine.disk.remove(&file).expect("the disk is in order");
    }
    machine.disk.sync_dir(&path("journal")).expect("the disk is in order");
    let error = refused(&machine);
    assert!(matches!(&error, Error::Journal(_)), "{error:?}");
}

// And a journal whose beginning was cut away needs its engine. None is made in the lost one's
// place, every attempt says the same, and what to do; an empty one that somebody made there, say a
// build that did not look first, makes no difference.
fn a_lost_engine_is_not_a_fresh_start(kind: EngineKind) {
    let machine = used_with(kind);
    for (file, _) in files_in(&machine, "engine") {
        machine.disk.remove(&file).expect("the disk is in order");
        let folder = file.parent().expect("a file lies in a folder");
        machine.disk.sync_dir(folder).expect("the disk is in order");
    }
    let journal = files_in(&machine, "journal");
    let mut said = Vec::new();
    for attempt in 0..4 {
        if attempt == 2 {
            assert_eq!(files_in(&machine, "engine").len(), 0, "{kind}: an engine was made");
            let (vfs, clock) = (Arc::new(machine.disk.clone()), Arc::new(SimClock::new()));
            let config = EngineConfig { kind, background: false, memory_bytes: None, room: None };
            drop(
                AnyEngine::open(vfs, clock, &path("engine"), &config)
                    .expect("an empty engine can be made"),
            );
        }
        let error = machine.try_open(options()).err().expect("the engine is lost");
        let told = matches!(&error, Error::JournalGap { expected: 1, found, .. } if *found > 1);
        assert!(told, "{error:?}");
        said.push(error.to_string());
        assert!(files_in(&machine, "journal") == journal, "what is left is left alone");
    }
    said.dedup();
    assert_eq!(said.len(), 1, "{kind}: {said:?}");
    assert!(said[0].contains("restore the data folder"), "{said:?}");
}

// A journal may be sound and its record still no command that this build knows.
#[test]
fn a_record_that_is_no_command_is_reported_with_its_place() {
    for bytes in [&b""[..], b"\x02\x01", b"\x01\x63", b"\x01\x04\x02trailing"] {
        let machine = Machine::new(4);
        ok(&machine.open(), put("k", "v"));
        let vfs: Arc<dyn Vfs> = Arc::new(machine.disk.clone());
        let (wal, _) =
            Wal::open(vfs, &path("journal"), WalOptions::default()).expect("the disk is in order");
        wal.append(&[bytes]).expect("the disk is in order").wait().unwrap();
        wal.close().expect("the disk is in order");
        let error = refused(&machine);
        assert!(matches!(&error, Error::BadCommand { index: 2, .. }), "{bytes:?}: {error:?}");
    }
}

// Records in the engine that the store above cannot make sense of: the engine's own checksums are
// right, what they protect is not.
fn records_that_no_store_wrote_are_reported(kind: EngineKind) {
    use drystone_kv::engine::{Batch, Engine as _, Space};
    use drystone_kv::record::Record;
    use drystone_kv::types::{KeyValue, LeaseId, Revision};
    let kv = |version, created, lease| {
        let (key, value) = ("other".into(), "v".into());
        let lease = LeaseId(lease);
        let kv = KeyValue { key, value, create_revision: created, mod_revision: 0, version, lease };
        Record::encode_put(&kv)
    };
    let at = |main| Revision::new(main, 0).to_bytes();
    let mut damages: Vec<(&str, Batch)> = Vec::new();
    let mut damage = |what, space, key: &[u8], value: bytes::Bytes| {
        let mut batch = Batch::new();
        batch.put(space, key, value);
        damages.push((what, batch));
    };
    damage("a key that is no revision", Space::Record, b"short", kv(1, 2, 0));
    damage("a record of nothing", Space::Record, &at(2), bytes::Bytes::new());
    damage("a record of an unknown kind", Space::Record, &at(2), "\x09".into());
    damage("a record of the future", Space::Record, &at(99), kv(1, 99, 0));
    damage("a record with no version", Space::Record, &at(2), kv(0, 2, 0));
    damage("a record older than its creation", Space::Record, &at(2), kv(1, 3, 0));
    damage("a record on no lease", Space::Record, &at(2), kv(1, 2, 7));
    damage("a narrow position", Space::Meta, b"revision", "1234567".into());
    damage("a narrow lease", Space::Lease, b"1234567", "12345678".into());
    damage("an unknown alarm", Space::Alarm, b"12345678\x09", bytes::Bytes::new());
    for (what, batch) in damages {
        let machine = Machine::of(kind, 5);
        let store = machine.open();
        ok(&store, put("k", "v"));
        ok(&store, delete("k", ""));
        store.persist().expect("the disk is in order");
        drop(store);
        let engine = machine.open_engine();
        engine.write(batch).expect("the disk is in order");
        engine.persist().expect("the disk is in order");
        drop(engine);
        let error = refused(&machine);
        assert!(matches!(&error, Error::BadRecord { .. }), "{what}: {error:?}");
    }
}
