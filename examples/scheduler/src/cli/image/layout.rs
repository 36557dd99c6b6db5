//! An OCI layout that is a folder, sent as the archive that it would be as a file.
//!
//! ```text
//!   folder/oci-layout, index.json         header │ bytes │ zeros up to 512 │ header │ …
//!   folder/blobs/sha256/7bc91e…     ──►   … │ 1,024 zeros
//! ```
//!
//! Only what belongs to a layout is sent, whatever else lies there. Nothing is read into memory: an
//! image may be larger than that.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

/// What an archive is made of.
const BLOCK: usize = 512;

/// A part of the archive.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// These bytes.
    Bytes(Vec<u8>),
    /// So many bytes of this file.
    File(PathBuf, u64),
}

/// The archive, part by part.
pub(super) fn parts(folder: &Path) -> Result<VecDeque<Part>> {
    let shown = folder.display();
    let index = folder.join("index.json");
    ensure!(index.is_file(), "{shown} is a folder without an index.json: no OCI layout");
    let mut names = vec!["index.json".to_owned()];
    if folder.join("oci-layout").is_file() {
        names.push("oci-layout".to_owned());
    }
    for kind in list(&folder.join("blobs"))? {
        for blob in list(&folder.join("blobs").join(&kind))? {
            names.push(format!("blobs/{kind}/{blob}"));
        }
    }
    let mut parts = VecDeque::new();
    for name in names {
        let path = folder.join(&name);
        let kept = fs::metadata(&path).with_context(|| path.display().to_string())?;
        if !kept.is_file() {
            continue;
        }
        let header = header(&name, kept.len()).with_context(|| path.display().to_string())?;
        parts.push_back(Part::Bytes(header));
        parts.push_back(Part::File(path, kept.len()));
        let block = BLOCK as u64;
        let rest = usize::try_from(kept.len().next_multiple_of(block) - kept.len());
        parts.push_back(Part::Bytes(vec![0; rest.expect("less than a block")]));
    }
    parts.push_back(Part::Bytes(vec![0; 2 * BLOCK]));
    Ok(parts)
}

/// The names in a folder, in order.
fn list(folder: &Path) -> Result<Vec<String>> {
    let context = || folder.display().to_string();
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(context)? {
        let name = entry.with_context(context)?.file_name();
        names.push(name.into_string().ok().with_context(context)?);
    }
    names.sort();
    Ok(names)
}

/// What stands before a file: the fields of POSIX' ustar that are not empty.
fn header(name: &str, size: u64) -> Result<Vec<u8>> {
    ensure!(name.len() <= 100, "its name is longer than that of any blob");
    ensure!(size < 1 << 33, "it is larger than 8 GiB");
    let mut block = vec![0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    // The sum is taken as if its own field were blank.
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Other tools must read it, and so `tar` does.
    #[test]
    fn a_folder_is_an_archive_that_tar_reads() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = folder.path().join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        fs::write(folder.path().join("index.json"), "{}").unwrap();
        fs::write(folder.path().join("secret"), "not part of it").unwrap();
        fs::write(blobs.join("ab"), vec![7; 513]).unwrap();
        let mut archive = Vec::new();
        for part in parts(folder.path()).unwrap() {
            match part {
                Part::Bytes(bytes) => archive.extend(bytes),
                Part::File(path, size) => {
                    let bytes = fs::read(path).unwrap();
                    assert_eq!(bytes.len() as u64, size);
                    archive.extend(bytes);
                }
            }
        }
        assert_eq!(archive.len() % BLOCK, 0);
        let file = folder.path().join("all.tar");
        fs::write(&file, archive).unwrap();
        let listed = std::process::Command::new("tar").arg("-tvf").arg(&file).output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        let names: Vec<_> = listed.lines().filter_map(|it| it.split(' ').next_back()).collect();
        assert_eq!(names, ["index.json", "blobs/sha256/ab"], "{listed}");
        assert!(listed.contains(" 513 "), "{listed}");
    }

    /// A folder of something else is told from one that is empty.
    #[test]
    fn a_folder_of_something_else_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = format!("{:#}", parts(folder.path()).unwrap_err());
        assert!(error.contains("no OCI layout"), "{error}");
    }
}
