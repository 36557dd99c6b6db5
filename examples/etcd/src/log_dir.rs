//! A directory for the journal alone: `--wal-dir`.
//!
//! Nothing is acknowledged before the journal is synced, and a disk that the engine writes to syncs
//! slowly. So the journal may be on another disk. What keeps the two directories together is
//! [`drystone_raft::store`]'s: each names the other, and a start that misses one is refused.
//!
//! ```text
//!     <data-dir>/replica/raft/APART    the journal is over there; states on their way stay here
//!     <wal-dir>/OWNER, LOCK            whose it is, and who uses it
//!     <wal-dir>/log-1/                 the journal
//!     <wal-dir>/reserve                room kept back on that disk ([`crate::space`])
//! ```

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use drystone_kv::Error;
use drystone_raft::runtime::Error as NodeError;
use drystone_raft::store::Error as LogError;

use crate::error_text;

/// The file by which a journal's directory is known.
const OWNER: &str = "OWNER";

/// Whether this server keeps, or has begun to keep, a journal in `dir`.
pub(crate) fn is_one(dir: &Path) -> bool {
    dir.join(OWNER).exists()
}

/// The directory from the root on, by its one name: it is written down, and compared.
///
/// # Errors
///
/// If it is no directory, or cannot be looked at.
pub(crate) fn resolve(dir: &Path) -> Result<PathBuf> {
    let cannot = || format!("cannot use the journal's directory {}", dir.display());
    match fs::metadata(dir) {
        Ok(found) if !found.is_dir() => bail!("{} is not a directory", dir.display()),
        Ok(found) if found.permissions().mode() & 0o077 != 0 => {
            let mode = format!("{:o}", found.permissions().mode() & 0o777);
            tracing::warn!(dir = %dir.display(), mode, "the journal's directory is open to others");
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(cannot),
    }
    let whole = std::path::absolute(dir).with_context(cannot)?;
    // What is not there yet has no links in it.
    for above in whole.ancestors() {
        match above.canonicalize() {
            Ok(found) => {
                let rest = whole.strip_prefix(above).unwrap_or(Path::new(""));
                // To join nothing would end in a slash.
                return Ok(if rest.as_os_str().is_empty() { found } else { found.join(rest) });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(cannot),
        }
    }
    Ok(whole)
}

/// Why the store could not be opened, with what to do about it.
pub(crate) fn cannot_open(error: &Error) -> anyhow::Error {
    let text = match (error, log_error(error)) {
        (Error::WrongEngine { found, .. }, _) => {
            format!("{}; start with --storage-engine={found}", error_text::chain(error))
        }
        (_, log) => log.and_then(advice).unwrap_or_else(|| error_text::chain(error)),
    };
    anyhow!("cannot open the data: {text}")
}

fn log_error(error: &Error) -> Option<&LogError> {
    match error {
        Error::Log(NodeError::Store(error)) => Some(error),
        _ => None,
    }
}

/// What to do about journals and directories that do not belong together.
fn advice(error: &LogError) -> Option<String> {
    Some(match error {
        LogError::LogElsewhere { kept, .. } => {
            let kept = kept.display();
            format!(
                "{error}; start with --wal-dir={kept}, or, to have it in another directory: move \
                 {kept} there as a whole while no member runs, leave no copy behind, and start \
                 with --wal-dir naming that directory"
            )
        }
        LogError::LogGone { .. } => format!(
            "{error}; see whether its disk is mounted. If it was moved, start with --wal-dir \
             naming where it is now; if it is lost, remove this member from its cluster and add \
             another one"
        ),
        LogError::LogTaken { .. } => {
            format!("{error}; each member needs a --wal-dir of its own")
        }
        LogError::LogForeign { dir, .. } if is_etcds(dir) => {
            format!("{error}, which is of etcd's own journal; let --wal-dir name another directory")
        }
        LogError::LogForeign { .. } => {
            format!("{error}; let --wal-dir name an empty directory, or one that is not there yet")
        }
        _ => return None,
    })
}

/// Whether etcd keeps its journal in `dir`, in which there is more than that (`0.tmp`).
pub(crate) fn is_etcds(dir: &Path) -> bool {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).any(|file| file.extension().is_some_and(|it| it == "wal"))
}

#[cfg(test)]
mod tests {
    use super::*;

    // The name is kept for ever: a link on the way must not make it another one the second time.
    #[test]
    fn a_directory_has_one_name_before_it_is_there_and_after() {
        let tmp = tempfile::tempdir().unwrap();
        let real = tmp.path().canonicalize().unwrap().join("real");
        fs::create_dir(&real).unwrap();
        let link = tmp.path().join("link");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let before = resolve(&link.join("a/b")).unwrap();
        fs::create_dir_all(link.join("a/b")).unwrap();
        assert_eq!(resolve(&link.join("a/b")).unwrap(), before);
        assert_eq!(before, real.join("a/b"));
        fs::write(real.join("file"), "").unwrap();
        assert!(resolve(&real.join("file")).is_err());
        assert!(resolve(&real.join("file/within")).is_err());
    }
}
