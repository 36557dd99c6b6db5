//! How a large batch stands in the journal: packed.
//!
//! **The problem.** Every byte of a load is written three times: into the journal, into a table of
//! level 0, and once more when level 0 is merged. Tables are packed; the journal's copy was the
//! largest of the three.
//!
//! **The idea.** The changes of a batch do not depend on its numbers. So they are packed before the
//! batch has any, outside of every lock; what is put in front of them later is the head, in clear:
//!
//! ```text
//!    0            8       12        16
//!   ┌────────────┬───────┬─────────┬───────────────────┐
//!   │ first seq, │ count │ raw len │ changes, by LZ4   │
//!   │ bit 63 set │ u32   │ u32     │                   │
//!   └────────────┴───────┴─────────┴───────────────────┘
//! ```
//!
//! No number of a write reaches bit 63, so that one bit tells a packed record from a plain one; a
//! record that begins with bits set throughout is a time (see [`batch`](crate::batch)). A small
//! batch stays plain, and so does what hardly shrinks, which a look at its beginning shows.
//!
//! **What a record may claim.** Whoever reads it back makes room before a byte is unpacked. So a
//! length that LZ4 cannot come to is refused first, and so are more changes than the unpacked bytes
//! could hold, or a memtable.

use lz4_flex::block::{
    CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size,
};

use crate::batch::{HEAD_BYTES, check_promise};
use crate::codec::Input;
use crate::compress::{RATIO_MAX, is_worth};
use crate::config::RECORD_BYTES_MAX;

const PACKED_HEAD_BYTES: usize = HEAD_BYTES + 4;

/// Smaller records are not worth a try, and larger ones would not be written plain either.
const PACKED_RANGE: std::ops::RangeInclusive<usize> = 4 << 10..=RECORD_BYTES_MAX;

/// So much of a batch shows whether it will shrink.
const SAMPLE_BYTES: usize = 16 << 10;

/// In the place of the highest bit of the first number.
const MARK: u8 = 0x80;

/// A record whose changes are packed.
#[derive(Debug)]
pub(crate) struct Packed {
    bytes: Vec<u8>,
}

impl Packed {
    /// Packs the changes of a record that may have no numbers yet, if that is worth it.
    pub(crate) fn of(record: &[u8]) -> Option<Packed> {
        if !PACKED_RANGE.contains(&record.len()) {
            return None;
        }
        let changes = &record[HEAD_BYTES..];
        if changes.len() > SAMPLE_BYTES {
            squeeze(&changes[..SAMPLE_BYTES])?;
        }
        let mut bytes = squeeze(changes)?;
        let raw_len = u32::try_from(changes.len()).expect("records are bounded");
        bytes[HEAD_BYTES..PACKED_HEAD_BYTES].copy_from_slice(&raw_len.to_le_bytes());
        Some(Packed { bytes })
    }

    /// The record for the journal, with the numbers of the plain one.
    pub(crate) fn record(&mut self, plain: &[u8]) -> &[u8] {
        self.bytes[..HEAD_BYTES].copy_from_slice(&plain[..HEAD_BYTES]);
        assert!(self.bytes[7] & MARK == 0, "numbers of writes are below 2^56");
        self.bytes[7] |= MARK;
        &self.bytes
    }
}

/// Packs `raw` behind room for a head; nothing if that does not save an eighth.
fn squeeze(raw: &[u8]) -> Option<Vec<u8>> {
    let mut out = vec![0; PACKED_HEAD_BYTES + get_maximum_output_size(raw.len())];
    let mut table = CompressTable::large();
    let packed = compress_into_with_table(raw, &mut out[PACKED_HEAD_BYTES..], &mut table)
        .expect("the output has the size that LZ4 asks for");
    out.truncate(PACKED_HEAD_BYTES + packed);
    is_worth(raw.len(), packed).then_some(out)
}

/// The plain record that a packed one stands for, in `room`; a plain one as it is. The error says
/// what is wrong.
pub(crate) fn unpack<'a>(
    record: &'a [u8],
    room: &'a mut Vec<u8>,
) -> Result<&'a [u8], &'static str> {
    if record.get(7).is_none_or(|byte| byte & MARK == 0) {
        return Ok(record);
    }
    let mut input = Input::new(record);
    let (_, count, raw_len) = (input.u64()?, input.u32()?, input.u32()? as usize);
    let (head, packed) = (&record[..HEAD_BYTES], input.rest());
    // Before memory is asked for: a length out of proportion is none of ours.
    if raw_len > packed.len().saturating_mul(RATIO_MAX) || raw_len > RECORD_BYTES_MAX {
        return Err("packed batch has an impossible length");
    }
    check_promise(count, HEAD_BYTES + raw_len)?;
    room.clear();
    room.extend_from_slice(head);
    room[7] &= !MARK;
    room.resize(HEAD_BYTES + raw_len, 0);
    match decompress_into(packed, &mut room[HEAD_BYTES..]) {
        Ok(len) if len == raw_len => Ok(room),
        _ => Err("packed batch cannot be unpacked"),
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};

    use super::*;

    /// A record with these changes, number 7 and one change.
    fn record(changes: &[u8]) -> Vec<u8> {
        let mut record = vec![0; HEAD_BYTES];
        record[..8].copy_from_slice(&7_u64.to_le_bytes());
        record[8] = 1;
        record.extend_from_slice(changes);
        record
    }

    fn noise(len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        rand_chacha::ChaCha8Rng::seed_from_u64(1).fill_bytes(&mut bytes);
        bytes
    }

    // What is read back after a crash is what was written, numbers included.
    #[test]
    fn records_come_back_as_they_were() {
        for len in [5000, 20_000, 300_000] {
            let mut changes = noise(len / 2);
            changes.resize(len, b'.');
            // A beginning that does not shrink is not enough of a reason to try all of it.
            changes.rotate_right(len / 4);
            let plain = record(&changes);
            let Some(mut packed) = Packed::of(&plain) else {
                assert!(len / 4 >= SAMPLE_BYTES, "half of it is dots");
                continue;
            };
            let packed = packed.record(&plain).to_vec();
            assert!(packed.len() < plain.len() * 7 / 8);
            assert_eq!(unpack(&packed, &mut Vec::new()).unwrap(), plain);
        }
    }

    // A single write is as fast as before, and nothing grows.
    #[test]
    fn small_ones_and_noise_stay_plain() {
        for changes in [vec![b'.'; 4000], noise(5000), noise(100_000)] {
            let plain = record(&changes);
            assert!(Packed::of(&plain).is_none());
            assert_eq!(unpack(&plain, &mut Vec::new()).unwrap(), plain);
        }
        assert!(unpack(b"short", &mut Vec::new()).is_ok(), "for the decoder of batches to refuse");
    }

    // Bytes that pass their checksum may still say anything: an answer, and no memory for a lie.
    #[test]
    fn hostile_records_get_an_answer() {
        let plain = record(&vec![b'.'; 10_000]);
        let packed = Packed::of(&plain).unwrap().record(&plain).to_vec();
        for len in 8..packed.len() {
            assert!(unpack(&packed[..len], &mut Vec::new()).is_err(), "{len} bytes");
        }
        let mut room = Vec::new();
        for (at, claim) in [(HEAD_BYTES, u32::MAX), (HEAD_BYTES, 1 << 25), (8, u32::MAX), (8, 950)]
        {
            let mut lie = packed.clone();
            lie[at..at + 4].copy_from_slice(&claim.to_le_bytes());
            assert!(unpack(&lie, &mut room).is_err(), "{claim} at {at}");
            assert_eq!(room.capacity(), 0, "{claim} at {at}");
        }
        for claim in [9_999_u32, 10_001, 20_000] {
            let mut lie = packed.clone();
            lie[HEAD_BYTES..PACKED_HEAD_BYTES].copy_from_slice(&claim.to_le_bytes());
            assert!(unpack(&lie, &mut room).is_err(), "{claim} bytes of 10,000");
        }
        for at in PACKED_HEAD_BYTES..packed.len() {
            let mut damaged = packed.clone();
            damaged[at] ^= 0x55;
            if let Ok(raw) = unpack(&damaged, &mut room) {
                assert_eq!(raw.len(), plain.len(), "what is announced is what comes");
            }
        }
    }
}
