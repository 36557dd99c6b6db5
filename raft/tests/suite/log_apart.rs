//! A log in a folder of its own: it and its store are found together, or not at all.
//!
//! A store that begins with an empty log has forgotten its votes and all that it acknowledged. So
//! whatever the folders are, and whenever the power fails, an opening finds everything or refuses.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use drystone_raft::store::{Error, GroupId, Options, Result, Store};
use drystone_vfs::{MemVfs, OpenMode, OsVfs, SimVfs, Vfs};

use crate::store_support::{DIR, Model, options};

const GROUP: GroupId = GroupId(7);
const APART: &str = "disk/log";

fn open_at(vfs: &Arc<dyn Vfs>, dir: &Path, log_dir: Option<&Path>) -> Result<Store> {
    let log_dir = log_dir.map(Path::to_path_buf);
    Store::open(Arc::clone(vfs), dir, Options { log_dir, ..options() })
}

fn open(vfs: &Arc<dyn Vfs>, log_dir: Option<&str>) -> Result<Store> {
    open_at(vfs, Path::new(DIR), log_dir.map(Path::new))
}

/// A store with a group of some entries in it, closed; and what should be in it.
fn filled(vfs: &Arc<dyn Vfs>, dir: &Path, log_dir: Option<&Path>) -> Model {
    let store = open_at(vfs, dir, log_dir).unwrap();
    let mut model = Model::new();
    store.create(GROUP, (*model.members).clone()).unwrap();
    model.extend(&store, GROUP, 20);
    store.close().unwrap();
    model
}

fn memory() -> Arc<dyn Vfs> {
    Arc::new(MemVfs::new())
}

fn survey(vfs: &Arc<dyn Vfs>, log_dir: Option<&str>) -> Result<bool> {
    let options = Options { log_dir: log_dir.map(PathBuf::from), ..options() };
    let survey = Store::survey(vfs, Path::new(DIR), &options)?;
    Ok(survey.is_some_and(|survey| survey.has(GROUP)))
}

// What the option is for: nothing of the log is on the store's disk, and all else is.
#[test]
fn a_log_apart_is_there_alone() {
    let vfs = memory();
    let mut model = filled(&vfs, Path::new(DIR), Some(Path::new(APART)));
    assert!(vfs.list(&Path::new(DIR).join("log-1")).is_err(), "no log inside");
    assert!(!vfs.list(&Path::new(APART).join("log-1")).unwrap().is_empty());
    assert!(vfs.list(&Path::new(APART).join("snapshots")).is_err());
    assert!(survey(&vfs, Some(APART)).unwrap());
    let found = Store::inspect(&vfs, Path::new(DIR), None).unwrap().unwrap();
    assert_eq!(found.log(), Path::new(APART).join("log-1"), "who looks need not be told");
    assert_eq!(Store::log_dir(&*vfs, Path::new(DIR)).unwrap(), Some(APART.into()));
    for _ in 0..2 {
        let store = open(&vfs, Some(APART)).unwrap();
        model.check(&store, GROUP);
        model.extend(&store, GROUP, 3);
        store.close().unwrap();
    }
}

// To leave the option out once, or to mistype it, must not cost a vote.
#[test]
fn a_log_apart_is_not_begun_anew_elsewhere() {
    let vfs = memory();
    let model = filled(&vfs, Path::new(DIR), Some(Path::new(APART)));
    for asked in [None, Some("disk/lgo")] {
        let place = asked.unwrap_or(DIR);
        for error in [survey(&vfs, asked).unwrap_err(), open(&vfs, asked).unwrap_err()] {
            let Error::LogElsewhere { kept, asked } = &error else { panic!("{error:?}") };
            assert_eq!((kept, asked), (&APART.into(), &place.into()));
        }
    }
    assert!(vfs.list(Path::new("disk/lgo")).is_err(), "nothing was made");
    model.check(&open(&vfs, Some(APART)).unwrap(), GROUP);
}

// An empty mount point looks like a new folder.
#[test]
fn a_log_that_is_gone_is_missed() {
    let vfs = memory();
    filled(&vfs, Path::new(DIR), Some(Path::new(APART)));
    for folder in ["", "log-1"] {
        let folder = Path::new(APART).join(folder);
        for name in vfs.list(&folder).unwrap().into_iter().filter(|name| name != "log-1") {
            vfs.remove(&folder.join(name)).unwrap();
        }
    }
    for error in [survey(&vfs, Some(APART)).unwrap_err(), open(&vfs, Some(APART)).unwrap_err()] {
        assert!(matches!(error, Error::LogGone { .. }), "{error:?}");
    }
}

// Two stores with one log would each take the other's votes for their own.
#[test]
fn a_log_has_one_store() {
    let vfs = memory();
    filled(&vfs, Path::new(DIR), Some(Path::new(APART)));
    filled(&vfs, Path::new("other"), None);
    for other in ["other", "third"] {
        let error = open_at(&vfs, Path::new(other), Some(Path::new(APART))).unwrap_err();
        let Error::LogTaken { owner, .. } = &error else { panic!("{error:?}") };
        assert_eq!(owner, Path::new(DIR), "it says whose it is");
    }
    let error = open(&vfs, Some("other")).unwrap_err();
    assert!(matches!(error, Error::LogElsewhere { .. }), "{error:?}");
    let error = open_at(&vfs, Path::new("third"), Some(Path::new("other"))).unwrap_err();
    let Error::LogForeign { found, .. } = &error else { panic!("{error:?}") };
    assert_eq!(found, Path::new("log-1"), "a log inside a store has one already");
    let held = open(&vfs, Some(APART)).unwrap();
    assert!(matches!(open(&vfs, Some(APART)), Err(Error::Log(_))), "in use");
    drop(held);
    assert!(open(&vfs, Some(APART)).is_ok());
}

// What is on its way is the store's own; whatever else is there is not.
#[test]
fn a_folder_with_something_in_it_is_left_alone() {
    let vfs = memory();
    let model = filled(&vfs, Path::new(DIR), None);
    vfs.create_dir_all(Path::new(APART)).unwrap();
    vfs.open(&Path::new(APART).join("letter"), OpenMode::Create).unwrap();
    assert!(matches!(open(&vfs, Some(APART)), Err(Error::LogForeign { .. })));
    assert_eq!(vfs.list(Path::new(APART)).unwrap(), ["letter"]);
    model.check(&open(&vfs, None).unwrap(), GROUP);
    vfs.remove(&Path::new(APART).join("letter")).unwrap();
    vfs.create_dir_all(&Path::new(APART).join("lost+found")).unwrap();
    model.check(&open(&vfs, Some(APART)).unwrap(), GROUP);
}

// Whenever the power fails on the way, all of the log is in one of the two places, and the store
// knows in which.
#[test]
fn a_log_moves_out_whole_whenever_the_power_fails() {
    let mut cuts = 0;
    for cut in 0.. {
        let disk = SimVfs::new(cut);
        let vfs: Arc<dyn Vfs> = Arc::new(disk.clone());
        let model = filled(&vfs, Path::new(DIR), None);
        disk.power_cut_after(cut);
        let moved = open(&vfs, Some(APART)).map(drop);
        let done = moved.is_ok();
        let disk = disk.crash();
        // Who asks for it inside gets it there, or is told where it is.
        let vfs: Arc<dyn Vfs> = Arc::new(disk.crash_copy(cut));
        match open(&vfs, None) {
            Ok(store) => model.check(&store, GROUP),
            Err(Error::LogElsewhere { .. }) => cuts += 1,
            Err(error) => panic!("cut {cut}: {error:?}"),
        }
        // Another folder is as good, as long as it has not arrived.
        let vfs: Arc<dyn Vfs> = Arc::new(disk.crash_copy(cut));
        match open(&vfs, Some("another")) {
            Ok(store) => {
                model.check(&store, GROUP);
                drop(store);
                // What was begun in the first is worth nothing, and is not taken for a log.
                let stale = open(&vfs, Some(APART));
                assert!(matches!(stale, Err(Error::LogElsewhere { .. })), "{stale:?}");
            }
            Err(Error::LogElsewhere { .. }) => {}
            Err(error) => panic!("cut {cut}: {error:?}"),
        }
        let vfs: Arc<dyn Vfs> = Arc::new(disk);
        let store = open(&vfs, Some(APART)).unwrap_or_else(|error| panic!("cut {cut}: {error:?}"));
        model.check(&store, GROUP);
        let left = vfs.list(&Path::new(DIR).join("log-1")).unwrap();
        assert!(left.is_empty(), "cut {cut}: the log inside is gone: {left:?}");
        if done {
            assert!(cut > 20 && cuts > 3, "{cut} steps, {cuts} of them when it had arrived");
            return;
        }
    }
}

// The way to another place: the folder itself, and not a copy of it, of which nobody knows which
// is the newer.
#[test]
fn a_folder_that_was_moved_is_known_again() {
    let temp = tempfile::tempdir().unwrap();
    let vfs: Arc<dyn Vfs> = Arc::new(OsVfs::new());
    let [dir, first, second] = ["store", "first", "second"].map(|name| temp.path().join(name));
    let model = filled(&vfs, &dir, Some(&first));
    fs::create_dir(&second).unwrap();
    fs::copy(first.join("OWNER"), second.join("OWNER")).unwrap();
    let copied = open_at(&vfs, &dir, Some(&second));
    assert!(matches!(copied, Err(Error::LogElsewhere { .. })), "{copied:?}");
    fs::remove_dir_all(&second).unwrap();
    vfs.rename(&first, &second).unwrap();
    assert!(matches!(open_at(&vfs, &dir, Some(&first)), Err(Error::LogGone { .. })));
    let found = Store::inspect(&vfs, &dir, Some(&second)).unwrap().unwrap();
    assert!(found.holes().is_empty());
    model.check(&open_at(&vfs, &dir, Some(&second)).unwrap(), GROUP);
    assert_eq!(Store::log_dir(&*vfs, &dir).unwrap(), Some(second.clone()));
    // And it may come back.
    vfs.rename(&second, &first).unwrap();
    model.check(&open_at(&vfs, &dir, Some(&first)).unwrap(), GROUP);
}
