//! Writing a state to a file, piece by piece, so that it is either complete or not there.
//!
//! ```text
//!     create .tmp ─► write blocks, sync now and then ─► sync ─► rename to .snap ─► sync folder
//!     └────────── a crash leaves a .tmp, which nobody loads ───┘ └─ either name, whole ──┘
//! ```
//!
//! The file is new each time, and is written from memory: an attempt after a failed one, even one
//! whose sync failed, trusts nothing that the failed one wrote.

use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use drystone_vfs::{File, Vfs};

use super::file::{self, FRAME_BYTES, HEADER_BYTES, Kind, Totals};
use super::trees::Trees;
use crate::engine::{Direction, EngineError, Space};

/// A block is written once its payload has this many bytes; a record that is larger makes its
/// block larger.
const BLOCK_BYTES: usize = 64 * 1024;

/// How much may lie written and not synced. One sync of everything at the end would keep the disk
/// busy for seconds, and the journal, which shares it, waiting; pieces of this size take some ten
/// milliseconds each.
const UNSYNCED_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Writes `trees` to the folder `dir` as the file with this sequence. On return it is durable.
pub(super) fn save(
    vfs: &dyn Vfs,
    dir: &Path,
    sequence: u64,
    trees: &Trees,
) -> Result<(), EngineError> {
    let tmp = file::path_tmp(dir, sequence);
    let path = file::path(dir, sequence);
    let result = write(vfs, &tmp, sequence, trees)
        .and_then(|()| vfs.rename(&tmp, &path).map_err(|error| EngineError::io(&path, error)));
    if let Err(error) = result {
        // The disk may be full: give the space back. What cannot be removed now is removed by the
        // next `open`; the error to report is the first one.
        let _ = vfs.remove(&tmp);
        return Err(error);
    }
    vfs.sync_dir(dir).map_err(|error| EngineError::io(dir, error))
}

fn write(vfs: &dyn Vfs, path: &Path, sequence: u64, trees: &Trees) -> Result<(), EngineError> {
    // About as much: all of it or nothing, since on a disk that fills up half a state is room lost.
    let bytes = trees.stats().bytes_in_use;
    let file = vfs.create_sized(path, bytes).map_err(|error| EngineError::io(path, error))?;
    let mut output = Output { file, path, sequence, offset: 0, unsynced: 0, blocks: 0 };
    output.write(&[&file::header(sequence)])?;
    let mut payload = Vec::with_capacity(BLOCK_BYTES);
    let mut totals = Totals::default();
    for space in Space::ALL {
        for (key, value) in trees.space(space).range(b"", None, Direction::Forward) {
            let record_bytes = file::RECORD_HEAD_BYTES + key.len() + value.len();
            if !payload.is_empty() && payload.len() + record_bytes > BLOCK_BYTES {
                output.block(Kind::Records(space), &payload)?;
                payload.clear();
            }
            file::put_record(&mut payload, key, value);
            totals.records[space.index()] += 1;
        }
        if !payload.is_empty() {
            output.block(Kind::Records(space), &payload)?;
            payload.clear();
        }
    }
    totals.blocks = output.blocks;
    totals.file_bytes = output.offset + (FRAME_BYTES + Totals::BYTES) as u64;
    output.block(Kind::End, &totals.encode())?;
    assert!(output.offset == totals.file_bytes, "the end block ends the file");
    // What was too much.
    output.file.set_len(output.offset).map_err(|error| EngineError::io(path, error))?;
    output.sync()
}

/// The file being written.
struct Output<'a> {
    file: Arc<dyn File>,
    path: &'a Path,
    sequence: u64,
    offset: u64,
    unsynced: u64,
    blocks: u64,
}

const _: () = assert!((HEADER_BYTES as u64) < UNSYNCED_BYTES_MAX);

impl Output<'_> {
    fn block(&mut self, kind: Kind, payload: &[u8]) -> Result<(), EngineError> {
        let frame = file::frame(kind, payload, self.sequence, self.blocks);
        self.blocks += 1;
        self.write(&[&frame, payload])
    }

    fn write(&mut self, pieces: &[&[u8]]) -> Result<(), EngineError> {
        let bytes: usize = pieces.iter().map(|piece| piece.len()).sum();
        let slices = [IoSlice::new(pieces[0]), IoSlice::new(pieces.get(1).unwrap_or(&&[][..]))];
        let result = self.file.write_at(&slices, self.offset);
        result.map_err(|error| EngineError::io(self.path, error))?;
        self.offset += bytes as u64;
        self.unsynced += bytes as u64;
        if self.unsynced >= UNSYNCED_BYTES_MAX { self.sync() } else { Ok(()) }
    }

    fn sync(&mut self) -> Result<(), EngineError> {
        self.unsynced = 0;
        self.file.sync_data().map_err(|error| EngineError::io(self.path, error))
    }
}
