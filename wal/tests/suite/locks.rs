//! One opener at a time (scenario 21): by whatever path, in whatever process; death frees the lock.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use drystone_vfs::{OsVfs, Vfs};
use drystone_wal::{Error, Lsn, Options, Wal};

use crate::support::{disk, drain, open, options, put, try_open};

fn try_real(dir: &Path) -> Result<Wal, Error> {
    let vfs: Arc<dyn Vfs> = Arc::new(OsVfs::new());
    Wal::open(vfs, dir, Options::default()).map(|(wal, _)| wal)
}

#[track_caller]
fn assert_locked(dir: &Path) {
    let error = try_real(dir).expect_err("a second opener got in");
    assert!(matches!(&error, Error::Locked { dir: named } if named == dir), "{error}");
}

// Scenario 21, same process: two writers would destroy the log. Let go of, it opens again.
#[test]
fn a_log_has_one_opener_and_death_frees_it() {
    let disk = disk();
    let (_wal, _) = open(&disk);
    let before = disk.files();
    for _ in 0..3 {
        assert!(matches!(try_open(&disk, options()), Err(Error::Locked { .. })));
    }
    assert!(disk.files() == before, "a refused opener changed something");
    let (_wal, _) = open(&disk.kill_copy());
    let (_wal, _) = open(&disk.crash());

    let temp = tempfile::tempdir().unwrap();
    let wal = try_real(temp.path()).unwrap();
    assert_locked(temp.path());
    drop(wal);
    try_real(temp.path()).unwrap();
}

// Scenario 21: the lock is the directory's, not the path's. (A directory can have no hard link; its
// lock file can, and a log that is reached through it is the same log.)
#[test]
fn every_path_to_the_log_is_locked() {
    let temp = tempfile::tempdir().unwrap();
    let real = temp.path().join("real");
    OsVfs::new().create_dir_all(&temp.path().join("elsewhere/deep")).unwrap();
    let wal = try_real(&real).unwrap();
    let link = temp.path().join("link");
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let link_to_link = temp.path().join("elsewhere/deep/link");
    std::os::unix::fs::symlink(&link, &link_to_link).unwrap();
    let hard = temp.path().join("hard");
    std::fs::create_dir(&hard).unwrap();
    std::fs::hard_link(real.join("LOCK"), hard.join("LOCK")).unwrap();
    let winding = temp.path().join("elsewhere/../elsewhere/deep/../../real/.");
    let mut slash = real.clone().into_os_string();
    slash.push("/");
    let others = [link, link_to_link, hard, winding, PathBuf::from(slash)];
    for path in &others {
        assert_locked(path);
    }
    drop(wal);
    for path in &others {
        drop(try_real(path).unwrap());
    }
}

// Scenario 21, two processes: the second is refused at once, whichever it is; a holder that is
// killed outright leaves its records and not its lock, time after time.
#[test]
fn a_killed_process_leaves_its_records_and_not_its_lock() {
    if let Some(dir) = std::env::var_os("DRYSTONE_WAL_HOLD") {
        hold(Path::new(&dir));
    }
    let temp = tempfile::tempdir().unwrap();
    for round in 1..=3 {
        let mut child = start_holder(temp.path());
        assert_locked(temp.path());
        // A third process is refused as well, and says so by not holding.
        let other = holder(temp.path()).output().unwrap();
        let said = String::from_utf8_lossy(&other.stdout).into_owned();
        assert!(said.contains("refused") && !said.contains("holding"), "{said}");
        child.kill().unwrap();
        child.wait().unwrap();
        let known = Options::default().min_lsn(Lsn(50 * round));
        let (wal, recovered) = Wal::open(Arc::new(OsVfs::new()), temp.path(), known).unwrap();
        assert!(!recovered.report().closed);
        assert_eq!(drain(recovered).len() as u64, 50 * round);
        // Now this process holds it, and the other is refused.
        let other = holder(temp.path()).output().unwrap();
        assert!(String::from_utf8_lossy(&other.stdout).contains("refused"));
        drop(wal);
    }
}

fn holder(dir: &Path) -> Command {
    let name = "locks::a_killed_process_leaves_its_records_and_not_its_lock";
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture"]).env("DRYSTONE_WAL_HOLD", dir);
    command
}

fn start_holder(dir: &Path) -> Child {
    let mut child =
        holder(dir).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a child starts");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("holding")), "the child opened the log");
    child
}

/// The child's part: never returns.
fn hold(dir: &Path) -> ! {
    let wal = match try_real(dir) {
        Ok(wal) => wal,
        Err(error) => {
            println!("refused: {error}");
            std::process::exit(0);
        }
    };
    for i in 0..50_u8 {
        put(&wal, &[i; 300]);
    }
    println!("holding");
    // Until the parent kills us, or is gone.
    std::io::stdin().read_line(&mut String::new()).unwrap();
    std::process::exit(1);
}
