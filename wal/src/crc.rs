//! Sums with checksums: CRC-32 is linear, so what is appended can be taken into account, or taken
//! back, without the bytes.

use crc32fast::Hasher;

use crate::format::{FrameHead, frame_bytes};

/// Appending zero bytes to a checksum is multiplication by a power of x, and comes round again
/// after this many bytes, the polynomial being primitive.
const ROUND_BYTES: u64 = (1 << 32) - 1;

/// The checksum `crc` after `count` more zero bytes, less those bytes' own.
pub(crate) fn shift(crc: u32, count: u64) -> u32 {
    let mut hasher = Hasher::new_with_initial_len(crc, 0);
    hasher.combine(&Hasher::new_with_initial_len(0, count));
    hasher.finalize()
}

/// The seed under which the frame with this head passes, if `unseeded` is its checksum under seed
/// zero. There is one for any bytes: a second frame has to confirm it.
pub(crate) fn seed_of(head: &FrameHead, unseeded: u32) -> u32 {
    // The checksum covers all of the frame but its own four bytes.
    let covered = frame_bytes(head.len as usize) - 4;
    shift(head.crc ^ unseeded, ROUND_BYTES - covered % ROUND_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Kind, frame_crc, push_frame, seal};
    use crate::types::Lsn;

    // What a header rotted away said about its frames can be had from the frames.
    #[test]
    fn a_frame_betrays_its_seed() {
        for seed in [0, 1, 7, 0x9e37_79b1, u32::MAX] {
            for len in [0, 1, 100, 70_000] {
                let mut frame = Vec::new();
                push_frame(&mut frame, Kind::GroupEnd, Lsn(9), &vec![0x5a; len]);
                seal(&mut frame, Lsn(8), seed);
                let head = FrameHead::decode(&frame).unwrap();
                assert_eq!(seed_of(&head, frame_crc(&frame, 0).finalize()), seed);
            }
        }
    }

    // The witness search stands on this.
    #[test]
    fn shifting_is_appending_zeros_and_goes_round() {
        let mut hasher = Hasher::new_with_initial(0xdead_beef);
        hasher.update(&[0; 100]);
        let mut zeros = Hasher::new();
        zeros.update(&[0; 100]);
        assert_eq!(shift(0xdead_beef, 100), hasher.finalize() ^ zeros.finalize());
        assert_eq!(shift(shift(77, 1000), ROUND_BYTES - 1000), 77);
    }
}
