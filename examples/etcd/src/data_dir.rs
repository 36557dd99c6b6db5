//! The data directory: whose it is, and who the member in it is.
//!
//! ```text
//! <data-dir>/            mode 0700
//!     identity           one line, written once: who this member is, for good
//!     identity.tmp       the same on its way
//!     peers              where the others were ([`crate::peers`])
//!     replica/           the store's own folder; it checks and locks it. The journal is in it, or
//!                        in a directory of its own ([`crate::log_dir`])
//! ```
//!
//! ```text
//! identity = "drystone-etcd 2 cluster=<16 hex> member=<16 hex> crc=<8 hex>\n"
//!            crc is the CRC-32 of all bytes before " crc="
//! ```
//!
//! Version 1 was that of a server with one member and no consensus log; it is refused by name.
//!
//! A directory that real etcd has written is refused: a member that started empty on top of it
//! would look like one that has lost its data. [`crate::migrate`] converts it before it comes to
//! that, unless it is told not to; one that it was stopped in the midst of is refused as well.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::Mode;

use crate::identity::{ClusterId, Identity, MemberId};
use crate::log_dir;

pub(crate) const IDENTITY_FILE: &str = "identity";
/// Where the store lives.
pub(crate) const STORE: &str = "replica";
const IDENTITY_TMP: &str = "identity.tmp";
const FORMAT_NAME: &str = "drystone-etcd";
pub(crate) const FORMAT_VERSION: u32 = 2;
/// More than an identity line takes; a longer file is not one.
const IDENTITY_BYTES_MAX: u64 = 128;
/// Where etcd keeps its database and its journal.
const ETCD_FILES: [&str; 2] = ["member/snap/db", "member/wal"];
/// What a conversion from etcd has made, until all of it is in its place ([`crate::migrate`]).
pub(crate) const MIGRATED: &str = "drystone-migrated";

/// A directory that may be used.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    identity: Option<Identity>,
}

/// Why a data directory cannot be used. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataDirError {
    /// It is something else.
    #[error("{} is not a directory", .0.display())]
    NotADirectory(PathBuf),
    /// etcd's own.
    #[error(
        "{} was written by etcd itself (found {}); to go on with its data here, run once: \
         drystone-etcd migrate --data-dir {}",
        dir.display(),
        found.display(),
        dir.display()
    )]
    Etcd {
        /// The directory.
        dir: PathBuf,
        /// What gives it away.
        found: PathBuf,
    },
    /// Half etcd's own.
    #[error(
        "{} is being converted from etcd's own, and that was interrupted; to finish it, run again: \
         drystone-etcd migrate --data-dir {}",
        dir.display(),
        dir.display()
    )]
    Interrupted {
        /// The directory.
        dir: PathBuf,
    },
    /// A newer program's.
    #[error("{} names format version {version}, which this build does not know", file.display())]
    Version {
        /// The file that says so.
        file: PathBuf,
        /// The version it names.
        version: u32,
    },
    /// Not what was written.
    #[error("{} is damaged: {reason}", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The file system refused.
    #[error("cannot use {}", file.display())]
    Io {
        /// The file or directory concerned.
        file: PathBuf,
        /// What it said.
        source: Arc<io::Error>,
    },
}

impl DataDir {
    /// Takes `path`, if it can be used. Where there is nothing, nothing is made yet.
    pub(crate) fn open(path: &Path) -> Result<DataDir, DataDirError> {
        let io_error = |error| DataDirError::io(path, error);
        match fs::metadata(path) {
            Ok(found) if !found.is_dir() => {
                return Err(DataDirError::NotADirectory(path.to_path_buf()));
            }
            Ok(found) if found.permissions().mode() & 0o077 != 0 => {
                let mode = format!("{:o}", found.permissions().mode() & 0o777);
                tracing::warn!(dir = %path.display(), mode, "data directory is open to others");
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let path = std::path::absolute(path).map_err(io_error)?;
                return Ok(DataDir { path, identity: None });
            }
            Err(error) => return Err(io_error(error)),
        }
        let path = path.canonicalize().map_err(io_error)?;
        let identity = look(&path)?;
        Ok(DataDir { path, identity })
    }

    /// Makes the directory where there is none. Not before it is known that the member can start:
    /// what is left of one that could not would be in the way of the next.
    pub(crate) fn make(&self) -> Result<(), DataDirError> {
        let mut dir = DirBuilder::new();
        let made = dir.recursive(true).mode(0o700).create(&self.path);
        made.map_err(|error| DataDirError::io(&self.path, error))
    }

    /// The directory, from the root on.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the store lives.
    pub(crate) fn store(&self) -> PathBuf {
        self.path.join(STORE)
    }

    /// Who the member is, if it has been started before.
    pub(crate) fn identity(&self) -> Option<Identity> {
        self.identity
    }

    /// Writes down who the member is, if that has not been done. The store must be open, and
    /// thereby locked: two processes must not both do this.
    pub(crate) fn keep_identity(&mut self, identity: Identity) -> Result<(), DataDirError> {
        if self.identity.is_some() {
            return Ok(());
        }
        let tmp = self.path.join(IDENTITY_TMP);
        let write = || {
            let mut file = File::create(&tmp)?;
            file.write_all(encode(identity).as_bytes())?;
            file.sync_all()?;
            fs::rename(&tmp, self.path.join(IDENTITY_FILE))?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(|error| DataDirError::io(&tmp, error))?;
        self.identity = Some(identity);
        Ok(())
    }
}

/// Who the member in `dir` is, if it has been started before; an error if the directory is etcd's
/// own, or the identity is damaged.
pub(crate) fn look(dir: &Path) -> Result<Option<Identity>, DataDirError> {
    if dir.join(MIGRATED).exists() {
        return Err(DataDirError::Interrupted { dir: dir.to_path_buf() });
    }
    if let Some(found) = etcds_file(dir) {
        return Err(DataDirError::Etcd { dir: dir.to_path_buf(), found });
    }
    read_identity(&identity_file(dir))
}

/// Whether etcd itself keeps its data in `dir`.
pub(crate) fn is_etcds(dir: &Path) -> bool {
    etcds_file(dir).is_some()
}

/// What gives away that `dir` is etcd's own.
fn etcds_file(dir: &Path) -> Option<PathBuf> {
    let files = ETCD_FILES.map(|file| dir.join(file));
    // Whoever names etcd's usual place for a journal has one of ours there.
    files.into_iter().find(|found| found.exists() && !log_dir::is_one(found))
}

/// The file that says who the member is.
pub(crate) fn identity_file(dir: &Path) -> PathBuf {
    dir.join(IDENTITY_FILE)
}

impl DataDirError {
    fn io(file: &Path, error: io::Error) -> DataDirError {
        DataDirError::Io { file: file.to_path_buf(), source: Arc::new(error) }
    }
}

fn encode(identity: Identity) -> String {
    let (cluster, member) = (identity.cluster.0, identity.member.0);
    let line =
        format!("{FORMAT_NAME} {FORMAT_VERSION} cluster={cluster:016x} member={member:016x}");
    let crc = crc32fast::hash(line.as_bytes());
    format!("{line} crc={crc:08x}\n")
}

fn read_identity(file: &Path) -> Result<Option<Identity>, DataDirError> {
    let mut text = String::new();
    match File::open(file).and_then(|f| f.take(IDENTITY_BYTES_MAX).read_to_string(&mut text)) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            let reason = "it is not text";
            return Err(DataDirError::Damaged { file: file.to_path_buf(), reason });
        }
        Err(error) => return Err(DataDirError::io(file, error)),
    }
    decode(&text).map(Some).map_err(|problem| match problem {
        Problem::Version(version) => DataDirError::Version { file: file.to_path_buf(), version },
        Problem::Damaged(reason) => DataDirError::Damaged { file: file.to_path_buf(), reason },
    })
}

#[derive(Debug, PartialEq, Eq)]
enum Problem {
    Version(u32),
    Damaged(&'static str),
}

fn decode(text: &str) -> Result<Identity, Problem> {
    let damaged = || Problem::Damaged("it does not hold the line that was written");
    let rest = text.strip_prefix(FORMAT_NAME).and_then(|rest| rest.strip_prefix(' '));
    let (version, _) = rest.and_then(|rest| rest.split_once(' ')).ok_or_else(damaged)?;
    let version: u32 = version.parse().map_err(|_| damaged())?;
    if version != FORMAT_VERSION {
        return Err(Problem::Version(version));
    }
    let mut fields = text.trim_end().split(' ').skip(2);
    let mut number = |name: &str| {
        let value = fields.next()?.strip_prefix(name)?.strip_prefix('=')?;
        u64::from_str_radix(value, 16).ok()
    };
    let cluster = ClusterId(number("cluster").ok_or_else(damaged)?);
    let member = MemberId(number("member").ok_or_else(damaged)?);
    let identity = Identity { cluster, member };
    // One line has one spelling: the checksum, and that nothing follows, are checked at once.
    if encode(identity) == text { Ok(identity) } else { Err(damaged()) }
}

/// From here on the process makes files and directories for their owner alone: what it makes holds
/// keys, and hashes of passwords.
pub(crate) fn for_owner_only() {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: Identity = Identity { cluster: ClusterId(0x1), member: MemberId(0xab) };

    // The numbers are kept for ever; a changed byte must not become another member.
    #[test]
    fn identity_survives_and_no_changed_byte_passes() {
        let line = encode(IDENTITY);
        assert_eq!(decode(&line), Ok(IDENTITY));
        for at in 0..line.len() {
            let mut bytes = line.clone().into_bytes();
            bytes[at] ^= 1;
            let Ok(text) = String::from_utf8(bytes) else { continue };
            assert!(decode(&text).is_err(), "byte {at}");
            assert!(decode(&line[..at]).is_err(), "cut at {at}");
        }
        assert_eq!(decode("drystone-etcd 7 x\n"), Err(Problem::Version(7)));
    }

    // The first start decides; later flags must not rename a member.
    #[test]
    fn first_start_decides_who_the_member_is() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("a/b");
        let mut dir = DataDir::open(&path).unwrap();
        assert!(!path.exists());
        dir.make().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(dir.identity(), None);
        dir.keep_identity(IDENTITY).unwrap();
        let other = Identity { cluster: ClusterId(9), member: MemberId(9) };
        dir.keep_identity(other).unwrap();
        assert_eq!(DataDir::open(&path).unwrap().identity(), Some(IDENTITY));
    }

    // Every refusal names the file and leaves the directory as it was.
    #[test]
    fn foreign_directories_are_refused() {
        let tmp = tempfile::tempdir().unwrap();
        let file = tmp.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(matches!(DataDir::open(&file), Err(DataDirError::NotADirectory(_))));
        let etcd = tmp.path().join("etcd");
        fs::create_dir_all(etcd.join("member/snap")).unwrap();
        fs::write(etcd.join("member/snap/db"), "x").unwrap();
        assert!(matches!(DataDir::open(&etcd), Err(DataDirError::Etcd { .. })));
    }
}
