//! One opener at a time (scenario 21): by whatever path, in whatever process; death frees the lock.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use drystone_lsm::{Db, Error, Options};
use drystone_vfs::{OsClock, OsVfs, SimClock, SimVfs, Vfs};

use crate::hurt::open;
use crate::support::{dir, keyspace, options, try_open};

fn real_options() -> Options {
    Options::default().memory_bytes(256 << 10)
}

fn try_real(dir: &Path) -> Result<Db, Error> {
    Db::open(Arc::new(OsVfs::new()), Arc::new(OsClock::new()), dir, real_options())
}

fn view_real(dir: &Path) -> Result<Db, Error> {
    Db::open_read_only(Arc::new(OsVfs::new()), Arc::new(OsClock::new()), dir, real_options())
}

#[track_caller]
fn assert_locked(dir: &Path) {
    let error = try_real(dir).expect_err("a second opener got in");
    assert!(matches!(&error, Error::Locked { dir: named } if named == dir), "{error}");
    assert!(matches!(view_real(dir), Err(Error::Locked { .. })), "a reader beside a writer");
}

// Scenario 21, same process: two writers would destroy the database. Readers share; a writer beside
// them does not.
#[test]
fn a_database_has_one_writer_or_some_readers() {
    let disk = SimVfs::new(1);
    let db = open(&disk);
    drop(keyspace(&db, "left"));
    let before = disk.files();
    let view = |disk: &SimVfs| {
        Db::open_read_only(Arc::new(disk.clone()), Arc::new(SimClock::new()), &dir(), options())
    };
    for _ in 0..3 {
        assert!(matches!(try_open(&disk, options()), Err(Error::Locked { .. })));
        assert!(matches!(view(&disk), Err(Error::Locked { .. })));
    }
    assert!(disk.files() == before, "a refused opener changed something");
    drop(open(&disk.kill_copy()));
    drop(open(&disk.crash_copy(1)));
    let clone = db.clone();
    drop(db);
    assert!(matches!(try_open(&disk, options()), Err(Error::Locked { .. })), "a clone lives");
    drop(clone);
    let readers = (view(&disk).unwrap(), view(&disk).unwrap());
    assert!(matches!(try_open(&disk, options()), Err(Error::Locked { .. })));
    drop(readers);
    drop(open(&disk));
}

// Scenario 21: a snapshot may outlive its database, and must not hold the lock, nor be harmed by the
// next owner, who removes what it reads.
#[test]
fn a_snapshot_that_lives_on_does_not_hold_the_lock() {
    let disk = SimVfs::new(1);
    let db = open(&disk);
    let left = keyspace(&db, "left");
    drop(db.put(&left, b"k", b"old").unwrap());
    db.flush().unwrap();
    let snapshot = db.snapshot();
    db.close().unwrap();
    let db = open(&disk);
    drop(db.put(&keyspace(&db, "left"), b"k", b"new").unwrap());
    db.flush().unwrap();
    db.compact(std::time::Duration::MAX).unwrap();
    match snapshot.get(&left, b"k") {
        Ok(found) => assert_eq!(*found.unwrap(), *b"old"),
        Err(error) => assert!(matches!(error, Error::Io { .. }), "{error}"),
    }
}

// Scenario 21: the lock is the directory's, not the path's.
#[test]
fn every_path_to_the_database_is_locked() {
    let temp = tempfile::tempdir().unwrap();
    let real = temp.path().join("real");
    OsVfs::new().create_dir_all(&temp.path().join("elsewhere/deep")).unwrap();
    let db = try_real(&real).unwrap();
    let link = temp.path().join("link");
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let link_to_link = temp.path().join("elsewhere/deep/link");
    std::os::unix::fs::symlink(&link, &link_to_link).unwrap();
    let winding = temp.path().join("elsewhere/../elsewhere/deep/../../real/.");
    let mut slash = real.clone().into_os_string();
    slash.push("/");
    let others = [link, link_to_link, winding, PathBuf::from(slash)];
    for path in &others {
        assert_locked(path);
    }
    drop(db);
    for path in &others {
        drop(try_real(path).unwrap());
    }
}

// Scenario 21, two processes: the second is refused at once, whichever it is; a holder that is
// killed outright leaves its records and not its lock, time after time.
#[test]
fn a_killed_process_leaves_its_records_and_not_its_lock() {
    if let Some(dir) = std::env::var_os("DRYSTONE_LSM_HOLD") {
        hold(Path::new(&dir));
    }
    let temp = tempfile::tempdir().unwrap();
    for round in 1..=3_u64 {
        let mut child = start_holder(temp.path());
        assert_locked(temp.path());
        let other = holder(temp.path()).output().unwrap();
        let said = String::from_utf8_lossy(&other.stdout).into_owned();
        assert!(said.contains("refused") && !said.contains("holding"), "{said}");
        child.kill().unwrap();
        child.wait().unwrap();
        let db = try_real(temp.path()).unwrap();
        assert_eq!(db.iter(&keyspace(&db, "held")).count() as u64, 50 * round);
        let other = holder(temp.path()).output().unwrap();
        assert!(String::from_utf8_lossy(&other.stdout).contains("refused"));
        drop(db);
    }
}

fn holder(dir: &Path) -> Command {
    let name = "locks::a_killed_process_leaves_its_records_and_not_its_lock";
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture"]).env("DRYSTONE_LSM_HOLD", dir);
    command
}

fn start_holder(dir: &Path) -> Child {
    let mut child =
        holder(dir).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a child starts");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("holding")), "the child opened it");
    child
}

/// The child's part: never returns.
fn hold(dir: &Path) -> ! {
    let db = match try_real(dir) {
        Ok(db) => db,
        Err(error) => {
            println!("refused: {error}");
            std::process::exit(0);
        }
    };
    let space = keyspace(&db, "held");
    let before = db.iter(&space).count();
    let commits: Vec<_> = (before..before + 50)
        .map(|i| db.put(&space, format!("{i:06}").as_bytes(), &[i as u8; 300]).unwrap())
        .collect();
    for commit in commits {
        commit.wait().unwrap();
    }
    println!("holding");
    // Until the parent kills us, or is gone.
    std::io::stdin().read_line(&mut String::new()).unwrap();
    std::process::exit(1);
}
