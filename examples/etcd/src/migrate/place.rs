//! Putting what was built in its place, so that a crash leaves nothing in between.
//!
//! ```text
//!   step   renames, each durable before the next
//!   1      drystone-migrating          ──► drystone-migrated      from here on it counts
//!   2      drystone-migrated/replica   ──► replica
//!   3      drystone-migrated/peers     ──► peers
//!   4      member                      ──► member.etcd            from here on etcd is out
//!   5      drystone-migrated/identity  ──► identity
//!   6      drystone-migrated, empty, is removed                   from here on we may start
//! ```
//!
//! While `drystone-migrated` is there this server refuses to start ([`crate::data_dir`]), and the
//! command goes on with the steps that are left: each is known by its source still being there.
//! Until step 4 etcd finds everything as it was.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::data_dir::{IDENTITY_FILE, MIGRATED, STORE};
use crate::peers::PEERS_FILE;

/// What etcd's own files are called in the end.
pub(super) const KEPT: &str = "member.etcd";
const ETCD: &str = "member";
const BUILDING: &str = "drystone-migrating";

/// Where the new files are made.
pub(super) fn building(dir: &Path) -> PathBuf {
    dir.join(BUILDING)
}

/// Whether what was built in `dir` counts already, and is not all in its place.
pub(super) fn is_begun(dir: &Path) -> bool {
    dir.join(MIGRATED).exists()
}

/// Whether `dir` was etcd's once, and is ours now.
pub(super) fn was_converted(dir: &Path) -> bool {
    dir.join(KEPT).is_dir() && !is_begun(dir) && dir.join(IDENTITY_FILE).is_file()
}

/// Whether there is something to convert, and nothing in the way.
///
/// # Errors
///
/// If not.
pub(super) fn check_room(dir: &Path) -> Result<()> {
    if !dir.join(ETCD).join("snap/db").is_file() {
        bail!("{} is not a data directory of etcd's: no member/snap/db", dir.display());
    }
    for name in [KEPT, STORE, IDENTITY_FILE, PEERS_FILE] {
        if dir.join(name).exists() {
            bail!("{} is in the way", dir.join(name).display());
        }
    }
    Ok(())
}

/// Whether `to` is free.
///
/// # Errors
///
/// If not.
pub(super) fn check_new(to: &Path) -> Result<()> {
    match fs::read_dir(to).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => bail!("{} is not empty", to.display()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot use {}", to.display())),
    }
}

/// Where a directory is made that is to become `to`.
///
/// # Errors
///
/// If `to` cannot be a directory's name.
pub(super) fn beside(to: &Path) -> Result<PathBuf> {
    let mut name = to.file_name().context("--to does not name a directory")?.to_owned();
    name.push(".");
    name.push(BUILDING);
    Ok(to.with_file_name(name))
}

/// Makes one the other, at once.
///
/// # Errors
///
/// The disk's.
pub(super) fn put_beside(beside: &Path, to: &Path) -> Result<()> {
    let place = || -> io::Result<()> {
        fs::rename(beside, to)?;
        let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    };
    place().with_context(|| format!("cannot make {}", to.display()))
}

/// Makes all in `dir` durable.
///
/// # Errors
///
/// The disk's.
pub(super) fn sync_all(dir: &Path) -> Result<()> {
    fn sync(path: &Path) -> io::Result<()> {
        if path.is_dir() {
            for entry in fs::read_dir(path)? {
                sync(&entry?.path())?;
            }
        }
        File::open(path)?.sync_all()
    }
    sync(dir).with_context(|| format!("cannot sync {}", dir.display()))
}

/// Takes the steps that are left, `steps_max` at most.
///
/// # Errors
///
/// The disk's. The command goes on from there when it is run again.
pub(super) fn put_in_place(dir: &Path, steps_max: usize) -> Result<()> {
    let migrated = dir.join(MIGRATED);
    let moves = [
        (building(dir), migrated.clone()),
        (migrated.join(STORE), dir.join(STORE)),
        (migrated.join(PEERS_FILE), dir.join(PEERS_FILE)),
        (dir.join(ETCD), dir.join(KEPT)),
        (migrated.join(IDENTITY_FILE), dir.join(IDENTITY_FILE)),
    ];
    let left = moves.iter().filter(|(from, _)| from.exists());
    let mut steps = 0;
    for (from, to) in left {
        if steps == steps_max {
            return Ok(());
        }
        let step = || -> io::Result<()> {
            fs::rename(from, to)?;
            if migrated.exists() {
                File::open(&migrated)?.sync_all()?;
            }
            File::open(dir)?.sync_all()
        };
        step().with_context(|| format!("cannot rename {} to {}", from.display(), to.display()))?;
        steps += 1;
    }
    if steps == steps_max {
        return Ok(());
    }
    let end = || fs::remove_dir(&migrated).and_then(|()| File::open(dir)?.sync_all());
    end().with_context(|| format!("cannot remove {}", migrated.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_dir::{DataDir, DataDirError};
    use crate::identity::{ClusterId, Identity, MemberId};

    const IDENTITY: Identity = Identity { cluster: ClusterId(1), member: MemberId(2) };
    const STEPS: usize = 6;

    /// A directory of etcd's in which all has been built.
    fn built() -> tempfile::TempDir {
        let tmp = tempfile::tempdir().unwrap();
        let (dir, made) = (tmp.path(), building(tmp.path()));
        fs::create_dir_all(dir.join("member/snap")).unwrap();
        fs::write(dir.join("member/snap/db"), "etcd's").unwrap();
        fs::create_dir_all(made.join(STORE)).unwrap();
        fs::write(made.join(STORE).join("file"), "ours").unwrap();
        fs::write(made.join(PEERS_FILE), "peers").unwrap();
        let mut new = DataDir::open(&made).unwrap();
        new.keep_identity(IDENTITY).unwrap();
        tmp
    }

    // Wherever the power fails: no server starts on a half, nothing of etcd's is lost, and the same
    // command finishes it.
    #[test]
    fn every_crash_between_two_steps_can_be_gone_on_from() {
        for steps in 0..=STEPS {
            let tmp = built();
            let dir = tmp.path();
            put_in_place(dir, steps).unwrap();
            let opened = DataDir::open(dir);
            match steps {
                0 => assert!(matches!(opened, Err(DataDirError::Etcd { .. }))),
                STEPS => assert_eq!(opened.unwrap().identity(), Some(IDENTITY)),
                _ => assert!(matches!(opened, Err(DataDirError::Interrupted { .. })), "{steps}"),
            }
            let kept = ["member", KEPT].map(|name| dir.join(name).join("snap/db"));
            let kept = kept.iter().filter_map(|file| fs::read_to_string(file).ok());
            assert_eq!(kept.collect::<Vec<_>>(), ["etcd's"], "after {steps} steps");
            assert_eq!(is_begun(dir), (1..STEPS).contains(&steps));
            if steps < STEPS {
                put_in_place(dir, usize::MAX).unwrap();
            }
            assert_eq!(DataDir::open(dir).unwrap().identity(), Some(IDENTITY), "{steps}");
            assert_eq!(fs::read_to_string(dir.join(STORE).join("file")).unwrap(), "ours");
            assert_eq!(fs::read_to_string(dir.join(KEPT).join("snap/db")).unwrap(), "etcd's");
            let mut left: Vec<_> =
                fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name()).collect();
            left.sort();
            assert_eq!(left, [IDENTITY_FILE, KEPT, PEERS_FILE, STORE], "no rubbish");
        }
    }

    // What is in the way of the last step must be seen before the first.
    #[test]
    fn what_is_in_the_way_is_seen_first() {
        let tmp = tempfile::tempdir().unwrap();
        assert!(check_room(tmp.path()).is_err(), "nothing of etcd's");
        let tmp = built();
        assert!(check_room(tmp.path()).is_ok());
        for name in [KEPT, STORE, PEERS_FILE, IDENTITY_FILE] {
            fs::write(tmp.path().join(name), "").unwrap();
            assert!(check_room(tmp.path()).is_err(), "{name}");
            fs::remove_file(tmp.path().join(name)).unwrap();
        }
    }
}
