//! One file of a log.
//!
//! ```text
//!   0        8        16     24
//!   | magic  | base   | salt | frames …       base: the offset of the first; also the file's name
//! ```

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// What begins a segment; the digit is the version of everything in it.
pub const MAGIC: [u8; 8] = *b"MASONLG1";
/// Bytes in front of the frames.
pub const HEAD_BYTES: usize = 24;

/// One file of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it lies.
    pub path: PathBuf,
    /// The offset of its first frame.
    pub base: u64,
}

impl Segment {
    /// The one with this base in a folder.
    pub fn new(folder: &Path, base: u64) -> Segment {
        Segment { path: folder.join(format!("{base:016x}.log")), base }
    }

    /// Those in a folder, oldest first; none if there is no folder.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn list(folder: &Path) -> io::Result<Vec<Segment>> {
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            let base = name.to_str().and_then(|name| name.strip_suffix(".log"));
            let base = base.filter(|digits| digits.len() == 16);
            if let Some(base) = base.and_then(|digits| u64::from_str_radix(digits, 16).ok()) {
                found.push(Segment::new(folder, base));
            }
        }
        found.sort_by_key(|segment| segment.base);
        Ok(found)
    }

    /// The bytes in front of its frames.
    pub fn head(&self, salt: u64) -> [u8; HEAD_BYTES] {
        let mut head = [0; HEAD_BYTES];
        head[..8].copy_from_slice(&MAGIC);
        head[8..16].copy_from_slice(&self.base.to_le_bytes());
        head[16..].copy_from_slice(&salt.to_le_bytes());
        head
    }

    /// Reads what lies in front of the frames: the salt; none if it is not whole yet.
    ///
    /// # Errors
    /// It is damaged, or cannot be read.
    pub fn salt(&self, file: &mut File) -> io::Result<Option<u64>> {
        let mut head = [0; HEAD_BYTES];
        match file.read_exact(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            done => done?,
        }
        if head[..8] != MAGIC || head[8..16] != self.base.to_le_bytes() {
            let what = format!("{}: this is no segment of a log", self.path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(Some(u64::from_le_bytes(head[16..].try_into().expect("eight bytes"))))
    }
}
