//! One opener at a time (scenario 21): by whatever path, in whatever process; death frees the lock.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use drystone_btree::{Db, Error, Options, TxnId};
use drystone_vfs::{OsVfs, Vfs};

use crate::support::{disk, fill, key, open, options, path, try_open};

const HOLD: &str = "DRYSTONE_BTREE_HOLD";
/// Transactions of a holder's life.
const COMMITS: u64 = 40;

fn try_real(file: &Path) -> Result<Db, Error> {
    let vfs: Arc<dyn Vfs> = Arc::new(OsVfs::new());
    Db::open(vfs, file, Options::default())
}

#[track_caller]
fn assert_locked(file: &Path) {
    let error = try_real(file).map(drop).expect_err("a second opener got in");
    assert!(matches!(&error, Error::Locked { file: named } if named == file), "{error}");
}

// Scenario 21, same process: two writers would destroy the file. Let go of, it opens again.
#[test]
fn a_database_has_one_opener_and_death_frees_it() {
    let disk = disk();
    let db = open(&disk);
    fill(&db, 50);
    let before = disk.files();
    for _ in 0..3 {
        assert!(matches!(try_open(&disk, options()), Err(Error::Locked { .. })));
    }
    assert!(disk.files() == before, "a refused opener changed something");
    drop(open(&disk.kill_copy()));
    // A clone, or somebody who reads, does not hold the file; only the database does.
    let (clone, r) = (db.clone(), db.read());
    drop(db);
    assert!(matches!(try_open(&disk, options()), Err(Error::Locked { .. })));
    clone.close().unwrap();
    drop(open(&disk));
    assert_eq!(r.len(r.tree("t").unwrap()).unwrap(), 50);
}

// Scenario 21: those who only read share the database with each other, and with no writer.
#[test]
fn readers_share_the_lock_and_writers_do_not() {
    let disk = disk();
    fill(&open(&disk), 20);
    let view = || {
        let vfs: Arc<dyn Vfs> = Arc::new(disk.clone());
        Db::open_read_only(vfs, &path(), options())
    };
    let (one, two) = (view().unwrap(), view().unwrap());
    assert!(matches!(try_open(&disk, options()), Err(Error::Locked { .. })));
    drop(one);
    assert!(matches!(try_open(&disk, options()), Err(Error::Locked { .. })));
    drop(two);
    let db = open(&disk);
    assert!(matches!(view().map(drop), Err(Error::Locked { .. })));
    drop(db);
    view().unwrap();
}

// Scenario 21: the lock is the file's, not the path's.
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
    let hard = temp.path().join("hard");
    std::fs::hard_link(&real, &hard).unwrap();
    let folder = temp.path().join("folder");
    std::os::unix::fs::symlink(temp.path(), &folder).unwrap();
    let winding = temp.path().join("elsewhere/../elsewhere/deep/../../real");
    let others = [link, link_to_link, hard, folder.join("real"), winding];
    for path in &others {
        assert_locked(path);
    }
    drop(db);
    for path in &others {
        drop(try_real(path).unwrap());
    }
}

// Scenario 21, two processes: the second is refused at once, whichever it is; a holder that is
// killed outright leaves its commits and not its lock, time after time.
#[test]
fn a_killed_process_leaves_its_commits_and_not_its_lock() {
    if let Some(file) = std::env::var_os(HOLD) {
        hold(Path::new(&file));
    }
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("db");
    for round in 1..=3 {
        let mut child = start_holder(&file);
        assert_locked(&file);
        let view = Db::open_read_only(Arc::new(OsVfs::new()), &file, Options::default());
        assert!(matches!(view.map(drop), Err(Error::Locked { .. })));
        // A third process is refused as well, and says so by not holding.
        let other = holder(&file).output().unwrap();
        let said = String::from_utf8_lossy(&other.stdout).into_owned();
        assert!(said.contains("refused") && !said.contains("holding"), "{said}");
        child.kill().unwrap();
        child.wait().unwrap();
        // The tree itself was a transaction as well.
        let known = Options::default().min_txn(TxnId(COMMITS * round + 1));
        let db = Db::open(Arc::new(OsVfs::new()), &file, known).unwrap();
        let r = db.read();
        assert_eq!(r.len(r.tree("t").unwrap()).unwrap(), COMMITS * round);
        // Now this process holds it, and the other is refused.
        let other = holder(&file).output().unwrap();
        assert!(String::from_utf8_lossy(&other.stdout).contains("refused"));
        drop(db);
    }
}

// Scenario 21: several processes make the same database at once. One of them has it, the others are
// refused, and it is whole.
#[test]
fn a_database_made_by_many_at_once_is_made_once() {
    for _ in 0..5 {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("db");
        let opened: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..6).map(|_| scope.spawn(|| try_real(&file))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let mut holders = 0;
        for outcome in &opened {
            match outcome {
                Ok(_) => holders += 1,
                Err(Error::Locked { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(holders, 1);
        drop(opened);
        assert_eq!(OsVfs::new().list(temp.path()).unwrap(), ["db"], "nothing is left over");
        try_real(&file).unwrap();
    }
}

fn holder(file: &Path) -> Command {
    let name = "locks::a_killed_process_leaves_its_commits_and_not_its_lock";
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture"]).env(HOLD, file);
    command
}

fn start_holder(file: &Path) -> Child {
    let mut child =
        holder(file).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a child starts");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("holding")), "the child opened the database");
    child
}

/// The child's part: never returns.
fn hold(file: &Path) -> ! {
    let db = match try_real(file) {
        Ok(db) => db,
        Err(error) => {
            println!("refused: {error}");
            std::process::exit(0);
        }
    };
    let tree = db.tree("t").unwrap();
    let from = db.read().len(tree).unwrap();
    for i in from..from + COMMITS {
        let mut w = db.write().unwrap();
        w.put(tree, &key(i), &[i as u8; 300]).unwrap();
        w.commit().unwrap().wait().unwrap();
    }
    println!("holding");
    // Until the parent kills us, or is gone.
    std::io::stdin().read_line(&mut String::new()).unwrap();
    std::process::exit(1);
}
