//! The bytes of a state file: one whole state of the in-memory engine.
//!
//! ```text
//!     file     header │ block 0 │ block 1 │ ... │ end block
//!
//!     header   magic, 8 │ version u32 │ zeros, 4 │ sequence u64 │ zeros, 4 │ crc32 u32
//!     block    crc32 u32 │ len u32 │ kind u8 │ zeros, 3 │ payload, len bytes
//!
//!     payload of kind 0..=3, the number of a space: records in the order of their keys, each
//!              key len u32 │ value len u32 │ key │ value
//!     payload of kind 255, the end block
//!              records u64 of each of the four spaces │ blocks before u64 │ file bytes u64
//! ```
//!
//! Numbers are little endian. A header's checksum covers the header up to it. A block's covers
//! what follows it in the block, and before that the sequence and the number of the block, which
//! are not stored: a block that belongs to another file or to another place does not check out.
//! The end block says how much there was, so a file that was cut off, even between two blocks, is
//! known to be damaged.
//!
//! The first 32 bytes have this layout in every version to come, so that a later version's file
//! is told apart from a damaged one.
//!
//! Files are called `mem-<sequence, 20 digits>.snap`, and end in `.snap.tmp` until they are
//! complete and synced.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::engine::{EngineError, Space};

/// The version that this build writes, and the only one it reads.
pub(crate) const VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"drymem\r\n";

pub(super) const HEADER_BYTES: usize = 32;
/// Bytes of a block before its payload.
pub(super) const FRAME_BYTES: usize = 12;
/// Bytes of a record before its key.
pub(super) const RECORD_HEAD_BYTES: usize = 8;

/// What a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Records of one space.
    Records(Space),
    /// The totals, at the end of the file.
    End,
}

impl Kind {
    const END: u8 = 255;

    fn number(self) -> u8 {
        match self {
            Self::Records(space) => space as u8,
            Self::End => Self::END,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        match number {
            Self::END => Some(Self::End),
            _ => Space::from_number(number).map(Self::Records),
        }
    }
}

/// The header of the file with this sequence.
pub(super) fn header(sequence: u64) -> [u8; HEADER_BYTES] {
    header_of_version(sequence, VERSION)
}

fn header_of_version(sequence: u64, version: u32) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&version.to_le_bytes());
    header[16..24].copy_from_slice(&sequence.to_le_bytes());
    let crc = crc32fast::hash(&header[..28]);
    header[28..].copy_from_slice(&crc.to_le_bytes());
    header
}

/// Checks that `header` begins the file at `path` with this sequence.
pub(super) fn check_header(
    header: &[u8; HEADER_BYTES],
    sequence: u64,
    path: &Path,
) -> Result<(), EngineError> {
    let corrupt = |reason: &'static str| Err(EngineError::corrupt(path, 0, reason));
    if header[..8] != MAGIC {
        return corrupt("the file does not begin with the magic number");
    }
    if u32_at(header, 28) != crc32fast::hash(&header[..28]) {
        return corrupt("the header fails its checksum");
    }
    let version = u32_at(header, 8);
    if version != VERSION {
        let what = format!("format version {version}").into();
        return Err(EngineError::Unsupported { file: path.to_path_buf(), what });
    }
    if u64_at(header, 16) != sequence {
        return corrupt("the header belongs to a file of another name");
    }
    Ok(())
}

/// The frame of block `number` of the file with this sequence.
pub(super) fn frame(kind: Kind, payload: &[u8], sequence: u64, number: u64) -> [u8; FRAME_BYTES] {
    let mut frame = [0; FRAME_BYTES];
    let len = u32::try_from(payload.len()).expect("a block holds one large record at most");
    frame[4..8].copy_from_slice(&len.to_le_bytes());
    frame[8] = kind.number();
    let crc = checksum(&frame, payload, sequence, number);
    frame[..4].copy_from_slice(&crc.to_le_bytes());
    frame
}

/// How long a frame says its payload is. Not yet to be trusted.
pub(super) fn payload_bytes(frame: &[u8; FRAME_BYTES]) -> u32 {
    u32_at(frame, 4)
}

/// The kind of a block, or which rule it breaks.
pub(super) fn check_block(
    frame: &[u8; FRAME_BYTES],
    payload: &[u8],
    sequence: u64,
    number: u64,
) -> Result<Kind, &'static str> {
    if u32_at(frame, 0) != checksum(frame, payload, sequence, number) {
        return Err("the block fails its checksum");
    }
    Kind::from_number(frame[8]).ok_or("the block is of a kind that does not exist")
}

fn checksum(frame: &[u8; FRAME_BYTES], payload: &[u8], sequence: u64, number: u64) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&sequence.to_le_bytes());
    crc.update(&number.to_le_bytes());
    crc.update(&frame[4..]);
    crc.update(payload);
    crc.finalize()
}

/// The totals that an end block states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// Records of each space.
    pub(super) records: [u64; Space::COUNT],
    /// Blocks before the end block.
    pub(super) blocks: u64,
    /// Bytes of the whole file, end block included.
    pub(super) file_bytes: u64,
}

impl Totals {
    pub(super) const BYTES: usize = 8 * (Space::COUNT + 2);

    pub(super) fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let numbers = self.records.into_iter().chain([self.blocks, self.file_bytes]);
        for (slot, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            slot.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8; Self::BYTES]) -> Self {
        let mut records = [0; Space::COUNT];
        for (at, slot) in records.iter_mut().enumerate() {
            *slot = u64_at(bytes, 8 * at);
        }
        let [blocks, file_bytes] =
            [u64_at(bytes, 8 * Space::COUNT), u64_at(bytes, 8 * Space::COUNT + 8)];
        Self { records, blocks, file_bytes }
    }
}

/// Appends one record to a block's payload.
pub(super) fn put_record(payload: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let len = |bytes: &[u8]| u32::try_from(bytes.len()).expect("a batch bounds its records");
    payload.extend_from_slice(&len(key).to_le_bytes());
    payload.extend_from_slice(&len(value).to_le_bytes());
    payload.extend_from_slice(key);
    payload.extend_from_slice(value);
}

/// Splits the first record off a block's payload; `None` if it does not hold one whole.
pub(super) fn take_record<'a>(payload: &mut &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let (head, rest) = payload.split_first_chunk::<RECORD_HEAD_BYTES>()?;
    let (key, rest) = rest.split_at_checked(u32_at(head, 0) as usize)?;
    let (value, rest) = rest.split_at_checked(u32_at(head, 4) as usize)?;
    *payload = rest;
    Some((key, value))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().expect("the caller's array is long enough"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*bytes[at..].first_chunk().expect("the caller's array is long enough"))
}

/// The name of a complete file.
pub(super) fn path(dir: &Path, sequence: u64) -> PathBuf {
    dir.join(format!("mem-{sequence:020}.snap"))
}

/// The name of a file being written.
pub(super) fn path_tmp(dir: &Path, sequence: u64) -> PathBuf {
    dir.join(format!("mem-{sequence:020}.snap.tmp"))
}

/// What a name in the folder says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// A complete file.
    Complete(u64),
    /// A file whose writing never ended.
    Partial(u64),
}

impl Name {
    /// Reads a name; `None` if it is not one of ours.
    pub(super) fn parse(name: &OsStr) -> Option<Self> {
        let rest = name.to_str()?.strip_prefix("mem-")?;
        let (digits, end) = rest.split_at_checked(20)?;
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        // The last number has no successor, so it is never ours.
        let sequence = digits.parse().ok().filter(|sequence| *sequence < u64::MAX)?;
        match end {
            ".snap" => Some(Self::Complete(sequence)),
            ".snap.tmp" => Some(Self::Partial(sequence)),
            _ => None,
        }
    }

    pub(super) fn sequence(self) -> u64 {
        match self {
            Self::Complete(sequence) | Self::Partial(sequence) => sequence,
        }
    }

    /// Where the file is.
    pub(super) fn path(self, dir: &Path) -> PathBuf {
        match self {
            Self::Complete(sequence) => path(dir, sequence),
            Self::Partial(sequence) => path_tmp(dir, sequence),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_strangers_are_left_alone() {
        // A stranger taken for ours would be deleted.
        let dir = Path::new("d");
        for name in [Name::Complete(7), Name::Partial(u64::MAX - 1)] {
            let path = name.path(dir);
            assert_eq!(Name::parse(path.file_name().expect("a file")), Some(name));
        }
        let max = format!("mem-{}.snap", u64::MAX);
        for stranger in
            ["mem-7.snap", "mem-0000000000000000000+.snap", "mem-", "LOCK", "mem-é.snap", &max]
        {
            assert_eq!(Name::parse(OsStr::new(stranger)), None, "{stranger}");
        }
    }

    #[test]
    fn a_header_of_a_later_version_is_unsupported_not_corrupt() {
        // The user of an old build must be told to upgrade, not to restore a backup.
        let path = Path::new("f");
        assert!(check_header(&header(3), 3, path).is_ok());
        let result = check_header(&header_of_version(3, 2), 3, path);
        assert!(
            matches!(&result, Err(EngineError::Unsupported { what, .. }) if what.ends_with(" 2"))
        );
        let result = check_header(&header(3), 4, path);
        assert!(matches!(result, Err(EngineError::Corrupt { .. })));
    }

    #[test]
    fn a_record_cut_short_is_not_a_record() {
        // Lengths are read before they are trusted; none may reach beyond the block.
        let mut payload = Vec::new();
        put_record(&mut payload, b"key", b"value");
        for len in 0..payload.len() {
            assert_eq!(take_record(&mut &payload[..len]), None);
        }
        let mut rest = &payload[..];
        assert_eq!(take_record(&mut rest), Some((&b"key"[..], &b"value"[..])));
        assert!(rest.is_empty());
    }
}
