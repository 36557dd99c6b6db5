//! What travels on a connection once the two sides know each other.
//!
//! ```text
//!     frame   0  8  checksum of all that follows, seeded by the connection's key and the sequence
//!             8  4  length of the body
//!            12  4  sequence number, its low bits: 0, 1, 2 … in each direction
//!            16     body: kind 1, then
//!
//!     1 Messages   (group 8, length 4, message) …       `wire.rs` has the message
//!     2 Ping       an answer is wanted
//!     3 Pong       this is it
//!     4 Request    group 8, term 8, index 8, offset 8
//!     5 Chunk      offset 8, the bytes of a snapshot from there on
//!     6 End        offset 8: where the snapshot ends
//!     7 Unavailable  what is wrong, a text
//! ```
//!
//! Numbers are little-endian. The checksum is XXH3 with 64 bits. Its seed is different on every
//! connection, in each direction and for every frame: a frame that was recorded elsewhere, doubled,
//! left out or put in another place does not pass. It protects against accidents and confusion;
//! against somebody who can read and forge what is on the network there is TLS.

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::runtime::tcp::pipe::Pipe;
use crate::runtime::tcp::refusal::Refusal;

pub(super) const HEAD_BYTES: usize = 16;
const CHECKSUM_BYTES: usize = 8;

pub(super) const MESSAGES: u8 = 1;
pub(super) const PING: u8 = 2;
pub(super) const PONG: u8 = 3;
pub(super) const REQUEST: u8 = 4;
pub(super) const CHUNK: u8 = 5;
pub(super) const END: u8 = 6;
pub(super) const UNAVAILABLE: u8 = 7;

/// Room that is made for reading at first, and at most at once: a peer that sends little costs
/// little, and one that says that it will send much costs nothing before it does.
const READ_BYTES_MIN: usize = 2 << 10;
const READ_BYTES_MAX: usize = 128 << 10;

/// One direction of one connection: what the checksum of the next frame starts from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lane {
    key: u64,
    sequence: u64,
}

impl Lane {
    /// The lane of whoever dialled, or of whoever accepted.
    pub(super) fn new(key: u64, dialler: bool) -> Lane {
        let key = if dialler { key } else { key.rotate_left(32) ^ 0x9e37_79b9_7f4a_7c15 };
        Lane { key, sequence: 0 }
    }

    /// Begins a frame: [`Lane::seal`] fills in its head.
    pub(super) fn begin(out: &mut Vec<u8>, kind: u8) -> usize {
        let start = out.len();
        out.extend_from_slice(&[0; HEAD_BYTES]);
        out.push(kind);
        start
    }

    /// Finishes the frame that begins at `start` and is the last in `out`.
    pub(super) fn seal(&mut self, out: &mut [u8], start: usize) {
        let frame = &mut out[start..];
        let len = u32::try_from(frame.len() - HEAD_BYTES).expect("frames are far below 4 GiB");
        frame[8..12].copy_from_slice(&len.to_le_bytes());
        frame[12..16].copy_from_slice(&(self.sequence as u32).to_le_bytes());
        let checksum = self.checksum(&frame[CHECKSUM_BYTES..]);
        frame[..CHECKSUM_BYTES].copy_from_slice(&checksum.to_le_bytes());
        self.sequence += 1;
    }

    /// The body of the frame in front, if it is whole; how many more bytes it takes, if it is not.
    fn open(&mut self, bytes: &mut BytesMut, body_bytes_max: usize) -> Result<Opened, Refusal> {
        let Some(head) = bytes.first_chunk::<HEAD_BYTES>() else {
            return Ok(Opened::Missing(HEAD_BYTES - bytes.len()));
        };
        let word = |at: usize| {
            u32::from_le_bytes(head[at..at + 4].try_into().expect("four of sixteen bytes"))
        };
        let (len, sequence) = (word(8) as usize, word(12));
        if len == 0 || len > body_bytes_max {
            return Err(Refusal::Length { len, max: body_bytes_max });
        }
        if sequence != self.sequence as u32 {
            return Err(Refusal::Sequence { expected: self.sequence as u32, found: sequence });
        }
        let Some(missing @ 1..) = (HEAD_BYTES + len).checked_sub(bytes.len()) else {
            let checksum = u64::from_le_bytes(*bytes.first_chunk().expect("a head is longer"));
            let frame = bytes.split_to(HEAD_BYTES + len).freeze();
            if checksum != self.checksum(&frame[CHECKSUM_BYTES..]) {
                return Err(Refusal::Checksum);
            }
            self.sequence += 1;
            return Ok(Opened::Body(frame.slice(HEAD_BYTES..)));
        };
        Ok(Opened::Missing(missing))
    }

    fn checksum(&self, covered: &[u8]) -> u64 {
        xxh3_64_with_seed(covered, self.key.wrapping_add(self.sequence))
    }
}

enum Opened {
    Body(Bytes),
    Missing(usize),
}

/// A connection on which frames come and go.
pub(super) struct Framed {
    pipe: Box<dyn Pipe>,
    bytes: BytesMut,
    appetite: usize,
    /// What comes in.
    theirs: Lane,
    /// What goes out.
    ours: Lane,
    body_bytes_max: usize,
}

impl Framed {
    pub(super) fn new(
        pipe: Box<dyn Pipe>,
        key: u64,
        dialler: bool,
        body_bytes_max: usize,
    ) -> Framed {
        Framed {
            pipe,
            bytes: BytesMut::new(),
            appetite: READ_BYTES_MIN,
            theirs: Lane::new(key, !dialler),
            ours: Lane::new(key, dialler),
            body_bytes_max,
        }
    }

    /// The next frame: its kind, and what follows it. May be given up and called again.
    pub(super) async fn read(&mut self) -> Result<(u8, Bytes), Refusal> {
        loop {
            let missing = match self.theirs.open(&mut self.bytes, self.body_bytes_max)? {
                Opened::Body(mut body) => return Ok((body.get_u8(), body)),
                Opened::Missing(missing) => missing,
            };
            // As much as is missing and a bit of what comes after; but no more at once than seems
            // to come, whatever the length in the head says.
            self.bytes.reserve(missing.clamp(self.appetite, READ_BYTES_MAX));
            let count = self.pipe.read_buf(&mut self.bytes).await?;
            if count == 0 {
                let clean = self.bytes.is_empty();
                return Err(if clean { Refusal::Closed } else { Refusal::Torn });
            }
            if count >= self.appetite {
                self.appetite = (self.appetite * 2).min(READ_BYTES_MAX);
            }
        }
    }

    /// Begins a frame in `out`.
    pub(super) fn seal(&mut self, out: &mut [u8], start: usize) {
        self.ours.seal(out, start);
    }

    /// Writes sealed frames. Not to be given up and called again.
    pub(super) async fn write(&mut self, frames: &[u8]) -> Result<(), Refusal> {
        self.pipe.write_all(frames).await?;
        // Only TLS keeps something back.
        self.pipe.flush().await?;
        Ok(())
    }

    /// Writes one frame.
    pub(super) async fn write_one(&mut self, kind: u8, parts: &[&[u8]]) -> Result<(), Refusal> {
        let mut out =
            Vec::with_capacity(HEAD_BYTES + 1 + parts.iter().map(|p| p.len()).sum::<usize>());
        let start = Lane::begin(&mut out, kind);
        parts.iter().for_each(|part| out.extend_from_slice(part));
        self.seal(&mut out, start);
        self.write(&out).await
    }
}
