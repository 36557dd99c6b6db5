//! What the fuzzers know of the bytes on disk: enough to change a field and make its checksum fit.
//!
//! Written a second time on purpose: if `src/format.rs` and this disagree, forged files are refused
//! at their first checksum, and the corpus test that forges nothing fails.

use crc32fast::Hasher;

pub(crate) const HEADER_BYTES: usize = 4096;
pub(crate) const FRAME_HEAD_BYTES: usize = 16;
/// Eight-byte fields of a header, from byte 16 on: see `src/format.rs`.
pub(crate) const HEADER_FIELDS: usize = 8;

/// Where the eight-byte field `i` of a header lies.
pub(crate) const fn header_field(i: usize) -> usize {
    16 + 8 * i
}

/// Makes the header's checksum fit its bytes.
pub(crate) fn fix_header(file: &mut [u8]) {
    if let Some(block) = file.get_mut(..HEADER_BYTES) {
        block[12..16].fill(0);
        let crc = crc32fast::hash(block);
        block[12..16].copy_from_slice(&crc.to_le_bytes());
    }
}

/// Offsets of what look like frames, end to end from the header on.
pub(crate) fn frames(file: &[u8]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut at = HEADER_BYTES;
    while let Some(bytes) = frame_bytes(file, at) {
        found.push(at);
        at += bytes;
    }
    found
}

/// The size of the frame at `at`, if it has a kind and fits.
pub(crate) fn frame_bytes(file: &[u8], at: usize) -> Option<usize> {
    let head = file.get(at..at + FRAME_HEAD_BYTES)?;
    let bytes = (FRAME_HEAD_BYTES + word(head, 0) as usize).next_multiple_of(8);
    (word(head, 8) >> 28 != 0 && at + bytes <= file.len()).then_some(bytes)
}

/// Makes the checksum of the frame at `at` fit its bytes.
pub(crate) fn fix_frame(file: &mut [u8], at: usize) {
    let Some(bytes) = frame_bytes(file, at) else { return };
    let log_id = long(file, header_field(0));
    let creation = long(file, header_field(3));
    let seed = (log_id ^ (log_id >> 32)) as u32 ^ (creation as u32).wrapping_mul(0x9e37_79b1);
    let mut hasher = Hasher::new_with_initial(seed);
    hasher.update(&file[at..at + 4]);
    hasher.update(&file[at + 8..at + bytes]);
    file[at + 4..at + 8].copy_from_slice(&hasher.finalize().to_le_bytes());
}

/// Makes every frame's checksum fit, as far as lengths lead.
pub(crate) fn fix_frames(file: &mut [u8]) {
    for at in frames(file) {
        fix_frame(file, at);
    }
}

pub(crate) fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub(crate) fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
