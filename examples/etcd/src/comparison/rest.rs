//! How long to rest after work, so that it takes no more than its share.

use std::time::Duration;

/// The longest rest: a step that was slow once does not put off the next for ever.
const REST_MAX: Duration = Duration::from_secs(60);

/// The share of a core that work may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    percent: u32,
}

impl Share {
    /// So many hundredths, up to 100; of 0 there is none.
    pub(super) fn of_percent(percent: u32) -> Option<Share> {
        (percent > 0).then_some(Share { percent: percent.min(100) })
    }

    /// How long to rest after work that took so long.
    pub(super) fn rest_after(self, took: Duration) -> Duration {
        (took * (100 - self.percent) / self.percent).min(REST_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The promise is the share: one hundredth is ninety-nine rests for one piece of work.
    #[test]
    fn work_takes_no_more_than_its_share() {
        let millis = Duration::from_millis;
        let rest = |percent| Share::of_percent(percent).unwrap().rest_after(millis(10));
        assert_eq!(rest(1), millis(990));
        assert_eq!(rest(50), millis(10));
        assert_eq!(rest(100), Duration::ZERO);
        assert_eq!(Share::of_percent(0), None);
        assert_eq!(Share::of_percent(1).unwrap().rest_after(millis(9000)), REST_MAX);
    }
}
