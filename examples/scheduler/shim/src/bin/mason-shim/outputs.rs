//! Reads the files that a run was asked to leave, from what its container left behind.
//!
//! Their names come from a user and what lies there from a program, so nothing is trusted: links
//! are followed inside the container's root only, as the container would, and only plain files are
//! read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use mason_shim::settings::{EMPTY, MEMORY, Output, ROOT, Settings};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2};

/// Longest text of one output; what is longer is refused, since half of it would be taken for all.
const TEXT_BYTES_MAX: u64 = 16 << 10;

/// The texts, and what is wrong with the others.
pub(crate) fn read(folder: &Path, settings: &Settings) -> (BTreeMap<String, String>, String) {
    let (mut found, mut wrong) = (BTreeMap::new(), String::new());
    for (name, output) in &settings.outputs {
        match read_one(folder, output) {
            Ok(text) => drop(found.insert(name.clone(), text)),
            Err(error) => {
                let separator = if wrong.is_empty() { "" } else { "; " };
                let path = output.path.display();
                wrong += &format!("{separator}output `{name}` ({path}): {error}");
            }
        }
    }
    (found, wrong)
}

fn read_one(folder: &Path, output: &Output) -> std::io::Result<String> {
    let root = match output.empty {
        Some(number) => folder.join(EMPTY).join(number.to_string()),
        None => folder.join(MEMORY).join(ROOT),
    };
    let root = open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    let file = openat2(root, &output.path, flags, Mode::empty(), inside)?;
    if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
        return Err(std::io::Error::other("it is no file"));
    }
    let mut bytes = Vec::new();
    File::from(file).take(TEXT_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > TEXT_BYTES_MAX {
        return Err(std::io::Error::other("it is longer than 16 KiB"));
    }
    String::from_utf8(bytes).map_err(|_| std::io::Error::other("it is no UTF-8"))
}
