//! Filling an empty engine from a stream.
//!
//! ```text
//!   stream ──► frame: checked, then believed ──► batch, when large ──► engine
//!
//!   engine     "loading"                                                    first of all
//!              "loading" │ records │ leases │ alarms                        further batches
//!              "loading" │ records │ leases │ alarms │ positions, members
//!                          records │ leases │ alarms │ positions, members   last batch, persist
//! ```
//!
//! An engine keeps a prefix of its batches, so whatever is left of a load that was not finished has
//! the mark, or nothing at all; a store refuses to open over the mark. Whoever loads should still
//! use a folder that becomes the store's only afterwards: then nothing is ever in the way.
//!
//! The memory needed is that of a batch and a frame: what a frame's head claims is not reserved
//! before that many bytes have come.

use std::io;

use bytes::Bytes;

use super::{
    END_BYTES, FRAME_BYTES_FULL, FRAME_HEAD_BYTES, HEADER_BYTES, KIND_END, MAGIC, ORDER,
    RECORD_HEAD_BYTES, Totals, VERSION, checksum, engine_error, u32_at, u64_at,
};
use crate::engine::{Batch, Direction, Engine, Snapshot, Space};
use crate::error::Error;
use crate::state::{META_LOADING, load_applied, load_revision};

/// A batch of at least so many bytes, or so many records, is written.
const BATCH_BYTES_FULL: usize = 4 << 20;
const BATCH_RECORDS_MAX: usize = 16 << 10;
/// No payload that was written is larger: one record of the largest size.
const PAYLOAD_BYTES_MAX: usize = RECORD_HEAD_BYTES + Batch::RECORD_BYTES_MAX;
/// How much is read at a time.
const READ_BYTES: usize = FRAME_BYTES_FULL;

/// What is wrong with a stream. Comes inside an [`io::Error`] of kind
/// [`io::ErrorKind::InvalidData`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the checkpoint is damaged at byte {offset}: {reason}")]
pub struct Damaged {
    /// Where the damaged piece (header, frame, record) begins, in bytes from the stream's start.
    pub offset: u64,
    /// Which rule the bytes break.
    pub reason: &'static str,
}

/// Reads a stream that [`Checkpoint::write`](super::Checkpoint::write) made, and nothing beyond its
/// end, into an empty engine, and persists that. Returns the journal position of the newest command
/// in it.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidData`] around [`Damaged`] if the stream is cut or not, to the bit, what
/// was written; [`io::ErrorKind::Unsupported`] if a later version wrote it;
/// [`io::ErrorKind::AlreadyExists`] if the engine is not empty; otherwise what `from` or the engine
/// said. The engine is then of no use: a [`Store`](crate::Store) does not open over it.
pub fn load<E: Engine>(engine: &E, from: &mut dyn io::Read) -> io::Result<u64> {
    check_empty(engine)?;
    let mut filling = Filling::begin(engine)?;
    let mut input = Input { from, offset: 0 };
    let header = input.array::<HEADER_BYTES>()?;
    let (applied, revision) = check_header(&header)?;
    let totals = read_frames(&mut input, u32_at(&header, HEADER_BYTES - 4), &mut filling)?;
    filling.finish()?;
    let snapshot = engine.snapshot();
    let positions = load_applied(&snapshot).and_then(|at| Ok((at, load_revision(&snapshot)?)));
    let sound = match positions {
        Ok(positions) => positions == (applied, revision),
        Err(Error::Engine(error)) => return Err(engine_error(error)),
        Err(_) => false,
    };
    if !sound {
        return Err(damaged(totals.bytes, "the positions are not those of the header"));
    }
    filling.seal()?;
    engine.persist().map_err(engine_error)?;
    Ok(applied)
}

fn damaged(offset: u64, reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, Damaged { offset, reason })
}

fn check_empty<E: Engine>(engine: &E) -> io::Result<()> {
    let snapshot = engine.snapshot();
    for space in Space::ALL {
        let first = snapshot.range(space, &[], None, Direction::Forward).next();
        if first.transpose().map_err(engine_error)?.is_some() {
            let text = "a checkpoint is loaded into an empty engine";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
    }
    Ok(())
}

/// The positions that a header states: applied, and revision.
fn check_header(header: &[u8; HEADER_BYTES]) -> io::Result<(u64, u64)> {
    if header[..8] != MAGIC {
        return Err(damaged(0, "the stream does not begin with the magic number"));
    }
    if u32_at(header, HEADER_BYTES - 4) != crc32fast::hash(&header[..HEADER_BYTES - 4]) {
        return Err(damaged(0, "the header fails its checksum"));
    }
    let version = u32_at(header, 8);
    if version != VERSION {
        let text = format!("the checkpoint is of version {version}, which this build lacks");
        return Err(io::Error::new(io::ErrorKind::Unsupported, text));
    }
    Ok((u64_at(header, 16), u64_at(header, 24)))
}

/// Reads all frames; the totals are what was found before the end frame, which agrees.
fn read_frames<E: Engine>(
    input: &mut Input<'_>,
    seed: u32,
    filling: &mut Filling<'_, E>,
) -> io::Result<Totals> {
    let mut totals = Totals::default();
    let mut payload = Vec::new();
    loop {
        let offset = input.offset;
        let head = input.array::<FRAME_HEAD_BYTES>()?;
        let len = u32_at(&head, 4) as usize;
        if len > PAYLOAD_BYTES_MAX {
            return Err(damaged(offset, "the frame is larger than any record"));
        }
        input.payload(&mut payload, len, offset)?;
        if u32_at(&head, 0) != checksum(&head, &payload, seed, totals.frames) {
            return Err(damaged(offset, "the frame fails its checksum"));
        }
        if head[8] == KIND_END {
            totals.bytes = offset;
            if payload != totals.encode() {
                return Err(damaged(offset, "the end frame states other totals"));
            }
            return Ok(totals);
        }
        let space = Space::from_number(head[8]);
        let space = space.ok_or_else(|| damaged(offset, "the frame is of no kind that exists"))?;
        let start = offset + FRAME_HEAD_BYTES as u64;
        totals.records[space.index()] += filling.take(space, &payload, start)?;
        totals.frames += 1;
    }
}

/// Counts the bytes of a stream.
struct Input<'i> {
    from: &'i mut dyn io::Read,
    offset: u64,
}

impl Input<'_> {
    fn array<const LEN: usize>(&mut self) -> io::Result<[u8; LEN]> {
        let mut bytes = [0; LEN];
        let start = self.offset;
        self.fill(&mut bytes, start)?;
        Ok(bytes)
    }

    /// Replaces what is in `payload` by the next `len` bytes, of the frame at `start`. Room is made
    /// as bytes come: a length that lies costs nothing.
    fn payload(&mut self, payload: &mut Vec<u8>, len: usize, start: u64) -> io::Result<()> {
        payload.clear();
        payload.shrink_to(END_BYTES.max(READ_BYTES));
        while payload.len() < len {
            let have = payload.len();
            payload.resize(len.min(have + READ_BYTES), 0);
            self.fill(&mut payload[have..], start)?;
        }
        Ok(())
    }

    fn fill(&mut self, mut room: &mut [u8], start: u64) -> io::Result<()> {
        while !room.is_empty() {
            match self.from.read(room) {
                Ok(0) => return Err(damaged(start, "the stream ends here")),
                Ok(count) => {
                    self.offset += count as u64;
                    room = &mut room[count..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// An engine that is being filled.
struct Filling<'e, E> {
    engine: &'e E,
    batch: Batch,
    /// Where the last record lies: its space's place in the stream, and its key.
    last: Option<(usize, Vec<u8>)>,
}

impl<'e, E: Engine> Filling<'e, E> {
    /// Sets the mark, before anything is read: an empty engine would be a store, too.
    fn begin(engine: &'e E) -> io::Result<Filling<'e, E>> {
        let mut filling = Filling { engine, batch: Batch::new(), last: None };
        filling.batch.put(Space::Meta, META_LOADING, Bytes::new());
        filling.finish()?;
        Ok(filling)
    }

    /// Takes the records of one frame, whose payload begins at `offset`; returns how many.
    fn take(&mut self, space: Space, payload: &[u8], offset: u64) -> io::Result<u64> {
        let place = ORDER.iter().position(|other| *other == space).expect("all spaces have one");
        let mut count = 0;
        let mut rest = payload;
        while !rest.is_empty() {
            let at = offset + (payload.len() - rest.len()) as u64;
            let (key, value, left) =
                record(rest).ok_or_else(|| damaged(at, "the record reaches beyond its frame"))?;
            rest = left;
            if key.len() + value.len() > Batch::RECORD_BYTES_MAX {
                return Err(damaged(at, "the record is larger than any"));
            }
            let ascends = self
                .last
                .as_ref()
                .is_none_or(|(last, last_key)| (*last, last_key.as_slice()) < (place, key));
            if !ascends {
                return Err(damaged(at, "the records do not ascend"));
            }
            if space == Space::Meta && key == META_LOADING {
                return Err(damaged(at, "the state was itself not finished"));
            }
            let (_, last_key) = self.last.get_or_insert_default();
            last_key.clear();
            last_key.extend_from_slice(key);
            self.last.as_mut().expect("just put").0 = place;
            // Its own allocation: an engine in memory keeps it, and must not keep the frame.
            self.batch.put(space, key, Bytes::copy_from_slice(value));
            count += 1;
            let full = self.batch.bytes() >= BATCH_BYTES_FULL;
            if full || self.batch.len() >= BATCH_RECORDS_MAX {
                self.finish()?;
            }
        }
        Ok(count)
    }

    /// Writes what has gathered.
    fn finish(&mut self) -> io::Result<()> {
        self.engine.write(std::mem::take(&mut self.batch)).map_err(engine_error)
    }

    /// Takes the mark away: the engine now holds a state.
    fn seal(mut self) -> io::Result<()> {
        assert!(self.batch.is_empty(), "all was written before it is declared whole");
        self.batch.delete(Space::Meta, META_LOADING);
        self.finish()
    }
}

/// Key and value of the first record, and what comes behind it.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (head, rest) = bytes.split_at_checked(RECORD_HEAD_BYTES)?;
    let (key, rest) = rest.split_at_checked(u32_at(head, 0) as usize)?;
    let (value, rest) = rest.split_at_checked(u32_at(head, 4) as usize)?;
    Some((key, value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;
    use crate::checkpoint::{frame_head, header};
    use crate::mem::Mem;

    type Row = (&'static [u8], &'static [u8]);

    fn payload(rows: &[Row]) -> Vec<u8> {
        let mut payload = Vec::new();
        for (key, value) in rows {
            payload.extend_from_slice(&(key.len() as u32).to_le_bytes());
            payload.extend_from_slice(&(value.len() as u32).to_le_bytes());
            payload.extend_from_slice(key);
            payload.extend_from_slice(value);
        }
        payload
    }

    /// A stream of these frames, every checksum right; the last one is the end frame.
    fn stream(applied: u64, frames: &[(u8, Vec<u8>)]) -> Vec<u8> {
        let header = header(applied, 1);
        let seed = u32_at(&header, HEADER_BYTES - 4);
        let mut stream = header.to_vec();
        for (number, (kind, payload)) in (0..).zip(frames) {
            stream.extend(frame_head(*kind, payload, seed, number));
            stream.extend(payload);
        }
        stream
    }

    fn end(records: [u64; Space::COUNT], frames: &[(u8, Vec<u8>)]) -> (u8, Vec<u8>) {
        let lens = frames.iter().map(|(_, payload)| FRAME_HEAD_BYTES + payload.len());
        let bytes = (HEADER_BYTES + lens.sum::<usize>()) as u64;
        let totals = Totals { records, frames: frames.len() as u64, bytes };
        (KIND_END, totals.encode().to_vec())
    }

    #[track_caller]
    fn check(stream: &[u8], expected: Result<u64, &str>) {
        let engine = Mem::volatile();
        let loaded = load(&engine, &mut &stream[..]).map_err(|error| {
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
            let damaged = error.into_inner().expect("it tells what and where");
            damaged.downcast::<Damaged>().expect("it is told by a type").reason
        });
        assert_eq!(loaded, expected);
        assert_eq!(Store::open(engine).is_ok(), loaded.is_ok(), "no store of half a stream");
    }

    // A checksum proves what was written, not that the writer was sane.
    #[test]
    fn a_right_checksum_over_wrong_content_is_not_believed() {
        let lease = (2, payload(&[(b"\0\0\0\0\0\0\0\x01", b"\0\0\0\0\0\0\0\x3c")]));
        let meta = (0, payload(&[(b"applied", b"\0\0\0\0\0\0\0\x05")]));
        let sound = [lease.clone(), meta.clone()];
        let with = |frames: &[(u8, Vec<u8>)], records| {
            let end = end(records, frames);
            stream(5, &[frames, &[end]].concat())
        };
        check(&with(&sound, [1, 0, 1, 0]), Ok(5));
        check(&with(&[], [0; 4]), Err("the positions are not those of the header"));
        check(&with(&sound, [1, 0, 1, 1]), Err("the end frame states other totals"));
        check(&with(&sound[..1], [0, 0, 1, 0]), Err("the positions are not those of the header"));
        let swapped = [meta.clone(), lease.clone()];
        check(&with(&swapped, [1, 0, 1, 0]), Err("the records do not ascend"));
        let twice = [lease.clone(), lease.clone(), meta.clone()];
        check(&with(&twice, [1, 0, 2, 0]), Err("the records do not ascend"));
        let unknown = [lease.clone(), (4, payload(&[(b"k", b"v")])), meta.clone()];
        check(&with(&unknown, [1, 0, 1, 0]), Err("the frame is of no kind that exists"));
        let beyond = [(2, lease.1[..20].to_vec()), meta];
        check(&with(&beyond, [1, 0, 1, 0]), Err("the record reaches beyond its frame"));
        let mark = [lease, (0, payload(&[(META_LOADING, b"")]))];
        check(&with(&mark, [1, 0, 1, 0]), Err("the state was itself not finished"));
    }

    // A length is the first thing that rots, and a hostile one must not cost a gigabyte.
    #[test]
    fn a_frame_that_claims_to_be_huge_costs_what_has_come() {
        let mut large = stream(5, &[]);
        large.extend([0; 4]);
        large.extend((PAYLOAD_BYTES_MAX as u32).to_le_bytes());
        large.extend([1, 0, 0, 0]);
        check(&large, Err("the stream ends here"));
        let mut input = Input { from: &mut &[7; 100_000][..], offset: 0 };
        let mut room = Vec::new();
        assert!(input.payload(&mut room, PAYLOAD_BYTES_MAX, 0).is_err());
        assert!(room.capacity() <= 4 * READ_BYTES, "{} bytes", room.capacity());
        let at = large.len() - 8;
        large[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        check(&large, Err("the frame is larger than any record"));
    }
}
