//! A folder with everything in it.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// What a file is looked at by.
const BLOCK_BYTES: usize = 64 << 10;

/// Every file below `folder`, sorted. A file that goes while we look is left out.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.filter_map(Result::ok) {
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            (if is_folder { &mut folders } else { &mut found }).push(entry.path());
        }
    }
    found.sort();
    found
}

/// Shows all blocks of a file but those that are nothing but zeros, each with its place, and says
/// how long the file is. A journal is mostly room for what is still to come.
pub(crate) fn blocks(file: &Path, mut show: impl FnMut(u64, &[u8])) -> io::Result<u64> {
    const ZEROS: &[u8] = &[0; BLOCK_BYTES];
    let (mut file, mut block, mut at) = (File::open(file)?, vec![0; BLOCK_BYTES], 0);
    loop {
        let mut filled = 0;
        while filled < block.len() {
            match file.read(&mut block[filled..])? {
                0 => break,
                read => filled += read,
            }
        }
        if block[..filled] != ZEROS[..filled] {
            show(at, &block[..filled]);
        }
        at += filled as u64;
        if filled < block.len() {
            return Ok(at);
        }
    }
}

/// Copies everything below `from` to `to`, which must not be there yet.
pub(crate) fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let name = file.strip_prefix(from).expect("files lie below their folder");
        let target = to.join(name);
        let folder = target.parent().expect("a file lies in a folder");
        std::fs::create_dir_all(folder).expect("folders can be made");
        copy_file(&file, &target).expect("files can be copied");
    }
}

fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    let (copy, mut failed) = (File::create(to)?, None);
    let bytes =
        blocks(from, |at, block| failed = failed.take().or(copy.write_all_at(block, at).err()))?;
    if let Some(error) = failed {
        return Err(error);
    }
    copy.set_len(bytes)?;
    copy.set_permissions(from.metadata()?.permissions())
}
