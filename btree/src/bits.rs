//! One bit for each page of the file.
//!
//! A set of pages could be kept as runs, which are compact while there are few of them, and grow to
//! tens of bytes a page once random writes have shredded the file. A bit is a bit: 20 GiB of pages
//! take 640 KiB, whatever happened to them.

/// A set of page numbers. Grows by itself; what lies beyond its end is not in the set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Bits {
    words: Vec<u64>,
}

const WORD: u32 = u64::BITS;

impl Bits {
    /// Bytes of memory taken.
    pub(crate) fn bytes(&self) -> usize {
        self.words.capacity() * size_of::<u64>()
    }

    pub(crate) fn contains(&self, at: u32) -> bool {
        self.words.get((at / WORD) as usize).is_some_and(|word| word >> (at % WORD) & 1 == 1)
    }

    /// The words, bit 0 of the first one for page 0.
    pub(crate) fn words(&self) -> &[u64] {
        &self.words
    }

    /// As [`words`](Bits::words), with at least `words` of them.
    pub(crate) fn words_mut(&mut self, words: usize) -> &mut Vec<u64> {
        if self.words.len() < words {
            self.words.resize(words, 0);
        }
        &mut self.words
    }

    /// Puts `pages` pages from `first` on into the set, or takes them out. Returns how many of them
    /// were on the other side before.
    pub(crate) fn fill(&mut self, first: u32, pages: u32, value: bool) -> u32 {
        if pages == 0 {
            return 0;
        }
        let end = u64::from(first) + u64::from(pages);
        self.words_mut(end.div_ceil(u64::from(WORD)) as usize);
        let mut changed = 0;
        let mut at = u64::from(first);
        while at < end {
            let (word, bit) = ((at / u64::from(WORD)) as usize, (at % u64::from(WORD)) as u32);
            let count = u64::from(WORD - bit).min(end - at) as u32;
            let mask = (u64::MAX >> (WORD - count)) << bit;
            let old = self.words[word];
            let new = if value { old | mask } else { old & !mask };
            changed += (old ^ new).count_ones();
            self.words[word] = new;
            at += u64::from(count);
        }
        changed
    }

    /// Whether all of `pages` pages from `first` on are in the set.
    pub(crate) fn contains_all(&self, first: u32, pages: u32) -> bool {
        self.run(first, first + pages) == pages
    }

    /// The first page in the set within `from..end`.
    pub(crate) fn next(&self, from: u32, end: u32) -> Option<u32> {
        let mut at = from;
        while at < end {
            let word = self.words.get((at / WORD) as usize)? >> (at % WORD);
            if word != 0 {
                return Some(at + word.trailing_zeros()).filter(|at| *at < end);
            }
            at = (at / WORD + 1) * WORD;
        }
        None
    }

    /// How many pages from `from` on, and before `end`, are in the set without a gap.
    pub(crate) fn run(&self, from: u32, end: u32) -> u32 {
        let mut at = from;
        while at < end {
            let word = self.words.get((at / WORD) as usize).map_or(0, |word| word >> (at % WORD));
            let ones = word.trailing_ones();
            at += ones;
            if ones < WORD - (at - ones) % WORD {
                break;
            }
        }
        at.min(end) - from
    }

    /// How many pages before `from`, and not before `start`, are in the set without a gap.
    pub(crate) fn run_before(&self, from: u32, start: u32) -> u32 {
        let mut at = from;
        while at > start {
            // Bits from 1 to `WORD` of the word that ends before `at`, the last one on top.
            let bits = (at - 1) % WORD + 1;
            let word =
                self.words.get(((at - 1) / WORD) as usize).map_or(0, |word| word << (WORD - bits));
            let ones = word.leading_ones().min(bits);
            at -= ones;
            if ones < bits {
                break;
            }
        }
        from - at.max(start)
    }

    /// How many pages within `from..end` are in the set.
    pub(crate) fn count_within(&self, from: u32, end: u32) -> u64 {
        let mut count = 0;
        let mut at = from;
        while at < end {
            let Some(word) = self.words.get((at / WORD) as usize) else { break };
            let bits = (WORD - at % WORD).min(end - at);
            count += u64::from((word >> (at % WORD) & u64::MAX >> (WORD - bits)).count_ones());
            at += bits;
        }
        count
    }

    /// How many pages are in the set.
    pub(crate) fn count(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// The last page in the set before `end`.
    pub(crate) fn last(&self, end: u32) -> Option<u32> {
        (0..self.words.len().min(end.div_ceil(WORD) as usize)).rev().find_map(|word| {
            let from = word as u32 * WORD;
            let mask = if end - from >= WORD { u64::MAX } else { (1 << (end - from)) - 1 };
            let bits = self.words[word] & mask;
            (bits != 0).then(|| from + WORD - 1 - bits.leading_zeros())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    // Every space decision rests on these few loops over words.
    #[test]
    fn a_bitmap_behaves_like_a_set_of_numbers() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let (mut bits, mut set) = (Bits::default(), BTreeSet::new());
        for _ in 0..4000 {
            let (first, pages) = (rng.random_range(0..300u32), rng.random_range(0..90u32));
            let value = rng.random_bool(0.5);
            let before = set.len();
            for at in first..first + pages {
                if value {
                    set.insert(at)
                } else {
                    set.remove(&at)
                };
            }
            assert_eq!(bits.fill(first, pages, value) as usize, before.abs_diff(set.len()));
            let (from, end) = (rng.random_range(0..400u32), rng.random_range(0..400u32));
            assert_eq!(bits.contains(from), set.contains(&from));
            let next = (from <= end).then(|| set.range(from..end).next().copied()).flatten();
            assert_eq!(bits.next(from, end), next);
            let run = (from..end).take_while(|at| set.contains(at)).count() as u32;
            assert_eq!(bits.run(from, end.max(from)), run);
            let back = (end..from).rev().take_while(|at| set.contains(at)).count() as u32;
            assert_eq!(bits.run_before(from, end.min(from)), back);
            assert_eq!(bits.last(end), set.range(..end).next_back().copied());
            assert_eq!(bits.count(), set.len() as u64);
            let within = if from <= end { set.range(from..end).count() } else { 0 };
            assert_eq!(bits.count_within(from, end), within as u64);
            let all = (first..first + pages).all(|at| set.contains(&at));
            assert_eq!(bits.contains_all(first, pages), all);
        }
    }
}
