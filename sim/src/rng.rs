//! A seeded generator of numbers whose stream never changes.
//!
//! A failing seed is worth something only as long as it fails: on another machine, with another
//! compiler, after an update of every dependency. So the stream is ours and frozen: xoshiro256**
//! (Blackman and Vigna, *Scrambled linear pseudorandom number generators*, 2018), its state filled
//! from the seed by SplitMix64, and every way to turn a draw into a number below is part of the
//! promise. The vectors in the tests hold them in place.
//!
//! **Forks.** A part of a simulation that draws from a generator of its own does not disturb the
//! others: add a draw to the disk, and the network of the same seed still loses the same messages.
//! [`fork`](Rng::fork) makes one by label, and leaves its parent as it was.
//!
//! It is fast and even, and no secret: whoever sees a few draws knows the rest.

use std::ops::Range;

use crate::rate::Rate;

/// The generator. The same seed gives the same numbers, everywhere and for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rng {
    state: [u64; 4],
}

impl Rng {
    /// The stream of `seed`.
    pub fn new(seed: u64) -> Rng {
        let mut mix = SplitMix(seed);
        // SplitMix64 gives four equal words, let alone four zeros, for no seed.
        Rng { state: [mix.draw(), mix.draw(), mix.draw(), mix.draw()] }
    }

    /// Another stream, made of where this one stands and of `label`. This one does not move, so
    /// two forks of the same label from the same place are the same stream.
    pub fn fork(&self, label: &str) -> Rng {
        let [a, b, c, d] = self.state;
        // FNV-1a: short labels, no need for more. SplitMix64 in `new` spreads the outcome.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in label.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Rng::new(hash ^ a ^ b.rotate_left(17) ^ c.rotate_left(31) ^ d.rotate_left(47))
    }

    /// The next 64 bits.
    #[inline]
    pub fn draw(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let drawn = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        drawn
    }

    /// A number below `end`, each as likely as the others.
    ///
    /// # Panics
    ///
    /// If `end` is 0: there is no such number.
    #[inline]
    pub fn below(&mut self, end: u64) -> u64 {
        assert!(end > 0, "there is no number below 0");
        // Lemire, *Fast random integer generation in an interval*, 2019: the high half of the
        // product is the number; the few draws that would make some of them likelier are refused.
        let mut product = u128::from(self.draw()) * u128::from(end);
        if (product as u64) < end {
            let unfair = end.wrapping_neg() % end;
            while (product as u64) < unfair {
                product = u128::from(self.draw()) * u128::from(end);
            }
        }
        (product >> 64) as u64
    }

    /// A number of the range, each as likely as the others.
    ///
    /// # Panics
    ///
    /// If the range is empty.
    #[inline]
    pub fn range(&mut self, range: Range<u64>) -> u64 {
        assert!(range.start < range.end, "a number is drawn from a range that has some");
        range.start + self.below(range.end - range.start)
    }

    /// Whether it happens this time. [`Rate::NEVER`] and [`Rate::ALWAYS`] draw nothing.
    #[inline]
    pub fn chance(&mut self, rate: Rate) -> bool {
        if rate == Rate::NEVER || rate == Rate::ALWAYS {
            return rate == Rate::ALWAYS;
        }
        self.below(u64::from(Rate::ALWAYS.parts())) < u64::from(rate.parts())
    }

    /// One of `items`, each as likely as the others.
    ///
    /// # Panics
    ///
    /// If there are none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u64) as usize]
    }

    /// Puts `items` in one of their orders, each as likely as the others.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

/// Steele, Lea and Flood, *Fast splittable pseudorandom number generators*, 2014.
struct SplitMix(u64);

impl SplitMix {
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Both algorithms are those of their authors, or their papers' proofs do not speak of ours.
    #[test]
    fn the_generators_are_the_published_ones() {
        let mut mix = SplitMix(1_234_567);
        assert_eq!(mix.draw(), 6_457_827_717_110_365_317);
        assert_eq!(mix.draw(), 3_203_168_211_198_807_973);
        assert_eq!(mix.draw(), 9_817_491_932_198_370_423);

        let mut rng = Rng { state: [1, 2, 3, 4] };
        let drawn: Vec<u64> = (0..6).map(|_| rng.draw()).collect();
        let published =
            [11_520, 0, 1_509_978_240, 1_215_971_899_390_074_240, 1_216_172_134_540_287_360];
        assert_eq!(drawn[..5], published);
        assert_eq!(drawn[5], 607_988_272_756_665_600);
    }

    // No number may be out of the range, and none left out.
    #[test]
    fn every_number_of_a_range_comes_about_as_often() {
        let mut rng = Rng::new(1);
        let mut counts = [0_u32; 7];
        for _ in 0..70_000 {
            counts[rng.range(10..17) as usize - 10] += 1;
        }
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
        assert_eq!(rng.range(9..10), 9);
        assert!(rng.range(u64::MAX - 1..u64::MAX) == u64::MAX - 1);
    }

    // For a range that does not divide 2^64 some numbers would come more often; in a small range
    // nobody could tell, in this one a third would come twice as often as the others.
    #[test]
    fn no_number_of_a_large_range_is_likelier() {
        let mut rng = Rng::new(5);
        let mut counts = [0_u32; 3];
        for _ in 0..30_000 {
            counts[(rng.below(3 << 62) % 3) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
    }

    // The streams that seeds stand for. If one of these must change, no seed that anyone has kept
    // is worth anything afterwards.
    #[test]
    fn the_streams_are_frozen() {
        let mut rng = Rng::new(42);
        let mut order = [1, 2, 3, 4, 5, 6, 7, 8];
        rng.fork("order").shuffle(&mut order);
        let chances = (0..64).map(|_| u64::from(rng.chance(Rate::percent(50))));
        let chances = chances.fold(0, |bits, bit| bits << 1 | bit);
        let drawn = [rng.draw(), rng.below(1_000_000_007), rng.range(10..20), rng.fork("a").draw()];
        assert_eq!(order, [3, 5, 7, 6, 1, 4, 8, 2]);
        assert_eq!(chances, 0xc014_0ee6_0604_1b02_u64);
        let frozen = [1_322_953_645_177_125_106, 171_896_144, 11, 2_211_176_803_420_646_801];
        assert_eq!(drawn, frozen);
    }

    // A rate that is off by a little would make every rare fault rarer.
    #[test]
    fn a_chance_comes_as_often_as_it_says() {
        let mut rng = Rng::new(2);
        let hits = (0..100_000).filter(|_| rng.chance(Rate::percent(3))).count();
        assert!((2_800..3_200).contains(&hits), "{hits}");
        assert!((0..1000).all(|_| rng.chance(Rate::ALWAYS) && !rng.chance(Rate::NEVER)));
    }

    // Forks exist so that one part's draws do not move another's.
    #[test]
    fn a_fork_is_its_own_and_leaves_its_parent_alone() {
        let parent = Rng::new(3);
        let mut before = parent.clone();
        let (mut disk, mut network) = (parent.fork("disk"), parent.fork("network"));
        assert_eq!(parent.fork("disk").draw(), disk.draw());
        assert_ne!(disk.draw(), network.draw());
        assert_eq!(parent.clone().draw(), before.draw());
    }

    // A shuffle that never leaves, say, the first in place would hide the case where it stays.
    #[test]
    fn a_shuffle_gives_every_order() {
        let mut rng = Rng::new(4);
        let mut seen = std::collections::BTreeMap::new();
        for _ in 0..6_000 {
            let mut items = [1, 2, 3];
            rng.shuffle(&mut items);
            *seen.entry(items).or_insert(0) += 1;
        }
        assert!(seen.len() == 6 && seen.values().all(|count| (900..1100).contains(count)));
    }
}
