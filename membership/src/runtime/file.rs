//! The snapshot's file: who was there, for the day when all have been down.
//!
//! ```text
//!     Persist ─► the latest snapshot ─► members.new: write, sync ─► rename ─► sync the folder
//!                (an older one that still waits is replaced)      a thread of its own
//! ```
//!
//! The file is the old one or the new one at any moment. That it cannot be written is logged and
//! counted, and no reason to leave a cluster; that it cannot be read is said before anything
//! begins, and the file is left as it is: whoever removes it knows what is lost.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};

use super::error::{Error, Result};
use super::metrics::{Counters, count};
use crate::snapshot::Snapshot;

/// Reads it; none if there is none yet.
pub(super) async fn read(path: &Path) -> Result<Option<Snapshot>> {
    let refused = |source| Error::File { path: path.to_owned(), source };
    let from = path.to_owned();
    let bytes = match spawn_blocking(move || read_bytes(&from)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(error)) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Ok(Err(error)) => return Err(refused(error)),
        Err(_) => return Err(Error::Stopped),
    };
    match Snapshot::decode(&bytes) {
        Ok(snapshot) => Ok(Some(snapshot)),
        Err(crate::Error::Snapshot { offset, what }) => {
            Err(Error::Damaged { path: path.to_owned(), offset, what })
        }
        Err(other) => Err(other.into()),
    }
}

#[expect(clippy::disallowed_methods, reason = "one small file, which no crate of ours holds")]
fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(path)
}

/// Puts the new file in the place of the old one.
#[expect(clippy::disallowed_methods, reason = "one small file, which no crate of ours holds")]
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&beside)?;
    file.write_all(bytes)?;
    // Before it gets the name: or a crash leaves the name with nothing behind it.
    file.sync_all()?;
    drop(file);
    std::fs::rename(&beside, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Writes snapshots, one after the other, and of those that wait the latest alone.
#[derive(Debug)]
pub(super) struct Saver {
    latest: watch::Sender<Vec<u8>>,
    task: JoinHandle<()>,
}

impl Saver {
    pub(super) fn new(path: PathBuf, counters: Arc<Counters>) -> Saver {
        let (latest, saved) = watch::channel(Vec::new());
        Saver { latest, task: tokio::spawn(run(path, saved, counters)) }
    }

    pub(super) fn save(&self, snapshot: &Snapshot) {
        self.latest.send_replace(snapshot.encode());
    }

    /// Returns when the last is on disk, or was refused.
    pub(super) async fn finish(self) {
        drop(self.latest);
        drop(self.task.await);
    }
}

async fn run(path: PathBuf, mut latest: watch::Receiver<Vec<u8>>, counters: Arc<Counters>) {
    while latest.changed().await.is_ok() {
        let bytes = latest.borrow_and_update().clone();
        let to = path.clone();
        match spawn_blocking(move || replace(&to, &bytes)).await {
            Ok(Ok(())) => count(&counters.snapshots),
            Ok(Err(error)) => {
                count(&counters.snapshots_failed);
                tracing::warn!(path = %path.display(), %error, "the snapshot was not saved");
            }
            // The runtime ends.
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // A crash while the file is written must leave the old one, so the new one is written beside
    // it; what such a crash has left there must not be in the way.
    #[test]
    fn a_file_is_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("members");
        std::fs::create_dir(folder.path().join("away")).unwrap();
        replace(&path, b"first").unwrap();
        #[expect(clippy::disallowed_methods, reason = "what a crash has left")]
        std::fs::write(folder.path().join("members.new"), b"half of something longer").unwrap();
        replace(&path, b"second").unwrap();
        assert_eq!(read_bytes(&path).unwrap(), b"second");
        assert!(replace(&folder.path().join("nowhere/members"), b"third").is_err());
    }
}
