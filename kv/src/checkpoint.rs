//! A store's whole state as a stream of bytes, for a copy that is too far behind to be sent
//! commands.
//!
//! **The problem.** A copy that missed more commands than its group still keeps has to be given the
//! state itself: while writes go on, however large it is, and whichever engine either side has.
//!
//! **The idea.** Freezing a state is free ([`Engine::snapshot`]), so a [`Checkpoint`] is taken
//! under the store's lock, between two batches, and read later, on whatever thread. What it streams
//! are the records of the spaces, and nothing of how an engine keeps them.
//!
//! ```text
//!     stream   header │ frame 0 │ frame 1 │ ... │ end frame
//!
//!     header   magic, 8 │ version u32 │ zeros, 4 │ applied u64 │ revision u64 │ zeros, 4
//!              │ crc32 u32
//!     frame    crc32 u32 │ len u32 │ kind u8 │ zeros, 3 │ payload, len bytes
//!
//!     payload of kind 0..=3, the number of a space: records in the order of their keys, each
//!              key len u32 │ value len u32 │ key │ value
//!     payload of kind 255, the end frame
//!              records u64 of each of the four spaces │ frames before u64 │ bytes before u64
//! ```
//!
//! Numbers are little endian. A header's checksum covers the header up to it. A frame's covers what
//! follows it in the frame, and before that the header's checksum and the number of the frame,
//! which are not stored: a frame that was lost, moved, or belongs to another stream does not check
//! out. The end frame says how much there was, so a stream that was cut is known to be damaged,
//! wherever it was cut. A frame holds whole records, `FRAME_BYTES_FULL` bytes of them or one large
//! one.
//!
//! The spaces come in the order record, lease, alarm, meta. The last has the positions that make a
//! store of the rest: half a stream is no state.
//!
//! [`load`] is the other end. The state it leaves in an engine is the one that was frozen, so a
//! store over that engine gives the same answers, and the same hash, at every readable revision.
//!
//! Left out: compression and encryption, which belong to whoever carries the bytes.

mod content;
mod load;

use std::io;

use crate::engine::{Direction, Engine, EngineError, Snapshot, Space};
use crate::error::Error;
use crate::state::{load_applied, load_revision};
use crate::store::Store;

pub use content::Content;
pub use load::{Damaged, load};

/// The version that this build writes, and the only one it reads.
const VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"drykvst\n";
const HEADER_BYTES: usize = 40;
/// Bytes of a frame before its payload.
const FRAME_HEAD_BYTES: usize = 12;
/// Bytes of a record before its key.
const RECORD_HEAD_BYTES: usize = 8;
/// Width of the end frame's payload.
const END_BYTES: usize = 8 * (Space::COUNT + 2);
/// A payload of at least so many bytes takes no more records.
const FRAME_BYTES_FULL: usize = 64 << 10;
/// The kind of the end frame.
const KIND_END: u8 = 255;
/// The order of the spaces in a stream.
const ORDER: [Space; Space::COUNT] = [Space::Record, Space::Lease, Space::Alarm, Space::Meta];

/// The state of a store at one instant. Costs what the engine keeps for it, until dropped; may
/// outlive the store.
pub struct Checkpoint<E: Engine> {
    snapshot: E::Snapshot,
    applied: u64,
    revision: u64,
}

impl<E: Engine> Store<E> {
    /// Freezes the state as of now, in constant time.
    ///
    /// # Errors
    ///
    /// When the engine fails, or has failed before.
    pub fn checkpoint(&self) -> Result<Checkpoint<E>, Error> {
        // A batch is applied and written under the lock: it is in the snapshot whole or not at all.
        // The positions are those of the same batch, read where they cannot differ from the rest.
        let snapshot = self.read()?.engine.snapshot();
        let (applied, revision) = (load_applied(&snapshot)?, load_revision(&snapshot)?);
        Ok(Checkpoint { snapshot, applied, revision })
    }
}

impl<E: Engine> Checkpoint<E> {
    /// Journal position of the newest command that is in it.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// Its newest main revision.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Writes the state to `out`, beside reads and writes of the store. Takes the memory of one
    /// frame. The same checkpoint writes the same bytes each time.
    ///
    /// # Errors
    ///
    /// Those of `out`, and those of the engine as an [`io::Error`] around its [`EngineError`]. What
    /// has been written then is cut, and no [`load`] takes it for whole.
    pub fn write(&self, out: &mut dyn io::Write) -> io::Result<()> {
        let header = header(self.applied, self.revision);
        out.write_all(&header)?;
        let mut frames = Frames::new(out, &header);
        for space in ORDER {
            for entry in self.snapshot.range(space, &[], None, Direction::Forward) {
                let (key, value) = entry.map_err(engine_error)?;
                frames.put(space, &key, &value)?;
            }
            frames.flush(space as u8)?;
        }
        frames.end()
    }
}

/// Cuts records into frames.
struct Frames<'o> {
    out: &'o mut dyn io::Write,
    seed: u32,
    payload: Vec<u8>,
    totals: Totals,
}

impl<'o> Frames<'o> {
    fn new(out: &'o mut dyn io::Write, header: &[u8; HEADER_BYTES]) -> Frames<'o> {
        let totals = Totals { bytes: HEADER_BYTES as u64, ..Totals::default() };
        Frames { out, seed: u32_at(header, HEADER_BYTES - 4), payload: Vec::new(), totals }
    }

    fn put(&mut self, space: Space, key: &[u8], value: &[u8]) -> io::Result<()> {
        let more = RECORD_HEAD_BYTES + key.len() + value.len();
        if !self.payload.is_empty() && self.payload.len() + more > FRAME_BYTES_FULL {
            self.flush(space as u8)?;
        }
        for part in [key, value] {
            let len = u32::try_from(part.len()).expect("a batch takes no larger record");
            self.payload.extend_from_slice(&len.to_le_bytes());
        }
        self.payload.extend_from_slice(key);
        self.payload.extend_from_slice(value);
        self.totals.records[space.index()] += 1;
        Ok(())
    }

    /// Writes what has gathered as one frame, if anything has.
    fn flush(&mut self, kind: u8) -> io::Result<()> {
        if self.payload.is_empty() {
            return Ok(());
        }
        let head = frame_head(kind, &self.payload, self.seed, self.totals.frames);
        self.out.write_all(&head)?;
        self.out.write_all(&self.payload)?;
        self.totals.frames += 1;
        self.totals.bytes += (head.len() + self.payload.len()) as u64;
        self.payload.clear();
        // A large record must not keep its room to the end of the stream.
        self.payload.shrink_to(FRAME_BYTES_FULL);
        Ok(())
    }

    fn end(mut self) -> io::Result<()> {
        self.payload = self.totals.encode().to_vec();
        self.flush(KIND_END)?;
        self.out.flush()
    }
}

/// What lies before the end frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Totals {
    records: [u64; Space::COUNT],
    frames: u64,
    bytes: u64,
}

impl Totals {
    fn encode(&self) -> [u8; END_BYTES] {
        let mut bytes = [0; END_BYTES];
        let numbers = self.records.iter().chain([&self.frames, &self.bytes]);
        for (number, place) in numbers.zip(bytes.chunks_exact_mut(8)) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }
}

fn header(applied: u64, revision: u64) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[16..24].copy_from_slice(&applied.to_le_bytes());
    header[24..32].copy_from_slice(&revision.to_le_bytes());
    let crc = crc32fast::hash(&header[..HEADER_BYTES - 4]);
    header[HEADER_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
    header
}

fn frame_head(kind: u8, payload: &[u8], seed: u32, number: u64) -> [u8; FRAME_HEAD_BYTES] {
    let mut head = [0; FRAME_HEAD_BYTES];
    let len = u32::try_from(payload.len()).expect("a frame holds one large record at most");
    head[4..8].copy_from_slice(&len.to_le_bytes());
    head[8] = kind;
    let crc = checksum(&head, payload, seed, number);
    head[..4].copy_from_slice(&crc.to_le_bytes());
    head
}

fn checksum(head: &[u8; FRAME_HEAD_BYTES], payload: &[u8], seed: u32, number: u64) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&seed.to_le_bytes());
    crc.update(&number.to_le_bytes());
    crc.update(&head[4..]);
    crc.update(payload);
    crc.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().expect("the caller has that many bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*bytes[at..].first_chunk().expect("the caller has that many bytes"))
}

/// An engine's failure on its way through [`io`]: never as damage of the stream.
fn engine_error(error: EngineError) -> io::Error {
    let kind = match error {
        EngineError::NoSpace { .. } => io::ErrorKind::StorageFull,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}
