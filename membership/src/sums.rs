//! Sums of what is known of members, by which two find out in what they differ.
//!
//! Every member's [fingerprint](crate::peer::fingerprint) is XORed into one of the buckets, which
//! its id decides, and into the sum of all. What is XORed twice is gone, so a change takes the old
//! fingerprint out and puts the new one in.
//!
//! ```text
//!     bucket of 512    0  1  2  …  255 | 256  257  …  511         the low bits of the id's hash
//!     bucket of 256    0  1  2  …  255   └─ each into the one 256 below it
//! ```
//!
//! A number of buckets is a power of two, so the fine ones fold into coarse ones, and two members
//! that keep different numbers compare the smaller one. 256 are a kilobyte, and good for finding a
//! few differences. Whoever is new differs in much, and wants as many buckets as there are members:
//! then little is told beside what differs, at 4 bytes for a member and not some 35.

use crate::error::Result;
use crate::rng::mix;
use crate::types::NodeId;
use crate::wire::{Put, Reader};

/// The smallest and the largest number of buckets, as powers of two.
pub(crate) const BITS_MIN: u8 = 8;
pub(crate) const BITS_MAX: u8 = 16;

/// In which of `1 << bits` buckets a member is.
pub(crate) fn bucket(id: NodeId, bits: u8) -> usize {
    mix(id.0) as usize & ((1 << bits) - 1)
}

/// Some sums.
///
/// * Their number is a power of two, from [`BITS_MIN`] to [`BITS_MAX`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sums(Vec<u32>);

impl Sums {
    pub(crate) fn new(bits: u8) -> Sums {
        assert!((BITS_MIN..=BITS_MAX).contains(&bits), "2^{bits} buckets");
        Sums(vec![0; 1 << bits])
    }

    pub(crate) fn bits(&self) -> u8 {
        self.0.len().trailing_zeros() as u8
    }

    /// Adds a fingerprint, or takes it out: it is the same.
    pub(crate) fn toggle(&mut self, id: NodeId, fingerprint: u64) {
        let bucket = bucket(id, self.bits());
        self.0[bucket] ^= fingerprint as u32;
    }

    /// The same in fewer buckets; in as many, if there are no more.
    pub(crate) fn folded(&self, bits: u8) -> Sums {
        let count = 1 << bits.min(self.bits());
        let (first, rest) = self.0.split_at(count);
        let mut sums = first.to_vec();
        for more in rest.chunks_exact(count) {
            sums.iter_mut().zip(more).for_each(|(sum, more)| *sum ^= more);
        }
        Sums(sums)
    }

    /// The buckets in which two differ, and how many those are.
    pub(crate) fn differing(&self, other: &Sums) -> (Mask, usize) {
        let (ours, theirs) = (self.folded(other.bits()), other.folded(self.bits()));
        let mut mask = Mask(vec![0; ours.0.len() / 8]);
        let mut count = 0;
        for (place, (ours, theirs)) in ours.0.iter().zip(&theirs.0).enumerate() {
            if ours != theirs {
                mask.0[place / 8] |= 1 << (place % 8);
                count += 1;
            }
        }
        (mask, count)
    }

    /// All of them together.
    pub(crate) fn total(&self) -> u32 {
        self.0.iter().fold(0, |total, sum| total ^ sum)
    }

    pub(crate) fn memory(&self) -> usize {
        self.0.capacity() * 4
    }

    /// Their number as a power of two, then each.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.push(self.bits());
        self.0.iter().for_each(|sum| out.put_u32(*sum));
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Sums> {
        let bits = read_bits(reader)?;
        let bytes = reader.take(4 << bits)?;
        let sums = bytes.chunks_exact(4).map(|it| u32::from_le_bytes([it[0], it[1], it[2], it[3]]));
        Ok(Sums(sums.collect()))
    }
}

/// Some buckets of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mask(Vec<u8>);

impl Mask {
    /// All buckets.
    pub(crate) fn all() -> Mask {
        Mask(vec![u8::MAX; (1 << BITS_MIN) / 8])
    }

    pub(crate) fn bits(&self) -> u8 {
        (8 * self.0.len()).trailing_zeros() as u8
    }

    pub(crate) fn has(&self, bucket: usize) -> bool {
        self.0[bucket / 8] & 1 << (bucket % 8) != 0
    }

    /// Those of them from one bucket to before another.
    pub(crate) fn part(&self, from: usize, end: usize) -> Mask {
        let mut part = Mask(vec![0; self.0.len()]);
        for bucket in (from..end).filter(|bucket| self.has(*bucket)) {
            part.0[bucket / 8] |= 1 << (bucket % 8);
        }
        part
    }

    /// Their number as a power of two, then a bit for each.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.push(self.bits());
        out.extend_from_slice(&self.0);
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Mask> {
        let bits = read_bits(reader)?;
        Ok(Mask(reader.take((1 << bits) / 8)?.to_vec()))
    }
}

/// Reads how many buckets there are, as a power of two.
pub(crate) fn read_bits(reader: &mut Reader<'_>) -> Result<u8> {
    let place = reader.clone();
    let bits = reader.byte()?;
    if !(BITS_MIN..=BITS_MAX).contains(&bits) {
        return place.wrong("a number of buckets out of bounds");
    }
    Ok(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bits: u8, ids: impl Iterator<Item = u64>) -> Sums {
        let mut sums = Sums::new(bits);
        ids.for_each(|id| sums.toggle(NodeId(id), mix(id + 1)));
        sums
    }

    // Members of a cluster that grows keep different numbers of sums for a while.
    #[test]
    fn fine_sums_fold_into_the_coarse_ones_of_another() {
        let (fine, coarse) = (of(12, 0..3000), of(8, 0..3000));
        assert_eq!((fine.folded(8), coarse.folded(12)), (coarse.clone(), coarse.clone()));
        assert_eq!(fine.differing(&coarse).1, 0);
        assert_eq!(fine.total(), coarse.total());
    }

    // Who is in no bucket that differs is not told of, and who differs is in one.
    #[test]
    fn the_finer_they_are_the_less_is_told_beside_what_differs() {
        let told = |bits| {
            let (mask, count) = of(bits, 0..3000).differing(&of(12, 150..3000));
            assert_eq!(count, (0..1 << bits).filter(|bucket| mask.has(*bucket)).count());
            let told = |id: &u64| mask.has(bucket(NodeId(*id), mask.bits()));
            assert_eq!((0..150).filter(told).count(), 150, "all that differ are told");
            (150..3000).filter(told).count()
        };
        let (coarse, fine) = (told(8), told(12));
        assert!((1000..1600).contains(&coarse), "{coarse}");
        assert!((50..150).contains(&fine), "{fine}");
    }

    // The parts are answered one by one, and nothing may be answered twice, or not at all.
    #[test]
    fn a_mask_is_the_sum_of_its_parts() {
        let (mask, _) = of(10, 0..300).differing(&of(10, 0..0));
        let parts = [mask.part(0, 100), mask.part(100, 101), mask.part(101, 1024)];
        for bucket in 0..1024 {
            let count = parts.iter().filter(|part| part.has(bucket)).count();
            assert_eq!(count, usize::from(mask.has(bucket)));
        }
    }

    // A number that another member names decides how much is read.
    #[test]
    fn numbers_of_buckets_are_bounded() {
        for bits in [0, BITS_MIN - 1, BITS_MAX + 1, 64, 255] {
            let bytes = vec![bits; 1 << 20];
            assert!(Sums::read(&mut Reader::new(&bytes, 0)).is_err());
            assert!(Mask::read(&mut Reader::new(&bytes, 0)).is_err());
        }
        let mut bytes = Vec::new();
        let (sums, mask) = (of(9, 0..99), of(9, 0..99).differing(&of(9, 5..99)).0);
        sums.write(&mut bytes);
        mask.write(&mut bytes);
        let mut reader = Reader::new(&bytes, 0);
        assert_eq!((Sums::read(&mut reader), Mask::read(&mut reader)), (Ok(sums), Ok(mask)));
        assert_eq!(reader.end(), Ok(()));
    }
}
