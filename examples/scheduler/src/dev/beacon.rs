//! Where a `mason dev` answers, written down for the other commands of the same user.
//!
//! ```text
//!   $XDG_RUNTIME_DIR/mason/dev.json   or, of root, /run/mason/dev.json
//!   ~/.config/mason/dev.json          where there is no such folder
//!   {"url":"http://127.0.0.1:7800","token":"…","pid":4711,"data_dir":"/var/lib/mason-dev"}
//! ```
//!
//! The token is in it: it is for its user alone (0600), and it is replaced whole. Beside it lies
//! `dev.lock`, which the `dev` holds while it runs; a file whose lock nobody holds was left behind.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

/// Where a `dev` answers.
#[derive(Clone, Serialize, Deserialize)]
pub struct Beacon {
    /// Where its server answers.
    pub url: String,
    /// What its server asks for.
    pub token: String,
    /// Its process.
    pub pid: u32,
    /// Where all of it is.
    pub data_dir: PathBuf,
}

impl std::fmt::Debug for Beacon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Beacon").field("url", &self.url).field("pid", &self.pid).finish()
    }
}

/// The place of the beacon, taken by a `dev` that runs.
#[derive(Debug)]
pub struct Place {
    file: PathBuf,
    _lock: File,
}

/// The folder of this user's beacon.
fn folder() -> Result<PathBuf> {
    let named = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(folder) = named("XDG_RUNTIME_DIR") {
        return Ok(folder.join("mason"));
    }
    if rustix::process::geteuid().is_root() {
        return Ok("/run/mason".into());
    }
    match named("XDG_CONFIG_HOME").or_else(|| Some(named("HOME")?.join(".config"))) {
        Some(folder) => Ok(folder.join("mason")),
        None => bail!("there is no folder for files of this user: set XDG_RUNTIME_DIR or HOME"),
    }
}

impl Beacon {
    /// The one that this user's `dev` has left, if it runs.
    ///
    /// # Errors
    /// If there is one that does not read.
    pub fn find() -> Result<Option<Beacon>> {
        let Ok(folder) = folder() else { return Ok(None) };
        Beacon::read(&folder.join("dev.json"))
    }

    fn read(file: &Path) -> Result<Option<Beacon>> {
        let text = match fs::read(file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| file.display().to_string()),
        };
        let beacon = serde_json::from_slice(&text);
        beacon.map(Some).with_context(|| format!("{} does not read", file.display()))
    }
}

impl Place {
    /// Takes the place, unless another `dev` of this user has it.
    ///
    /// # Errors
    /// If one has; it says where. Or the file system refuses.
    pub fn take() -> Result<Place> {
        Place::take_in(&folder()?)
    }

    fn take_in(folder: &Path) -> Result<Place> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.with_context(|| format!("make {}", folder.display()))?;
        let (file, path) = (folder.join("dev.json"), folder.join("dev.lock"));
        let mut open = OpenOptions::new();
        let lock = open.write(true).create(true).truncate(false).mode(0o600).open(&path);
        let lock = lock.with_context(|| path.display().to_string())?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            match Beacon::read(&file)? {
                Some(Beacon { url, pid, .. }) => {
                    bail!("a `mason dev` runs already: process {pid}, which answers at {url}")
                }
                None => bail!("a `mason dev` runs already, and is about to answer"),
            }
        }
        Ok(Place { file, _lock: lock })
    }

    /// Writes down where it answers.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn light(&self, beacon: &Beacon) -> Result<()> {
        let context = || self.file.display().to_string();
        let temp = self.file.with_extension("new");
        // What lies there is of one that was killed, or a link of somebody else's.
        let _ = fs::remove_file(&temp);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temp);
        let mut file = file.with_context(context)?;
        let text = serde_json::to_vec(beacon).expect("a beacon is JSON");
        file.write_all(&text).with_context(context)?;
        fs::rename(&temp, &self.file).with_context(context)
    }

    /// Where it is written down.
    pub fn file(&self) -> &Path {
        &self.file
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // The lock file stays: removed, two could hold one each.
        let _ = fs::remove_file(&self.file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two of them would fight for one port and one folder, and whoever asks would not know whom.
    #[test]
    fn a_second_dev_is_told_of_the_first() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let place = Place::take_in(folder.path()).unwrap();
        let url = "http://127.0.0.1:1".to_owned();
        let beacon = Beacon { url, token: "secret".into(), pid: 7, data_dir: "/x".into() };
        place.light(&beacon).unwrap();
        let mode = fs::metadata(place.file()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "the token is in it");
        let refused = Place::take_in(folder.path()).unwrap_err().to_string();
        assert!(refused.contains("process 7") && refused.contains("127.0.0.1:1"), "{refused}");
        assert!(!refused.contains("secret") && !format!("{beacon:?}").contains("secret"));
        let file = place.file().to_owned();
        drop(place);
        assert!(!file.exists(), "nobody is sent to one that has ended");
        Place::take_in(folder.path()).unwrap();
    }
}
