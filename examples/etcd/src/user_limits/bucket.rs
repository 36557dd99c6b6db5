//! A bucket of tokens, which fills at an even rate.
//!
//! ```text
//!   rate a second ──► │▒▒▒▒▒▒▒│ holds what comes in a second
//!                     └───┬───┘
//!                         └──► one takes what it costs; below nothing nobody takes anything
//! ```
//!
//! What something costs is often known only when it is done, such as the bytes of an answer. So
//! whoever finds anything in the bucket may take more than there is, and those who come next wait
//! until the debt is paid. Over any time that is the rate, and one second's worth more.

use std::time::Duration;

/// Tokens, by the clock of whoever asks.
#[derive(Debug)]
pub(super) struct Bucket {
    /// Tokens a second, and the most that it holds.
    rate: f64,
    tokens: f64,
    filled_at: Duration,
}

impl Bucket {
    /// A full one.
    pub(super) fn new(rate: u64, now: Duration) -> Bucket {
        Bucket { rate: rate as f64, tokens: rate as f64, filled_at: now }
    }

    fn fill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.filled_at);
        self.tokens = (self.tokens + passed.as_secs_f64() * self.rate).min(self.rate);
        self.filled_at = self.filled_at.max(now);
    }

    /// Whether a whole token is there.
    pub(super) fn has_any(&mut self, now: Duration) -> bool {
        self.fill(now);
        self.tokens >= 1.0
    }

    /// Takes tokens, more than there are if need be.
    pub(super) fn take(&mut self, count: u64) {
        self.tokens -= count as f64;
    }

    /// Whether nothing is missing: then a new one would be the same.
    pub(super) fn is_full(&mut self, now: Duration) -> bool {
        self.fill(now);
        self.tokens >= self.rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    /// How many of the requests that come every millisecond until `end` are let in.
    fn admitted(bucket: &mut Bucket, from: u64, end: u64) -> u64 {
        let mut count = 0;
        for now in from..end {
            if bucket.has_any(millis(now)) {
                bucket.take(1);
                count += 1;
            }
        }
        count
    }

    // Whoever floods gets what was said, and one second's worth at first.
    #[test]
    fn a_flood_gets_the_rate_and_one_second_more() {
        let mut bucket = Bucket::new(50, millis(0));
        let first = admitted(&mut bucket, 0, 10_000);
        assert!((545..=550).contains(&first), "{first} in ten seconds at 50 a second");
        let next = admitted(&mut bucket, 10_000, 20_000);
        assert!((495..=500).contains(&next), "{next} in the next ten");
    }

    // Rest gives no more than a second's worth, however long it is.
    #[test]
    fn rest_is_not_saved_up() {
        let mut bucket = Bucket::new(50, millis(0));
        assert!(bucket.is_full(millis(0)));
        bucket.take(50);
        assert!(!bucket.is_full(millis(999)));
        assert!(bucket.is_full(millis(1_001)));
        let hour = 3_600_000;
        let burst = admitted(&mut bucket, hour, hour + 10);
        assert_eq!(burst, 10);
        assert!(admitted(&mut bucket, hour + 10, hour + 1_010) <= 90);
    }

    // An answer of ten seconds' worth is given whole, and paid for afterwards.
    #[test]
    fn debts_are_paid_before_more_is_taken() {
        let mut bucket = Bucket::new(1_000, millis(0));
        assert!(bucket.has_any(millis(0)));
        bucket.take(10_000);
        assert!(!bucket.has_any(millis(8_999)));
        assert!(bucket.has_any(millis(9_002)));
        // A clock that goes back gives nothing twice.
        assert!(bucket.has_any(millis(0)));
        bucket.take(5);
        assert!(!bucket.has_any(millis(9_002)));
    }
}
