//! A small set of all user keys that says "not here" without reading a block.
//!
//! **The problem.** A key that is looked up may be in any of several tables and is in one of them,
//! or in none. Every table it is not in would cost a block.
//!
//! **The idea.** A Bloom filter cut into lines of 64 bytes. A key's hash picks one line, and six or
//! so bits of it are set; a look costs one cache miss however large the filter is. At ten bits a
//! key about one look in a hundred says "perhaps" of a key that is not there, and none ever says
//! "no" of one that is.
//!
//! ```text
//!   page      64 lines, each in a seal of its own; the last one has fewer
//!   line      64 bytes, as eight little-endian u64
//!
//!   hash ──► line:  (its upper half × lines) >> 32,  of page line / 64
//!        ──► bits:  hash × M, nine bits for each probe, from the top
//! ```
//!
//! The number of lines and probes is in the table's root. Pages are of one size, so that each is
//! found without an index and read alone where the whole filter is too much for the memory given.
//!
//! Damage must never become a false "no": every page is sealed like every part of the
//! table, and who meets one that fails its checksum is told so.
//!
//! Putze, Sanders, Singler, "Cache-, Hash- and Space-Efficient Bloom Filters" (2009), §3.

const LINE_BITS: usize = 512;
const PROBES_MAX: u32 = 7;
const LINE_BYTES: usize = 64;
/// Lines in a page.
const PAGE_LINES: usize = 64;
/// Spreads the hash once more, so that the bits do not repeat the choice of the line.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// How a filter is laid out: what it takes to find the bits of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    lines: u32,
    probes: u32,
}

/// One cache line of bits.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Line([u64; 8]);

/// A whole filter over the user keys of a table.
#[derive(Debug)]
pub(crate) struct Filter {
    lines: Box<[Line]>,
    shape: Shape,
}

impl Shape {
    /// Of numbers that may be anything.
    pub(crate) fn new(lines: u32, probes: u32) -> Result<Shape, &'static str> {
        if lines == 0 || !(1..=PROBES_MAX).contains(&probes) {
            return Err("filter has impossible dimensions");
        }
        Ok(Shape { lines, probes })
    }

    pub(crate) fn lines(self) -> u32 {
        self.lines
    }

    pub(crate) fn probes(self) -> u32 {
        self.probes
    }

    pub(crate) fn bytes(self) -> usize {
        self.lines as usize * LINE_BYTES
    }

    /// How many pages there are.
    pub(crate) fn pages(self) -> usize {
        (self.lines as usize).div_ceil(PAGE_LINES)
    }

    /// The bytes of page `page`: where they begin in the filter, and where they end.
    pub(crate) fn page(self, page: usize) -> (usize, usize) {
        let begin = page * PAGE_LINES * LINE_BYTES;
        (begin, (begin + PAGE_LINES * LINE_BYTES).min(self.bytes()))
    }

    /// The page that the key with this hash is noted in.
    pub(crate) fn page_of(self, hash: u64) -> usize {
        self.line(hash) / PAGE_LINES
    }

    /// Whether the key with this hash, which is noted in this page, may be there.
    pub(crate) fn may_contain(self, page: &[u8], hash: u64) -> bool {
        let begin = self.line(hash) % PAGE_LINES * LINE_BYTES;
        let line = &page[begin..begin + LINE_BYTES];
        bits_of(hash, self.probes).all(|bit| line[bit / 8] >> (bit % 8) & 1 == 1)
    }

    #[inline]
    fn line(self, hash: u64) -> usize {
        (((hash >> 32) * u64::from(self.lines)) >> 32) as usize
    }
}

impl Filter {
    /// Of the keys with these hashes, with about `bits` bits for each; at most 64. With 0 it is one
    /// line that lets everything pass.
    pub(crate) fn build(hashes: &[u64], bits: u32) -> Filter {
        if bits == 0 {
            let shape = Shape { lines: 1, probes: 1 };
            return Filter { lines: Box::new([Line([u64::MAX; 8])]), shape };
        }
        let bits = bits.clamp(1, 64) as usize;
        let count = (hashes.len() * bits).div_ceil(LINE_BITS).max(1);
        // The best number is 0.69 × bits for a filter in one piece. Lines are filled unevenly,
        // which asks for a little less, and more than seven probes have no bits left in the hash.
        let probes = (bits as u32 * 5 / 8).clamp(1, PROBES_MAX);
        let lines = u32::try_from(count).expect("a filter is smaller than 256 GiB");
        let mut filter = Filter::empty(Shape { lines, probes });
        for hash in hashes {
            let line = filter.shape.line(*hash);
            for bit in bits_of(*hash, probes) {
                filter.lines[line].0[bit / 64] |= 1 << (bit % 64);
            }
        }
        filter
    }

    /// In which nothing is noted yet.
    pub(crate) fn empty(shape: Shape) -> Filter {
        Filter { lines: vec![Line([0; 8]); shape.lines as usize].into(), shape }
    }

    /// Whether the key with this hash may be there. "No" is certain.
    #[inline]
    pub(crate) fn may_contain(&self, hash: u64) -> bool {
        let line = &self.lines[self.shape.line(hash)].0;
        bits_of(hash, self.shape.probes).all(|bit| line[bit / 64] >> (bit % 64) & 1 == 1)
    }

    /// Writes page `page` to `out`, which is emptied first.
    pub(crate) fn encode(&self, page: usize, out: &mut Vec<u8>) {
        out.clear();
        let lines = self.lines.iter().skip(page * PAGE_LINES).take(PAGE_LINES);
        for word in lines.flat_map(|line| line.0) {
            out.extend_from_slice(&word.to_le_bytes());
        }
    }

    /// Takes page `page` over from bytes of its length.
    pub(crate) fn fill(&mut self, page: usize, bytes: &[u8]) {
        let lines = self.lines.iter_mut().skip(page * PAGE_LINES);
        for (line, from) in lines.zip(bytes.as_chunks::<LINE_BYTES>().0) {
            for (to, from) in line.0.iter_mut().zip(from.as_chunks::<8>().0) {
                *to = u64::from_le_bytes(*from);
            }
        }
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
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

    // What is written must say the same when it is read, whole or page by page.
    #[test]
    fn pages_keep_every_bit() {
        for count in [0, 300, 20_000] {
            let filter = Filter::build(&hashes(0, count), 10);
            let shape = Shape::new(filter.shape.lines, filter.shape.probes).unwrap();
            let mut back = Filter::empty(shape);
            let mut pages = Vec::new();
            for page in 0..shape.pages() {
                let mut bytes = Vec::new();
                filter.encode(page, &mut bytes);
                let (begin, end) = shape.page(page);
                assert_eq!(bytes.len(), end - begin);
                back.fill(page, &bytes);
                pages.push(bytes);
            }
            for hash in hashes(0, 30_000) {
                let known = filter.may_contain(hash);
                assert_eq!(known, back.may_contain(hash));
                assert_eq!(known, shape.may_contain(&pages[shape.page_of(hash)], hash));
            }
        }
        assert!(
            Shape::new(0, 1).is_err() && Shape::new(1, 0).is_err() && Shape::new(1, 8).is_err()
        );
    }
}
