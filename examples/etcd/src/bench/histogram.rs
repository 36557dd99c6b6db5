//! How long requests took, as counts.
//!
//! A list of all would grow with the run. Counts in buckets do not: each power of two is cut in 64,
//! so that a quantile is right to 1.6 %, from a microsecond to an hour.

use std::time::Duration;

/// Buckets of one power of two, as a power of two.
const SUB_BITS: u32 = 6;
const SUB: u64 = 1 << SUB_BITS;
/// Powers of two above those that are counted one by one: an hour has 2^32 µs.
const POWERS: u64 = 27;

/// How long requests took.
#[derive(Clone, Debug)]
pub(crate) struct Times {
    buckets: Vec<u64>,
    count: u64,
    max: Duration,
    sum: f64,
    squares: f64,
}

impl Default for Times {
    fn default() -> Times {
        let buckets = vec![0; (SUB * (POWERS + 1)) as usize];
        Times { buckets, count: 0, max: Duration::ZERO, sum: 0.0, squares: 0.0 }
    }
}

impl Times {
    /// Counts one more.
    pub(crate) fn note(&mut self, took: Duration) {
        self.buckets[place(took)] += 1;
        self.count += 1;
        self.max = self.max.max(took);
        self.sum += took.as_secs_f64();
        self.squares += took.as_secs_f64() * took.as_secs_f64();
    }

    /// Adds those of another.
    pub(crate) fn add(&mut self, other: &Times) {
        for (own, other) in self.buckets.iter_mut().zip(&other.buckets) {
            *own += other;
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
        self.sum += other.sum;
        self.squares += other.squares;
    }

    /// How many.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The slowest.
    pub(crate) fn max(&self) -> Duration {
        self.max
    }

    /// How far they are from their mean, seconds: the root of the mean of squares.
    pub(crate) fn deviation(&self) -> f64 {
        if self.count == 0 {
            return 0.0;
        }
        let count = self.count as f64;
        let mean = self.sum / count;
        (self.squares / count - mean * mean).max(0.0).sqrt()
    }

    /// So many of a thousand were at most this slow; zero if there was none.
    pub(crate) fn quantile(&self, thousandths: u64) -> Duration {
        let rank = (self.count * thousandths).div_ceil(1000).max(1);
        let mut seen = 0;
        for (at, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return upper(at as u64).min(self.max);
            }
        }
        Duration::ZERO
    }
}

fn place(took: Duration) -> usize {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    if micros < SUB {
        return micros as usize;
    }
    // The highest SUB_BITS + 1 bits: the first says the power, the others the part of it.
    let power = u64::from(micros.ilog2() - SUB_BITS);
    let part = (micros >> power) - SUB;
    let last = SUB * (POWERS + 1) - 1;
    ((power + 1) * SUB + part).min(last) as usize
}

/// The largest that belongs to a bucket.
fn upper(at: u64) -> Duration {
    if at < SUB {
        return Duration::from_micros(at);
    }
    let (power, part) = (at / SUB - 1, at % SUB);
    Duration::from_micros(((SUB + part + 1) << power) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Every percentile is known where each time comes once.
    #[test]
    fn quantiles_are_right_to_a_sixtieth() {
        let mut times = Times::default();
        (1..=10_000).for_each(|at| times.note(Duration::from_micros(at * 7)));
        for thousandths in [500, 900, 990, 999] {
            let (got, right) = (times.quantile(thousandths).as_micros() as u64, thousandths * 70);
            assert!(got >= right && got - right <= right / 60, "{thousandths}: {got} is {right}");
        }
        assert_eq!((times.count(), times.max()), (10_000, Duration::from_micros(70_000)));
        assert_eq!(times.quantile(1000), times.max());
    }

    // Clients count each for itself.
    #[test]
    fn sums_of_parts_are_those_of_the_whole() {
        let (mut all, mut one, mut other) = (Times::default(), Times::default(), Times::default());
        for at in 0..3000 {
            let took = Duration::from_micros(at * at);
            all.note(took);
            if at % 3 == 0 { one.note(took) } else { other.note(took) }
        }
        one.add(&other);
        assert_eq!(one.quantile(990), all.quantile(990));
        assert_eq!((one.count(), one.max()), (3000, all.max()));
        assert!((one.deviation() - all.deviation()).abs() < 1e-9);
    }

    // A stall is counted, however long, and nothing at all is zero.
    #[test]
    fn extremes_have_a_place() {
        let mut times = Times::default();
        assert_eq!((times.quantile(990), times.deviation()), (Duration::ZERO, 0.0));
        times.note(Duration::ZERO);
        times.note(Duration::from_secs(100_000));
        assert_eq!(times.quantile(500), Duration::ZERO);
        assert!(times.quantile(1000) > Duration::from_secs(3600));
        let mut steady = Times::default();
        (0..9).for_each(|_| steady.note(Duration::from_millis(5)));
        assert!(steady.deviation() < 1e-6);
    }
}
