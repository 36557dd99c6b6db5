//! A start on a directory of etcd's: the conversion as a part of it.
//!
//! Scripts restore a copy with `etcdutl` and start etcd on what that has made; packages replace a
//! program and start the unit again. Neither knows of another command in between, so with the same
//! command line as etcd's the data go on. What makes that safe to do unasked is that nothing of
//! etcd's is changed: its files are renamed, the log says where to, and the README how to go back.
//!
//! ```text
//!   --data-dir D                  D/member ──► D/member.etcd
//!   --data-dir D --wal-dir W      and W ──► W.etcd, where etcd had its journal in W: ours is
//!                                 then moved to W, by the start
//! ```
//!
//! Renaming `W` comes last, once all else is in its place: a crash leaves it to the next start,
//! which sees etcd's journal in the place of its own.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use drystone_kv::EngineKind;

use super::{Migrate, in_place, place};
use crate::{data_dir, log_dir};

/// Makes `data_dir` this server's, if it is etcd's or was left half converted.
///
/// # Errors
///
/// If etcd uses it, something in it is damaged, or the disk refuses. etcd's files are then as they
/// were.
pub(crate) fn at_start(
    data_dir: &Path,
    wal_dir: Option<&Path>,
    engine: Option<EngineKind>,
) -> Result<()> {
    let etcds_wal = wal_dir.filter(|dir| log_dir::is_etcds(dir));
    if place::is_begun(data_dir) || data_dir::is_etcds(data_dir) {
        let told = Migrate {
            data_dir: data_dir.to_owned(),
            wal_dir: etcds_wal.map(Path::to_owned),
            to: None,
            storage_engine: engine,
        };
        let dir = data_dir.display();
        tracing::info!(%dir, "the data directory was written by etcd; converting it");
        let moved = in_place(&told).with_context(|| format!("cannot convert {dir}"))?;
        let what = moved.map(|moved| moved.text(data_dir));
        let what = what.unwrap_or_else(|| "finished what was begun".to_owned());
        let kept = data_dir.join(place::KEPT);
        tracing::info!(what, kept = %kept.display(), "converted the data that etcd had written");
    }
    match etcds_wal {
        Some(dir) if place::was_converted(data_dir) => set_aside(dir),
        _ => Ok(()),
    }
}

/// Makes room for a journal of ours where etcd's was.
fn set_aside(dir: &Path) -> Result<()> {
    let mut aside = dir.as_os_str().to_owned();
    aside.push(".etcd");
    let aside = PathBuf::from(aside);
    let rename = || -> io::Result<()> {
        if fs::symlink_metadata(&aside).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        fs::rename(dir, &aside)?;
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    };
    rename().with_context(|| {
        format!(
            "etcd's journal is in {} and cannot be renamed to {}: move its files away, or let \
             --wal-dir name another directory",
            dir.display(),
            aside.display()
        )
    })?;
    tracing::info!(from = %dir.display(), to = %aside.display(), "etcd's journal is kept");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    // What is no directory of etcd's is left to the checks of a usual start.
    #[test]
    fn nothing_else_is_touched() {
        let tmp = tempfile::tempdir().unwrap();
        let (data, wal) = (tmp.path().join("data"), tmp.path().join("wal"));
        at_start(&data, Some(&wal), None).unwrap();
        assert!(!data.exists() && !wal.exists());
        fs::create_dir_all(&data).unwrap();
        fs::create_dir_all(&wal).unwrap();
        // A journal of etcd's beside data that never were etcd's is somebody else's.
        fs::write(wal.join("0000000000000000-0000000000000000.wal"), "").unwrap();
        at_start(&data, Some(&wal), None).unwrap();
        assert!(wal.exists(), "not set aside");
    }

    // A second conversion into the same place must not bury the first one's journal.
    #[test]
    fn what_was_set_aside_before_is_not_replaced() {
        let tmp = tempfile::tempdir().unwrap();
        let wal = tmp.path().join("wal");
        fs::create_dir_all(&wal).unwrap();
        fs::create_dir_all(tmp.path().join("wal.etcd")).unwrap();
        let error = set_aside(&wal).unwrap_err();
        assert!(format!("{error:#}").contains("let --wal-dir name another"), "{error:#}");
        assert!(wal.exists());
    }
}
