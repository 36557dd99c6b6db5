//! Files and folders of a store: nothing has its name before it is whole and on disk.

use std::fs::{self, File};
use std::io::{self, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::image::digest::{Digest, Hasher};
use crate::image::error::Error;

/// Makes the folders of a store; answers its lock file, not yet locked.
pub(super) fn prepare(root: &Path) -> Result<File, Error> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    for folder in ["blobs/sha256", "layers", "tmp"] {
        let folder = root.join(folder);
        builder.create(&folder).map_err(|error| Error::io(&folder, error))?;
    }
    let closed = fs::Permissions::from_mode(0o700);
    fs::set_permissions(root, closed).map_err(|error| Error::io(root, error))?;
    let path = root.join("lock");
    let mut options = File::options();
    options.create(true).truncate(false).write(true);
    options.open(&path).map_err(|error| Error::io(&path, error))
}

/// Takes away what was in the making when a process died.
pub(super) fn sweep(root: &Path) -> Result<(), Error> {
    let folder = root.join("tmp");
    for entry in fs::read_dir(&folder).map_err(|error| Error::io(&folder, error))? {
        let path = entry.map_err(|error| Error::io(&folder, error))?.path();
        delete(&path).map_err(|error| Error::io(&path, error))?;
    }
    Ok(())
}

/// Takes away a file, or a folder with all that is in it. Links in it are not followed.
pub(super) fn delete(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
}

/// A file's length; 0 if there is none.
pub(super) fn bytes(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |found| found.len())
}

/// Puts bytes at a path, all or nothing, by way of `temp`.
pub(super) fn replace(temp: &Path, path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let written = (|| {
        let mut file = File::create(temp)?;
        file.write_all(bytes)?;
        file.sync_all()
    })();
    written.map_err(|error| Error::io(temp, error))?;
    rename(temp, path)
}

/// Renames, and makes the new name last.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).map_err(|error| Error::io(to, error))?;
    let parent = to.parent().expect("files of a store are below its root");
    let synced = File::open(parent).and_then(|folder| folder.sync_all());
    synced.map_err(|error| Error::io(parent, error))
}

/// A blob in the making: a file in `tmp`, hashed while it grows. Deleted unless it is finished.
#[derive(Debug)]
pub(crate) struct Staging {
    path: TempPath,
    file: File,
    hasher: Hasher,
    size: u64,
}

/// A whole blob that has no name yet. Deleted unless it is kept.
#[derive(Debug)]
pub(crate) struct Staged {
    path: TempPath,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

#[derive(Debug)]
struct TempPath(PathBuf);

impl Drop for TempPath {
    fn drop(&mut self) {
        // After it was renamed there is nothing left. If it stays, the next open sweeps it.
        let _ = fs::remove_file(&self.0);
    }
}

impl Staging {
    pub(super) fn new(path: PathBuf) -> Result<Staging, Error> {
        let file = File::create_new(&path).map_err(|error| Error::io(&path, error))?;
        Ok(Staging { path: TempPath(path), file, hasher: Hasher::default(), size: 0 })
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(|error| Error::io(&self.path.0, error))?;
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Back to nothing.
    pub(crate) fn restart(&mut self) -> Result<(), Error> {
        let cut = self.file.set_len(0).and_then(|()| self.file.rewind());
        cut.map_err(|error| Error::io(&self.path.0, error))?;
        self.hasher = Hasher::default();
        self.size = 0;
        Ok(())
    }

    /// Takes in a reader's bytes, `limit` at most.
    pub(crate) fn fill(
        &mut self,
        what: &str,
        from: &mut dyn io::Read,
        limit: u64,
    ) -> Result<(), Error> {
        let mut buf = vec![0; 128 << 10];
        loop {
            let count = match from.read(&mut buf) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::bad(what, error.to_string())),
            };
            if self.size + count as u64 > limit {
                let limit_name = "blob_bytes_max";
                return Err(Error::TooLarge { what: what.to_owned(), limit_name, limit });
            }
            self.write(&buf[..count])?;
        }
    }

    /// Whole, and on disk.
    pub(crate) fn finish(self) -> Result<Staged, Error> {
        self.file.sync_all().map_err(|error| Error::io(&self.path.0, error))?;
        Ok(Staged { path: self.path, digest: self.hasher.finish(), size: self.size })
    }
}

impl Staged {
    pub(crate) fn open(&self) -> Result<File, Error> {
        File::open(&self.path.0).map_err(|error| Error::io(&self.path.0, error))
    }

    pub(super) fn keep_as(self, path: &Path) -> Result<(), Error> {
        if path.exists() {
            return Ok(());
        }
        rename(&self.path.0, path)
    }
}

/// A layer in the making. Deleted unless it is kept.
#[derive(Debug)]
pub(super) struct TempFolder {
    pub(super) path: PathBuf,
}

impl TempFolder {
    pub(super) fn new(path: PathBuf) -> Result<TempFolder, Error> {
        let made = fs::create_dir(&path).and_then(|()| {
            // What a container sees as `/`, unless the layer says otherwise.
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
        });
        made.map_err(|error| Error::io(&path, error))?;
        Ok(TempFolder { path })
    }

    pub(super) fn keep_as(self, path: &Path) -> Result<(), Error> {
        rename(&self.path, path)
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        // After it was renamed there is nothing left. If it stays, the next open sweeps it.
        let _ = fs::remove_dir_all(&self.path);
    }
}
