//! How the parts of a table are packed before they are written, and unpacked.
//!
//! **The problem.** A block of text-like values shrinks to a half; one of random bytes does not
//! shrink, and trying costs as much as all the rest of writing it. Unpacking must allocate, and the
//! length to allocate is a number found on disk.
//!
//! **The idea.** A part is written packed only if that saves an eighth of it. After blocks that did
//! not shrink the next few are not tried. No codec here makes more than [`RATIO_MAX`] bytes out of
//! one, and a part that would is packed otherwise, so a length that promises more is damage: memory
//! stays in proportion to what was read.

use std::sync::Arc;

use lz4_flex::block::{CompressTable, compress_into_with_table, get_maximum_output_size};

/// How blocks are packed. A block that hardly shrinks is written as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    None,
    /// LZ4 blocks: little CPU in both directions.
    #[default]
    Lz4,
    /// Zstandard: smaller, for blocks that are seldom read.
    #[cfg(feature = "zstd")]
    Zstd,
}

impl Compression {
    /// Those that this build can write.
    #[cfg(test)]
    pub(crate) const ALL: &[Compression] = &[
        Compression::None,
        Compression::Lz4,
        #[cfg(feature = "zstd")]
        Compression::Zstd,
    ];
}

/// What a packed part says of how it was packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Codec {
    Plain = 0,
    Lz4 = 1,
    /// Known to every build, so that one without the feature can say what is missing.
    Zstd = 2,
}

impl Codec {
    pub(crate) fn from_u8(number: u8) -> Option<Codec> {
        match number {
            0 => Some(Codec::Plain),
            1 => Some(Codec::Lz4),
            2 => Some(Codec::Zstd),
            _ => None,
        }
    }
}

/// The most bytes that one packed byte may stand for. It is LZ4's own limit.
pub(crate) const RATIO_MAX: usize = 255;

/// Whether so many bytes are to be kept packed: that saves an eighth, and can be unpacked again.
pub(crate) fn is_worth(raw: usize, packed: usize) -> bool {
    packed <= raw - raw / 8 && raw <= packed * RATIO_MAX
}

/// After blocks that did not shrink, at most this many are written untried.
const UNTRIED_MAX: u32 = 15;

/// Packs one part after the other.
pub(crate) struct Packer {
    compression: Compression,
    lz4: Option<CompressTable>,
    /// How many parts in a row did not shrink.
    failures: u32,
    /// How many parts to write before the next try.
    untried: u32,
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packer").field("compression", &self.compression).finish_non_exhaustive()
    }
}

impl Packer {
    pub(crate) fn new(compression: Compression) -> Packer {
        Packer { compression, lz4: None, failures: 0, untried: 0 }
    }

    /// Appends `raw` to `out`, packed if that is worth it.
    pub(crate) fn pack(&mut self, raw: &[u8], out: &mut Vec<u8>) -> Codec {
        if self.untried > 0 {
            self.untried -= 1;
        } else if self.compression != Compression::None {
            let start = out.len();
            let codec = self.squeeze(raw, out);
            let packed = out.len() - start;
            if is_worth(raw.len(), packed) {
                self.failures = 0;
                return codec;
            }
            out.truncate(start);
            self.failures = (self.failures + 1).min(UNTRIED_MAX);
            self.untried = self.failures - 1;
        }
        out.extend_from_slice(raw);
        Codec::Plain
    }

    fn squeeze(&mut self, raw: &[u8], out: &mut Vec<u8>) -> Codec {
        #[cfg(feature = "zstd")]
        if self.compression == Compression::Zstd {
            let packed = zstd::bulk::compress(raw, ZSTD_LEVEL).expect("memory can be compressed");
            if raw.len() <= packed.len() * RATIO_MAX {
                out.extend_from_slice(&packed);
                return Codec::Zstd;
            }
        }
        let start = out.len();
        out.resize(start + get_maximum_output_size(raw.len()), 0);
        // A small table takes inputs below 64 KiB only and is cheaper to clear.
        let mut large;
        let table = if raw.len() < usize::from(u16::MAX) {
            self.lz4.get_or_insert_with(CompressTable::small)
        } else {
            large = CompressTable::large();
            &mut large
        };
        let packed = compress_into_with_table(raw, &mut out[start..], table)
            .expect("the output has the size that LZ4 asks for");
        out.truncate(start + packed);
        Codec::Lz4
    }
}

#[cfg(feature = "zstd")]
const ZSTD_LEVEL: i32 = 3;

/// The `raw_len` bytes that were packed as `bytes`. The error says what is wrong.
pub(crate) fn unpack(codec: Codec, bytes: &[u8], raw_len: usize) -> Result<Arc<[u8]>, Unpack> {
    if codec == Codec::Plain {
        let fits = bytes.len() == raw_len;
        return if fits { Ok(Arc::from(bytes)) } else { Err(Unpack::Damaged(LENGTH)) };
    }
    // Before memory is asked for: see the module.
    if raw_len > bytes.len().saturating_mul(RATIO_MAX) {
        return Err(Unpack::Damaged(LENGTH));
    }
    let mut raw: Arc<[u8]> = std::iter::repeat_n(0, raw_len).collect();
    let room = Arc::get_mut(&mut raw).expect("nobody else has it yet");
    let len = match codec {
        Codec::Plain => unreachable!("was handled above"),
        Codec::Lz4 => lz4_flex::block::decompress_into(bytes, room).ok(),
        #[cfg(feature = "zstd")]
        Codec::Zstd => zstd::bulk::decompress_to_buffer(bytes, room).ok(),
        #[cfg(not(feature = "zstd"))]
        Codec::Zstd => return Err(Unpack::Unsupported),
    };
    if len == Some(raw_len) { Ok(raw) } else { Err(Unpack::Damaged("block cannot be unpacked")) }
}

const LENGTH: &str = "block has an impossible length";

/// Why a part could not be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unpack {
    Damaged(&'static str),
    #[cfg_attr(feature = "zstd", expect(dead_code, reason = "this build knows every codec"))]
    Unsupported,
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};

    use super::*;

    fn noise(len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        rand_chacha::ChaCha8Rng::seed_from_u64(1).fill_bytes(&mut bytes);
        bytes
    }

    fn packed(compression: Compression, raw: &[u8]) -> (Codec, Vec<u8>) {
        let mut out = Vec::new();
        (Packer::new(compression).pack(raw, &mut out), out)
    }

    // What goes in must come out, whatever the size and however well it shrinks.
    #[test]
    fn parts_come_back_as_they_were() {
        let noise = noise(200_000);
        for raw in [&[][..], b"a", &[7; 5000], &[0; 200_000], &noise[..3000], &noise] {
            for compression in Compression::ALL.iter().copied() {
                let (codec, bytes) = packed(compression, raw);
                assert_eq!(&*unpack(codec, &bytes, raw.len()).unwrap(), raw);
                assert!(bytes.len() <= raw.len(), "a part never grows");
            }
        }
    }

    // A length from a hostile disk must not become an allocation.
    #[test]
    fn a_length_out_of_proportion_is_damage() {
        let (codec, bytes) = packed(Compression::Lz4, &[7; 5000]);
        assert_eq!(codec, Codec::Lz4);
        let err = Unpack::Damaged(LENGTH);
        assert_eq!(unpack(codec, &bytes, bytes.len() * RATIO_MAX + 1).unwrap_err(), err);
        assert_eq!(unpack(Codec::Plain, &bytes, usize::MAX).unwrap_err(), err);
        for len in [0, 4999, 5001] {
            assert!(unpack(codec, &bytes, len).is_err());
        }
    }

    // Trying costs as much as writing; data that never shrinks is tried seldom, but is tried.
    #[test]
    fn noise_is_tried_less_and_less() {
        let mut packer = Packer::new(Compression::Lz4);
        let noise = noise(500);
        let mut out = Vec::new();
        for _ in 0..100 {
            assert_eq!(packer.pack(&noise, &mut out), Codec::Plain);
        }
        let tries = (0..=UNTRIED_MAX).find(|_| packer.pack(&[0; 500], &mut out) == Codec::Lz4);
        assert!(tries.is_some_and(|n| n <= UNTRIED_MAX), "never tried again");
    }
}
