//! The archive that a Linux kernel unpacks as its first root: cpio, in its form `newc`
//! (`Documentation/driver-api/early-userspace/buffer-format.rst` of Linux).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// A file in it.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Where, without a slash before it.
    name: String,
    bytes: Vec<u8>,
}

impl Entry {
    /// With these bytes.
    pub(crate) fn program(name: &str, bytes: Vec<u8>) -> Entry {
        Entry { name: name.to_owned(), bytes }
    }

    /// With those of a file here.
    pub(crate) fn file(name: &str, path: &Path) -> Result<Entry> {
        let bytes = fs::read(path).with_context(|| path.display().to_string())?;
        Ok(Entry::program(name, bytes))
    }
}

/// All of it; everything may be read and run by all.
pub(crate) fn pack(entries: &[Entry]) -> Vec<u8> {
    let mut archive = Vec::new();
    let mut folders = BTreeSet::new();
    for Entry { name, .. } in entries {
        folders.extend(name.match_indices('/').map(|(at, _)| &name[..at]));
    }
    // A folder comes before what is in it: a shorter name before a longer one that begins so.
    for folder in folders {
        append(&mut archive, folder, 0o040_755, &[]);
    }
    for Entry { name, bytes } in entries {
        append(&mut archive, name, 0o100_755, bytes);
    }
    append(&mut archive, "TRAILER!!!", 0, &[]);
    archive
}

fn append(archive: &mut Vec<u8>, name: &str, mode: usize, bytes: &[u8]) {
    archive.extend(b"070701");
    // inode, mode, user, group, links, time, size, two pairs of devices, length of the name, sum.
    for field in [0, mode, 0, 0, 1, 0, bytes.len(), 0, 0, 0, 0, name.len() + 1, 0] {
        archive.extend(format!("{field:08x}").into_bytes());
    }
    archive.extend(name.as_bytes());
    archive.push(0);
    pad(archive);
    archive.extend(bytes);
    pad(archive);
}

fn pad(archive: &mut Vec<u8>) {
    archive.resize(archive.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kernel that cannot read it says nothing but that it has no root.
    #[test]
    fn an_archive_has_folders_before_files_and_all_is_aligned() {
        let archive = pack(&[Entry::program("usr/bin/a", b"12345".to_vec())]);
        let mut rest = archive.as_slice();
        let mut found = Vec::new();
        while !rest.is_empty() {
            assert_eq!(&rest[..6], b"070701");
            let field = |at: usize| {
                let text = std::str::from_utf8(&rest[6 + 8 * at..14 + 8 * at]).unwrap();
                usize::from_str_radix(text, 16).unwrap()
            };
            let (size, name) = (field(6), field(11));
            let data = (110 + name).next_multiple_of(4);
            let text = std::str::from_utf8(&rest[110..110 + name - 1]).unwrap();
            found.push((text.to_owned(), field(1) >> 12, rest[data..data + size].to_vec()));
            rest = &rest[(data + size).next_multiple_of(4)..];
        }
        let expected = [("usr", 4, ""), ("usr/bin", 4, ""), ("usr/bin/a", 8, "12345")];
        let expected = expected.map(|(name, kind, text)| (name.to_owned(), kind, text.into()));
        assert_eq!(found[..3], expected);
        assert_eq!(found[3].0, "TRAILER!!!");
        assert_eq!(found.len(), 4);
    }
}
