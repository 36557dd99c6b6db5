//! Which records a YCSB client asks for: few of them often, most of them hardly ever.
//!
//! The rank of a record follows the Zipf distribution with exponent 0.99, as in YCSB, drawn by the
//! method of Gray et al., "Quickly generating billion-record synthetic databases" (SIGMOD 1994).
//! Ranks are scrambled, so that the records asked for most lie apart from each other.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng as _;

use super::data::spread;

const THETA: f64 = 0.99;

/// Draws from `0..items`.
#[derive(Clone, Debug)]
pub struct Zipf {
    items: u64,
    alpha: f64,
    zeta: f64,
    eta: f64,
}

impl Zipf {
    /// Over so many records, 2 or more.
    ///
    /// # Panics
    /// If there are fewer.
    #[must_use]
    pub fn new(items: u64) -> Zipf {
        assert!(items >= 2, "a choice needs two records");
        let zeta = |n: u64| (1..=n).map(|i| (i as f64).powf(-THETA)).sum::<f64>();
        let all = zeta(items);
        let eta = (1.0 - (2.0 / items as f64).powf(1.0 - THETA)) / (1.0 - zeta(2) / all);
        Zipf { items, alpha: 1.0 / (1.0 - THETA), zeta: all, eta }
    }

    /// The next record.
    pub fn draw(&self, random: &mut ChaCha8Rng) -> u64 {
        spread(self.rank(fraction(random))) % self.items
    }

    fn rank(&self, u: f64) -> u64 {
        let uz = u * self.zeta;
        if uz < 1.0 {
            return 0;
        }
        if uz < 1.0 + 0.5f64.powf(THETA) {
            return 1;
        }
        let rank = self.items as f64 * (self.eta * u - self.eta + 1.0).powf(self.alpha);
        (rank as u64).min(self.items - 1)
    }
}

/// A number in `0.0..1.0`.
pub fn fraction(random: &mut ChaCha8Rng) -> f64 {
    (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// A number in `0..below`; the bias is below one in 2^32 for what is counted here.
pub fn below(random: &mut ChaCha8Rng, below: u64) -> u64 {
    ((u128::from(random.next_u64()) * u128::from(below)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;

    /// With exponent 0.99 over a thousand records the first has 13 of 100 draws, the first ten a
    /// third and more; a uniform choice would give 0.1 and 1.
    #[test]
    fn few_records_are_asked_for_often() {
        let zipf = Zipf::new(1000);
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut counts = vec![0u32; 1000];
        for _ in 0..100_000 {
            counts[zipf.rank(fraction(&mut random)) as usize] += 1;
        }
        assert!((11_000..15_000).contains(&counts[0]), "{}", counts[0]);
        assert!(counts[..10].iter().sum::<u32>() > 33_000);
        assert!(counts[500..].iter().sum::<u32>() > 5_000, "and the rest is not forgotten");
        for _ in 0..1000 {
            assert!(zipf.draw(&mut random) < 1000 && below(&mut random, 7) < 7);
        }
    }
}
