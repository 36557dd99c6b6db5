//! Times of many requests, kept as counts.
//!
//! A list of every time would grow with the run and a mean would hide the slow ones. An HDR
//! histogram keeps counts in buckets whose width is a thousandth of the time they stand for, so a
//! percentile is right to 0.1 % at any scale.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Times above this are counted as this: a minute.
const MICROS_MAX: u64 = 60_000_000;

/// Three significant digits: percentiles are right to 0.1 %.
const DIGITS: u8 = 3;

/// Counts of request times, in microseconds.
#[derive(Clone, Debug)]
pub struct Latencies {
    counts: Histogram<u64>,
}

/// What is reported of a [`Latencies`], in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// Arithmetic mean.
    pub mean: f64,
    /// Half of the requests were at most this slow.
    pub p50: u64,
    /// 99 of 100 were.
    pub p99: u64,
    /// 999 of 1000 were.
    pub p999: u64,
    /// The slowest.
    pub max: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        let counts = Histogram::new_with_bounds(1, MICROS_MAX, DIGITS)
            .expect("1 to a minute at 3 digits is a valid range");
        Latencies { counts }
    }
}

impl Latencies {
    /// Counts one request. Below a microsecond counts as one, above a minute as a minute.
    pub fn record(&mut self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(MICROS_MAX);
        self.counts.saturating_record(micros.clamp(1, MICROS_MAX));
    }

    /// Takes the counts of `other` in.
    pub fn merge(&mut self, other: &Latencies) {
        self.counts.add(&other.counts).expect("all histograms have the same bounds");
    }

    /// Requests counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.len()
    }

    /// The summary; all zeros if nothing was counted.
    #[must_use]
    pub fn percentiles(&self) -> Percentiles {
        Percentiles {
            mean: self.counts.mean(),
            p50: self.counts.value_at_quantile(0.5),
            p99: self.counts.value_at_quantile(0.99),
            p999: self.counts.value_at_quantile(0.999),
            max: self.counts.max(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: u64, expected: u64) {
        assert!(got.abs_diff(expected) * 1000 <= expected, "{got} is not {expected} +- 0.1 %");
    }

    /// The whole point of the report: with 1 to 10,000 ms each once, every percentile is known.
    #[test]
    fn percentiles_are_right_to_a_thousandth() {
        let mut times = Latencies::default();
        for millis in 1..=10_000 {
            times.record(Duration::from_millis(millis));
        }
        let got = times.percentiles();
        close(got.p50, 5_000_000);
        close(got.p99, 9_900_000);
        close(got.p999, 9_990_000);
        close(got.max, 10_000_000);
        assert!((got.mean - 5_000_500.0).abs() < 5_001.0, "mean {}", got.mean);
    }

    /// Threads count apart and are put together at the end: nothing may be lost on the way.
    #[test]
    fn merged_counts_are_those_of_one_histogram() {
        let (mut all, mut even, mut odd) =
            (Latencies::default(), Latencies::default(), Latencies::default());
        for micros in 1..5_000 {
            let time = Duration::from_micros(micros * micros);
            all.record(time);
            if micros % 2 == 0 { even.record(time) } else { odd.record(time) }
        }
        even.merge(&odd);
        assert_eq!(even.count(), 4_999);
        assert_eq!(even.percentiles(), all.percentiles());
    }

    /// A stall of minutes or a clock that stands still must be counted, not dropped.
    #[test]
    fn times_out_of_bounds_are_counted_at_the_bound() {
        let mut times = Latencies::default();
        times.record(Duration::ZERO);
        times.record(Duration::from_secs(3600));
        let got = times.percentiles();
        assert_eq!(times.count(), 2);
        assert_eq!(got.p50, 1);
        close(got.max, MICROS_MAX);
    }

    /// A run in which every request failed still prints a report.
    #[test]
    fn nothing_counted_is_all_zeros() {
        let zeros = Percentiles { mean: 0.0, p50: 0, p99: 0, p999: 0, max: 0 };
        assert_eq!(Latencies::default().percentiles(), zeros);
    }
}
