//! The bytes on disk. All numbers are little-endian.
//!
//! A log is a directory of segment files `<id, 16 hex digits>.wal`, each one a header block and
//! then frames, end to end, up to the file's end or the first bytes that are not a frame:
//!
//! ```text
//!     0            4096                                                       file end
//!     ┌────────────┬───────┬──────────────┬───────┬─────┬───────────────────────────┐
//!     │ header     │ frame │ frame        │ frame │ ... │ zeros, or stale bytes     │
//!     └────────────┴───────┴──────────────┴───────┴─────┴───────────────────────────┘
//!
//!     header, 4096 bytes                      frame, 16 bytes + payload + padding to 8
//!      0  8  magic "drywal\r\n"                0  4  len      of the payload
//!      8  4  version, now 2                    4  4  crc      of all but itself, padding included
//!     12  4  crc of the 4096 bytes, this as 0  8  4  kind << 28 | low 28 bits of the LSN
//!     16  8  log id                           12  4  behind   LSN minus the watermark
//!     24  8  segment id                       16     payload, then zeros
//!     32  8  first LSN
//!     40  8  creation                         kinds: 1 record, 2 record that ends its group,
//!     48  8  previous end                            3 close mark, 4 start mark
//!     56  8  start segment                           5 next mark
//!     64  8  born end
//!     72  8  capacity
//!     80     zeros
//! ```
//!
//! * **creation** counts the segments ever made in this log. It seeds the frames' checksum,
//!   together with the log id, so that frames left in a recycled file, or brought in from another
//!   log by a file system that hands out dirty blocks, cannot pass: two seeds never give one
//!   checksum for the same frame.
//! * **previous end** is the byte at which the frames of the segment before end. All of them were
//!   durable before this header was written.
//! * **start segment** is the oldest segment still needed when this one was made; start marks
//!   (whose payload is a segment id) raise it later.
//! * **born end**: the frames before this byte were synced before the file got its name.
//! * **capacity**: the file's length, filled with zeros and durable before the file got its name.
//!   No crash makes it shorter; a file that is shorter was cut by somebody else.
//! * **watermark**: the last record known durable when the frame was written. A sound frame thereby
//!   testifies for everything at or below its watermark. That is what tells damage from a torn
//!   tail.
//! * Marks carry the LSN of the last record before them and are a group of their own. A *next mark*
//!   is the last frame of its segment: it says that the segment after this one is durable, name and
//!   all. A log that ends in one has lost a file. It is written after the fact, so a crash may come
//!   before it: its absence says nothing.
//!
//! The first 16 header bytes and the checksum's reach stay the same in every future version, so
//! that an old program can tell "too new" from "damaged".

use crc32fast::Hasher;

use crate::config::GROUP_BYTES_MAX;
use crate::error::Damage;
use crate::types::{Lsn, SegmentId};

pub(crate) const HEADER_BYTES: u64 = 4096;
pub(crate) const FRAME_HEAD_BYTES: usize = 16;
pub(crate) const ALIGN_BYTES: u64 = 8;
/// The version of the log's files that this build writes, and the only one it reads.
pub(crate) const VERSION: u32 = 2;

const MAGIC: [u8; 8] = *b"drywal\r\n";
/// Of an LSN, so many low bits are in a frame.
pub(crate) const LSN_BITS: u32 = 28;
const LSN_MASK: u32 = (1 << LSN_BITS) - 1;

/// Segment ids, LSNs, creations and offsets stay below this.
pub(crate) const POSITION_END: u64 = 1 << 62;

/// Room that records leave at a segment's end, so that one mark of each kind always fits: a full
/// disk must not keep anyone from cutting the log's prefix.
pub(crate) const MARKS_BYTES: u64 = 64;
/// Of these, room that the other marks leave, in turn, for the next mark.
pub(crate) const NEXT_MARK_BYTES: u64 = FRAME_HEAD_BYTES as u64;
const _: () = assert!(MARKS_BYTES >= (3 * FRAME_HEAD_BYTES + 8) as u64, "all marks must fit");

/// No segment is larger: the largest group, its header and the marks stay well below.
const CAPACITY_MAX: u64 = 2 * GROUP_BYTES_MAX;

/// The first block of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) log_id: u64,
    pub(crate) segment: SegmentId,
    pub(crate) first_lsn: Lsn,
    pub(crate) creation: u64,
    pub(crate) previous_end: u64,
    pub(crate) start_segment: SegmentId,
    pub(crate) born_end: u64,
    pub(crate) capacity: u64,
}

/// Why a block is not a header this version can use.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    Damaged,
    Version(u32),
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut block = vec![0; HEADER_BYTES as usize];
        block[0..8].copy_from_slice(&MAGIC);
        block[8..12].copy_from_slice(&VERSION.to_le_bytes());
        let fields = [
            self.log_id,
            self.segment.0,
            self.first_lsn.0,
            self.creation,
            self.previous_end,
            self.start_segment.0,
            self.born_end,
            self.capacity,
        ];
        for (slot, field) in block[16..].chunks_exact_mut(8).zip(fields) {
            slot.copy_from_slice(&field.to_le_bytes());
        }
        let crc = header_crc(&block);
        block[12..16].copy_from_slice(&crc.to_le_bytes());
        block
    }

    pub(crate) fn decode(block: &[u8]) -> Result<SegmentHeader, HeaderFault> {
        let whole = block.len() == HEADER_BYTES as usize;
        if !whole || block[0..8] != MAGIC || u32_at(block, 12) != header_crc(block) {
            return Err(HeaderFault::Damaged);
        }
        let version = u32_at(block, 8);
        if version != VERSION {
            return Err(HeaderFault::Version(version));
        }
        let header = SegmentHeader::fields(block);
        if header.is_sane() { Ok(header) } else { Err(HeaderFault::Damaged) }
    }

    /// The limits that every header keeps: no log grows that far, and adding to a position never
    /// overflows.
    pub(crate) fn is_sane(&self) -> bool {
        let positions = [self.segment.0, self.first_lsn.0, self.creation, self.previous_end];
        positions.iter().all(|position| *position < POSITION_END)
            && self.first_lsn > Lsn::NONE
            && self.start_segment <= self.segment
            && (HEADER_BYTES..=self.capacity).contains(&self.born_end)
            && self.capacity <= CAPACITY_MAX
    }

    /// The fields in a whole block, be they as they may.
    pub(crate) fn fields(block: &[u8]) -> SegmentHeader {
        let field = |i: usize| u64_at(block, 16 + 8 * i);
        SegmentHeader {
            log_id: field(0),
            segment: SegmentId(field(1)),
            first_lsn: Lsn(field(2)),
            creation: field(3),
            previous_end: field(4),
            start_segment: SegmentId(field(5)),
            born_end: field(6),
            capacity: field(7),
        }
    }

    /// Where the checksum of this segment's frames starts. Within one log, different for every
    /// segment ever made (the multiplier is odd, so creations below 2^32 never collide).
    pub(crate) fn seed(&self) -> u32 {
        folded(self.log_id) ^ (self.creation as u32).wrapping_mul(SEED_MULTIPLIER)
    }
}

const SEED_MULTIPLIER: u32 = 0x9e37_79b1;
/// Undoes the multiplication.
const SEED_INVERSE: u32 = 0x0e8b_2f51;

fn folded(log_id: u64) -> u32 {
    (log_id ^ (log_id >> 32)) as u32
}

/// The creation, modulo 2^32, of the segment of that log whose seed is `seed`.
pub(crate) fn creation_of(seed: u32, log_id: u64) -> u32 {
    (seed ^ folded(log_id)).wrapping_mul(SEED_INVERSE)
}

fn header_crc(block: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&block[..12]);
    hasher.update(&[0; 4]);
    hasher.update(&block[16..]);
    hasher.finalize()
}

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A record that is followed by more of its group.
    Record = 1,
    /// The last record of its group.
    GroupEnd = 2,
    /// Written by a clean close.
    Close = 3,
    /// Everything before the segment in the payload may be gone.
    Start = 4,
    /// There is a segment after this one.
    Next = 5,
}

impl Kind {
    pub(crate) fn is_record(self) -> bool {
        matches!(self, Kind::Record | Kind::GroupEnd)
    }
}

/// The first 16 bytes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHead {
    pub(crate) len: u32,
    pub(crate) crc: u32,
    pub(crate) kind: Kind,
    pub(crate) behind: u32,
    lsn_low: u32,
}

impl FrameHead {
    pub(crate) fn decode(bytes: &[u8]) -> Result<FrameHead, Damage> {
        let bytes = &bytes[..FRAME_HEAD_BYTES];
        let word = u32_at(bytes, 8);
        let kind = match word >> LSN_BITS {
            1 => Kind::Record,
            2 => Kind::GroupEnd,
            3 => Kind::Close,
            4 => Kind::Start,
            5 => Kind::Next,
            _ if bytes.iter().all(|byte| *byte == 0) => return Err(Damage::Zeros),
            _ => return Err(Damage::FrameHeader),
        };
        Ok(FrameHead {
            len: u32_at(bytes, 0),
            crc: u32_at(bytes, 4),
            kind,
            behind: u32_at(bytes, 12),
            lsn_low: word & LSN_MASK,
        })
    }

    /// Whether the payload has the length that its kind demands.
    pub(crate) fn is_sane(&self) -> bool {
        match self.kind {
            Kind::Record | Kind::GroupEnd => true,
            Kind::Close | Kind::Next => self.len == 0,
            Kind::Start => self.len == 8,
        }
    }

    /// Head, payload and padding together.
    pub(crate) fn bytes(&self) -> u64 {
        frame_bytes(self.len as usize)
    }

    /// The full LSN, given one that is at most 2^28 below it.
    pub(crate) fn lsn_from(&self, floor: Lsn) -> Lsn {
        let ahead = self.lsn_low.wrapping_sub(floor.0 as u32) & LSN_MASK;
        Lsn(floor.0 + u64::from(ahead))
    }
}

/// Bytes of the frame of a payload this long.
pub(crate) fn frame_bytes(payload: usize) -> u64 {
    (FRAME_HEAD_BYTES as u64 + payload as u64).next_multiple_of(ALIGN_BYTES)
}

/// Appends one frame to `buf`, all but its watermark and checksum: see [`seal`].
pub(crate) fn push_frame(buf: &mut Vec<u8>, kind: Kind, lsn: Lsn, payload: &[u8]) {
    debug_assert!((buf.len() as u64).is_multiple_of(ALIGN_BYTES), "frames start aligned");
    let len = u32::try_from(payload.len()).expect("record_bytes_max is far below 4 GiB");
    let word = (kind as u32) << LSN_BITS | (lsn.0 as u32 & LSN_MASK);
    buf.extend_from_slice(&len.to_le_bytes());
    buf.extend_from_slice(&[0; 4]);
    buf.extend_from_slice(&word.to_le_bytes());
    buf.extend_from_slice(&[0; 4]);
    buf.extend_from_slice(payload);
    buf.resize((buf.len() as u64).next_multiple_of(ALIGN_BYTES) as usize, 0);
}

/// Finishes the frames in `buf`, which are about to be written when `durable` is the last durable
/// record: fills in the watermark and the checksum.
pub(crate) fn seal(buf: &mut [u8], durable: Lsn, seed: u32) {
    let mut rest = buf;
    while !rest.is_empty() {
        let head = FrameHead::decode(rest).expect("push_frame writes sound heads");
        let (frame, after) = rest.split_at_mut(head.bytes() as usize);
        let behind = (head.lsn_from(durable).0 - durable.0) as u32;
        frame[12..16].copy_from_slice(&behind.to_le_bytes());
        let crc = frame_crc(frame, seed).finalize();
        frame[4..8].copy_from_slice(&crc.to_le_bytes());
        rest = after;
    }
}

/// The checksum of a frame whose head is in `frame`, over as much of the payload as is there; the
/// caller adds the rest.
pub(crate) fn frame_crc(frame: &[u8], seed: u32) -> Hasher {
    let mut hasher = Hasher::new_with_initial(seed);
    hasher.update(&frame[0..4]);
    hasher.update(&frame[8..]);
    hasher
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(creation: u64) -> SegmentHeader {
        SegmentHeader {
            log_id: 0x1234_5678_9abc_def0,
            segment: SegmentId(7),
            first_lsn: Lsn(100),
            creation,
            previous_end: 5000,
            start_segment: SegmentId(3),
            born_end: 4200,
            capacity: 1 << 20,
        }
    }

    // Recycled files are full of old frames whose every other field may fit.
    #[test]
    fn a_frame_passes_under_no_other_creations_seed() {
        let mut frame = Vec::new();
        push_frame(&mut frame, Kind::GroupEnd, Lsn(100), b"payload");
        seal(&mut frame, Lsn(99), header(1).seed());
        let head = FrameHead::decode(&frame).unwrap();
        assert_eq!(frame_crc(&frame, header(1).seed()).finalize(), head.crc);
        for creation in 2..10_000 {
            assert_ne!(frame_crc(&frame, header(creation).seed()).finalize(), head.crc);
        }
    }

    // A header that rotted away is told by its neighbours and its frames.
    #[test]
    fn a_seed_tells_its_creation() {
        for creation in [0, 1, 2, 1000, u64::from(u32::MAX)] {
            let header = header(creation);
            assert_eq!(creation_of(header.seed(), header.log_id), creation as u32);
        }
    }

    // An old program must tell "too new" from "damaged", and a header is nothing if not whole.
    #[test]
    fn headers_are_read_back_or_refused() {
        let block = header(9).encode();
        assert_eq!(SegmentHeader::decode(&block), Ok(header(9)));
        assert_eq!(SegmentHeader::decode(&block[..4095]), Err(HeaderFault::Damaged));
        assert_eq!(SegmentHeader::decode(&[]), Err(HeaderFault::Damaged));
        let mut newer = block.clone();
        newer[8..12].copy_from_slice(&(VERSION + 1).to_le_bytes());
        assert_eq!(SegmentHeader::decode(&newer), Err(HeaderFault::Damaged));
        let crc = header_crc(&newer).to_le_bytes();
        newer[12..16].copy_from_slice(&crc);
        assert_eq!(SegmentHeader::decode(&newer), Err(HeaderFault::Version(VERSION + 1)));
    }

    // 28 bits on disk stand for 64: right as long as the reader is less than 2^28 behind.
    #[test]
    fn positions_are_restored_across_the_wrap_of_their_low_bits() {
        for base in [0_u64, (1 << 28) - 2, 1 << 28, (1 << 40) - 1] {
            for ahead in [0, 1, 5, (1 << 28) - 1] {
                let mut frame = Vec::new();
                push_frame(&mut frame, Kind::Record, Lsn(base + ahead), b"");
                let head = FrameHead::decode(&frame).unwrap();
                assert_eq!(head.lsn_from(Lsn(base)), Lsn(base + ahead));
            }
        }
    }
}
