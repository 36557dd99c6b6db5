//! A folder with everything in it.

use std::path::{Path, PathBuf};

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

/// Copies everything below `from` to `to`, which must not be there yet.
pub(crate) fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let name = file.strip_prefix(from).expect("files lie below their folder");
        let target = to.join(name);
        let folder = target.parent().expect("a file lies in a folder");
        std::fs::create_dir_all(folder).expect("folders can be made");
        std::fs::copy(&file, &target).expect("files can be copied");
    }
}
