//! A small set of all user keys that says "not here" without reading a block.
//!
//! **The problem.** A key that is looked up may be in any of several tables and is in one of them,
//! or in none. Every table it is not in would cost a block.
//!
//! **The idea.** A Bloom filter cut into lines of 64 bytes. A key's hash picks one line, and six or
//! so bits of it are set; a look costs one cache miss however large the filter is. At ten bits a key
//! about one look in a hundred says "perhaps" of a key that is not there, and none ever says "no" of
//! one that is.
//!
//! ```text
//!   kind      u8         1
//!   probes    u8         bits set for a key, 1 to 7
//!   -         u16        0
//!   lines     u32        at least 1
//!   line      64 bytes × lines, as eight little-endian u64 each
//!
//!   hash ──► line:  (its upper half × lines) >> 32
//!        ──► bits:  hash × M, nine bits for each probe, from the top
//! ```
//!
//! Damage must never become a false "no": the filter is sealed like every part of the table, and a
//! table whose filter fails its checksum is not opened.
//!
//! Putze, Sanders, Singler, "Cache-, Hash- and Space-Efficient Bloom Filters" (2009), §3.

use crate::codec::Input;

const LINE_BITS: usize = 512;
const PROBES_MAX: u32 = 7;
const KIND: u8 = 1;
/// Spreads the hash once more, so that the bits do not repeat the choice of the line.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// One cache line of bits.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Line([u64; 8]);

/// A filter over the user keys of a table.
#[derive(Debug)]
pub(crate) struct Filter {
    lines: Box<[Line]>,
    probes: u32,
}

impl Filter {
    /// Of the keys with these hashes, with about `bits` bits for each; at most 64. With 0 it is one
    /// line that lets everything pass.
    pub(crate) fn build(hashes: &[u64], bits: u32) -> Filter {
        if bits == 0 {
            return Filter { lines: Box::new([Line([u64::MAX; 8])]), probes: 1 };
        }
        let bits = bits.clamp(1, 64) as usize;
        let count = (hashes.len() * bits).div_ceil(LINE_BITS).max(1);
        // The best number is 0.69 × bits for a filter in one piece. Lines are filled unevenly, which
        // asks for a little less, and more than seven probes have no bits left in the hash.
        let probes = (bits as u32 * 5 / 8).clamp(1, PROBES_MAX);
        let mut filter = Filter { lines: vec![Line([0; 8]); count].into(), probes };
        for hash in hashes {
            let line = filter.line(*hash);
            for bit in bits_of(*hash, probes) {
                filter.lines[line].0[bit / 64] |= 1 << (bit % 64);
            }
        }
        filter
    }

    /// Whether the key with this hash may be there. "No" is certain.
    #[inline]
    pub(crate) fn may_contain(&self, hash: u64) -> bool {
        let line = &self.lines[self.line(hash)].0;
        bits_of(hash, self.probes).all(|bit| line[bit / 64] >> (bit % 64) & 1 == 1)
    }

    #[inline]
    fn line(&self, hash: u64) -> usize {
        (((hash >> 32) * self.lines.len() as u64) >> 32) as usize
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let lines = u32::try_from(self.lines.len()).expect("a filter is smaller than 256 GiB");
        out.extend_from_slice(&[KIND, self.probes as u8, 0, 0]);
        out.extend_from_slice(&lines.to_le_bytes());
        for word in self.lines.iter().flat_map(|line| line.0) {
            out.extend_from_slice(&word.to_le_bytes());
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Filter, &'static str> {
        let mut input = Input::new(bytes);
        if input.u8()? != KIND {
            return Err("filter is of no known kind");
        }
        let probes = u32::from(input.u8()?);
        let reserved = input.u16()?;
        let count = input.u32()? as usize;
        let (lines, rest) = input.rest().as_chunks::<64>();
        if !(1..=PROBES_MAX).contains(&probes) || reserved != 0 || count == 0 {
            return Err("filter has impossible dimensions");
        }
        if lines.len() != count || !rest.is_empty() {
            return Err("filter has another length than it says");
        }
        let word = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
        let line = |bytes: &[u8; 64]| {
            let mut words = [0; 8];
            for (to, from) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
                *to = word(from);
            }
            Line(words)
        };
        Ok(Filter { lines: lines.iter().map(line).collect(), probes })
    }

    pub(crate) fn probes(&self) -> u32 {
        self.probes
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.lines)
    }
}

#[inline]
fn bits_of(hash: u64, probes: u32) -> impl Iterator<Item = usize> {
    let spread = hash.wrapping_mul(SPREAD);
    (0..probes).map(move |probe| (spread >> (55 - 9 * probe) & 0x1ff) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::hash;

    fn hashes(from: u32, to: u32) -> Vec<u64> {
        (from..to).map(|n| hash(&n.to_be_bytes())).collect()
    }

    // A false "no" is a lost key.
    #[test]
    fn every_key_is_found_at_every_size() {
        for count in [0, 1, 2, 51, 52, 1000, 20_000] {
            for bits in [0, 1, 5, 10, 20, 99] {
                let filter = Filter::build(&hashes(0, count), bits);
                assert!(hashes(0, count).iter().all(|h| filter.may_contain(*h)));
            }
        }
    }

    // A filter that says "perhaps" too often costs a block for each table.
    #[test]
    fn at_ten_bits_about_one_in_a_hundred_is_a_false_perhaps() {
        let filter = Filter::build(&hashes(0, 100_000), 10);
        let wrong = hashes(100_000, 300_000).iter().filter(|h| filter.may_contain(**h)).count();
        assert!(wrong < 2_600, "{wrong} of 200000");
    }

    // What is written must say the same when it is read, and hostile bytes must say an error.
    #[test]
    fn encoding_keeps_every_bit_and_decoding_checks_every_number() {
        let filter = Filter::build(&hashes(0, 300), 10);
        let mut bytes = Vec::new();
        filter.encode(&mut bytes);
        let back = Filter::decode(&bytes).unwrap();
        let same = hashes(0, 5000).iter().all(|h| filter.may_contain(*h) == back.may_contain(*h));
        assert!(same && back.probes == filter.probes);
        for len in 0..bytes.len() {
            assert!(Filter::decode(&bytes[..len]).is_err());
        }
        for (at, value) in [(0, 2), (1, 0), (1, 8), (2, 1), (4, 0), (7, 255)] {
            let mut bad = bytes.clone();
            bad[at] = value;
            assert!(Filter::decode(&bad).is_err(), "byte {at} is {value}");
        }
    }
}
