//! Whose turn it is on a link that keeps order: nobody arrives before the one sent before it.
//!
//! ```text
//!     sent at    delay    would arrive    arrives
//!        0         9            9            9
//!        2         3            5            9     waits its turn
//!        4         8           12           12
//! ```
//!
//! All that has to be known of a link is when the last message arrives of those that wait their
//! turn, and only while that lies ahead: who is sent later arrives later in any case. So what lies
//! behind is forgotten now and then, and as many links are known as carry something, no matter how
//! many there are.

use crate::pairs::{Pair, PairMap};

/// How many links are known before the first look at which of them can be forgotten.
const KNOWN_MIN: usize = 64;

/// When the last message arrives, by link.
#[derive(Debug, Clone)]
pub(crate) struct Turns {
    last: PairMap<u64>,
    /// How many are known when those that lie behind are forgotten next.
    sweep_at: usize,
}

impl Turns {
    pub(crate) fn new() -> Turns {
        Turns { last: PairMap::default(), sweep_at: KNOWN_MIN }
    }

    /// When a message of `pair` arrives that is sent at `now` and would be there at `at`. Time does
    /// not go back from call to call.
    #[inline]
    pub(crate) fn take(&mut self, pair: Pair, now: u64, at: u64) -> u64 {
        if let Some(last) = self.last.get_mut(&pair) {
            *last = at.max(*last);
            return *last;
        }
        if self.last.len() >= self.sweep_at {
            self.sweep(now);
        }
        self.last.insert(pair, at);
        at
    }

    #[cold]
    fn sweep(&mut self, now: u64) {
        self.last.retain(|_, last| *last > now);
        // Half of what is there then has come since, so a sweep costs each a step or two.
        self.sweep_at = (self.last.len() * 2).max(KNOWN_MIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use crate::types::NodeId;

    // What is forgotten too early is an overtaking on a link that has none.
    #[test]
    fn forgetting_changes_no_turn_and_keeps_no_more_than_lies_ahead() {
        let mut rng = Rng::new(1);
        let mut turns = Turns::new();
        let mut model = std::collections::BTreeMap::new();
        let mut most = 0;
        for now in 0..100_000 {
            let ends = (NodeId(rng.below(40) as u32), NodeId(rng.below(40) as u32));
            let at = now + rng.below(100);
            let last = model.entry(ends).or_insert(0);
            *last = at.max(*last);
            assert_eq!(turns.take(Pair::new(ends.0, ends.1), now, at), *last);
            most = most.max(turns.last.len());
        }
        assert!(model.len() == 1600 && most <= 200, "{} {most}", model.len());
    }
}
