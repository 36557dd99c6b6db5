//! What the `mason dev` of this user has left for its other commands: where it answers, and the
//! token.
//!
//! A file of the user's alone, in `$XDG_RUNTIME_DIR/mason`, or `~/.mason` where there is none. It
//! is locked as long as `dev` runs, so a file of one that was killed is told from one that lives.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

/// Where a `dev` answers.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Site {
    /// Of its server.
    pub(super) url: String,
    /// What it asks for.
    pub(super) token: String,
    /// Where its data is.
    pub(super) data_dir: PathBuf,
}

/// A site that is told of, until this is dropped.
#[derive(Debug)]
pub(super) struct Told {
    path: PathBuf,
    /// Holds the lock.
    file: File,
}

impl Site {
    /// Where the file is.
    fn path() -> Result<PathBuf> {
        let folder = |name: &str| std::env::var_os(name).filter(|it| !it.is_empty());
        if let Some(folder) = folder("XDG_RUNTIME_DIR") {
            return Ok(PathBuf::from(folder).join("mason/dev.json"));
        }
        let home = folder("HOME").context("neither XDG_RUNTIME_DIR nor HOME is set")?;
        Ok(PathBuf::from(home).join(".mason/dev.json"))
    }

    /// The one that runs now.
    pub(super) fn find() -> Result<Option<Site>> {
        let path = Site::path()?;
        let Ok(file) = File::open(&path) else { return Ok(None) };
        if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
            // Whoever wrote it is gone.
            return Ok(None);
        }
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let site = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        Ok(Some(site))
    }

    /// Takes the place; to be filled when it is known where it answers.
    pub(super) fn take() -> Result<Told> {
        let path = Site::path()?;
        Told::at(&path)
    }
}

impl Told {
    fn at(path: &Path) -> Result<Told> {
        let context = || format!("the file that tells other commands: {}", path.display());
        if let Some(folder) = path.parent() {
            let mut builder = DirBuilder::new();
            builder.recursive(true).mode(0o700).create(folder).with_context(context)?;
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path).with_context(context)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let text = fs::read_to_string(path).unwrap_or_default();
            let there = serde_json::from_str::<Site>(&text).map(|site| site.url);
            let there = there.unwrap_or_else(|_| "and is still starting".to_owned());
            bail!("a `mason dev` of this user runs already: {there}");
        }
        Ok(Told { path: path.to_owned(), file })
    }

    /// Tells where it is.
    pub(super) fn tell(&mut self, site: &Site) -> Result<()> {
        let context = || self.path.display().to_string();
        self.file.set_len(0).with_context(context)?;
        let text = serde_json::to_vec_pretty(site).expect("a site is JSON");
        self.file.write_all(&text).with_context(context)
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        // The lock goes with the process anyway.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two clusters that both believe that they are this user's would answer each other's commands.
    #[test]
    fn a_place_is_taken_once_until_it_is_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/dev.json");
        let mut told = Told::at(&path).unwrap();
        let site = Site {
            url: "http://127.0.0.1:1".to_owned(),
            token: "t".to_owned(),
            data_dir: PathBuf::from("/d"),
        };
        told.tell(&site).unwrap();
        let refused = Told::at(&path).unwrap_err().to_string();
        assert!(refused.contains("http://127.0.0.1:1"), "{refused}");
        drop(told);
        assert!(!path.exists());
        Told::at(&path).unwrap();
    }
}
