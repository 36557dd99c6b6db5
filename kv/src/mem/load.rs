//! Reading a state back from its file, or saying where the file is damaged.
//!
//! Records come out of the file in order, so the trees are built without a single search, and a
//! record costs little more than its copy. Each value gets an allocation of its own. Slices of a
//! shared block would save that, but the block would then stay in memory until the last of its
//! records is gone: compaction, which deletes most records and leaves a few in every block, would
//! give nothing back.
//!
//! Nothing is believed before its checksum: a length is only compared with the file's, so damaged
//! bytes cannot make this allocate more than the file holds.

use std::io;
use std::path::Path;

use bytes::Bytes;
use drystone_vfs::{File, OpenMode, Vfs};

use super::file::{self, FRAME_BYTES, HEADER_BYTES, Kind, Totals};
use super::tree::Builder;
use super::trees::Trees;
use crate::engine::{EngineError, Key, Space};

/// Bytes asked of the file at a time, unless one block is larger.
const READ_BYTES: usize = 1024 * 1024;

/// The state in the file with this sequence in the folder `dir`. Changes nothing on disk.
pub(super) fn load(vfs: &dyn Vfs, dir: &Path, sequence: u64) -> Result<Trees, EngineError> {
    let mut builders = [const { None }; Space::COUNT];
    scan(vfs, dir, sequence, |space, key, value| {
        let builder = builders[space.index()].get_or_insert_with(Builder::new);
        let pushed = builder.push(Key::new(key), Bytes::copy_from_slice(value));
        pushed.map_err(|_| "the keys do not ascend")
    })?;
    let finish = |builder: Option<Builder>| builder.unwrap_or_else(Builder::new).finish();
    Ok(Trees::new(builders.map(finish)))
}

/// Shows `visit` every record of the file with this sequence, in the order of the file, and keeps
/// none. What it has seen is sound only if there is no error. Changes nothing on disk.
pub(super) fn scan(
    vfs: &dyn Vfs,
    dir: &Path,
    sequence: u64,
    visit: impl FnMut(Space, &[u8], &[u8]) -> Result<(), &'static str>,
) -> Result<Totals, EngineError> {
    let path = file::path(dir, sequence);
    let open = || {
        let file = vfs.open(&path, OpenMode::Read)?;
        let bytes = file.len()?;
        Ok((file, bytes))
    };
    let (file, file_bytes) = open().map_err(|error| EngineError::io(&path, error))?;
    let mut input = Input::new(&*file, &path, file_bytes);
    let header = input.take(HEADER_BYTES, "the file ends inside its header")?;
    let header = header.first_chunk().expect("as many as asked for");
    file::check_header(header, sequence, &path)?;
    read_blocks(&mut input, sequence, visit)
}

fn read_blocks(
    input: &mut Input<'_>,
    sequence: u64,
    mut visit: impl FnMut(Space, &[u8], &[u8]) -> Result<(), &'static str>,
) -> Result<Totals, EngineError> {
    let mut seen = Totals::default();
    loop {
        let offset = input.offset;
        let corrupt =
            |path: &Path, reason: &'static str| Err(EngineError::corrupt(path, offset, reason));
        let path = input.path;
        let frame = input.peek(FRAME_BYTES, "the file ends without an end block")?;
        let frame: [u8; FRAME_BYTES] = *frame.first_chunk().expect("as many as asked for");
        let block_bytes = FRAME_BYTES + file::payload_bytes(&frame) as usize;
        let block = input.take(block_bytes, "the block reaches beyond the end of the file")?;
        let payload = &block[FRAME_BYTES..];
        match file::check_block(&frame, payload, sequence, seen.blocks) {
            Err(reason) => return corrupt(path, reason),
            Ok(Kind::Records(space)) => {
                match read_records(payload, |key, value| visit(space, key, value)) {
                    Ok(count) => seen.records[space.index()] += count,
                    Err(reason) => return corrupt(path, reason),
                }
                seen.blocks += 1;
            }
            Ok(Kind::End) => {
                seen.file_bytes = offset + block_bytes as u64;
                let Ok(totals) = payload.try_into().map(Totals::decode) else {
                    return corrupt(path, "the end block has the wrong length");
                };
                if totals != seen {
                    return corrupt(path, "the end block states other totals");
                }
                if input.offset != input.file_bytes {
                    return corrupt(path, "bytes follow the end block");
                }
                return Ok(totals);
            }
        }
    }
}

/// Shows the records of one block; returns how many there were.
fn read_records(
    mut payload: &[u8],
    mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), &'static str>,
) -> Result<u64, &'static str> {
    let mut count = 0;
    while !payload.is_empty() {
        let (key, value) =
            file::take_record(&mut payload).ok_or("a record reaches beyond its block")?;
        visit(key, value)?;
        count += 1;
    }
    Ok(count)
}

/// The file being read, with some bytes read ahead.
///
/// Invariant: `buf[at..]` are the bytes of the file from `offset` on, as far as they are read.
struct Input<'a> {
    file: &'a dyn File,
    path: &'a Path,
    file_bytes: u64,
    /// Where the next byte to take lies in the file.
    offset: u64,
    buf: Vec<u8>,
    at: usize,
}

impl<'a> Input<'a> {
    fn new(file: &'a dyn File, path: &'a Path, file_bytes: u64) -> Self {
        Self { file, path, file_bytes, offset: 0, buf: Vec::new(), at: 0 }
    }

    /// The next `count` bytes; `Corrupt` for this `reason` if the file has fewer.
    fn take(&mut self, count: usize, reason: &'static str) -> Result<&[u8], EngineError> {
        self.peek(count, reason)?;
        self.at += count;
        self.offset += count as u64;
        Ok(&self.buf[self.at - count..self.at])
    }

    /// As `take`, but leaves the bytes to be taken again.
    fn peek(&mut self, count: usize, reason: &'static str) -> Result<&[u8], EngineError> {
        if self.file_bytes - self.offset < count as u64 {
            return Err(EngineError::corrupt(self.path, self.offset, reason));
        }
        if self.buf.len() - self.at < count {
            self.fill(count).map_err(|error| EngineError::io(self.path, error))?;
        }
        Ok(&self.buf[self.at..self.at + count])
    }

    /// Reads on until at least `count` bytes, which the file has, lie ahead.
    fn fill(&mut self, count: usize) -> io::Result<()> {
        self.buf.drain(..self.at);
        self.at = 0;
        let have = self.buf.len();
        let rest = usize::try_from(self.file_bytes - self.offset).unwrap_or(usize::MAX);
        let want = count.max(READ_BYTES).min(rest);
        self.buf.resize(want, 0);
        self.file.read_exact_at(&mut self.buf[have..], self.offset + have as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use drystone_vfs::MemVfs;

    use super::*;

    /// Loads a file of these blocks, all with a right checksum.
    fn load_blocks(blocks: &[(Kind, &[u8])]) -> Result<Trees, EngineError> {
        let mut bytes = file::header(1).to_vec();
        for (number, (kind, payload)) in (0..).zip(blocks) {
            bytes.extend(file::frame(*kind, payload, 1, number));
            bytes.extend(*payload);
        }
        let disk = MemVfs::new();
        let dir = Path::new("d");
        disk.create_dir_all(dir).unwrap();
        let file = disk.open(&file::path(dir, 1), OpenMode::CreateNew).unwrap();
        file.write_at(&[IoSlice::new(&bytes)], 0).unwrap();
        load(&disk, dir, 1)
    }

    #[test]
    fn a_right_checksum_over_wrong_content_is_not_believed() {
        // A checksum proves what was written, not that the writer was sane.
        let mut records = Vec::new();
        file::put_record(&mut records, b"a", b"1");
        file::put_record(&mut records, b"b", b"2");
        let swapped = [&records[10..], &records[..10]].concat();
        let meta = Kind::Records(Space::Meta);
        let right = Totals { records: [2, 0, 0, 0], blocks: 1, file_bytes: 32 + 32 + 60 };
        let check = |payload: &[u8], totals: Totals, reason: &str| {
            let result = load_blocks(&[(meta, payload), (Kind::End, &totals.encode())]);
            match result {
                Err(EngineError::Corrupt { reason: found, .. }) => assert_eq!(found, reason),
                _ => panic!("{reason}: {result:?}"),
            }
        };
        assert!(load_blocks(&[(meta, &records), (Kind::End, &right.encode())]).is_ok());
        check(&swapped, right, "the keys do not ascend");
        check(&records[..19], right, "a record reaches beyond its block");
        let wrong = "the end block states other totals";
        check(&records, Totals { records: [1, 1, 0, 0], ..right }, wrong);
        check(&records, Totals { blocks: 2, ..right }, wrong);
        check(&records, Totals { file_bytes: 0, ..right }, wrong);
    }
}
