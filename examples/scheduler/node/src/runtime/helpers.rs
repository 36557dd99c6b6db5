//! The two programs that lie beside and in a container, carried inside this one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// The keeper.
const SHIM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/mason-shim"));
/// The first process.
const INIT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/mason-init"));

/// Where the two programs lie.
#[derive(Clone, Debug)]
pub struct Helpers {
    /// `mason-shim`.
    pub shim: PathBuf,
    /// `mason-init`.
    pub init: PathBuf,
}

impl Helpers {
    /// Writes them into a folder, under names that say what is in them, and removes those of other
    /// versions: a keeper that still runs has its file open.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn install(folder: &Path) -> io::Result<Helpers> {
        fs::create_dir_all(folder)?;
        let shim = write(folder, "mason-shim", SHIM)?;
        let init = write(folder, "mason-init", INIT)?;
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path != shim && path != init {
                fs::remove_file(path)?;
            }
        }
        Ok(Helpers { shim, init })
    }
}

fn write(folder: &Path, name: &str, program: &[u8]) -> io::Result<PathBuf> {
    let hash = Sha256::digest(program);
    let hash: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let path = folder.join(format!("{name}-{hash}"));
    // A file that is there was renamed whole; but somebody may have changed it since.
    if fs::read(&path).is_ok_and(|found| found == program) {
        return Ok(path);
    }
    let draft = folder.join(format!("{name}.new"));
    let mut file = File::create(&draft)?;
    file.write_all(program)?;
    file.set_permissions(fs::Permissions::from_mode(0o755))?;
    file.sync_all()?;
    drop(file);
    fs::rename(&draft, &path)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A helper that somebody changed would run as root.
    #[test]
    fn programs_are_written_once_and_mended() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("mason-shim-0000000000000000"), "old").unwrap();
        let helpers = Helpers::install(folder.path()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        fs::write(&helpers.init, "changed").unwrap();
        let again = Helpers::install(folder.path()).unwrap();
        assert_eq!(again.init, helpers.init);
        assert_eq!(fs::read(&again.init).unwrap(), INIT);
        assert_eq!(fs::metadata(&again.shim).unwrap().permissions().mode() & 0o777, 0o755);
    }
}
