//! How well a member itself is: the *local health multiplier* (Lifeguard §IV-A).
//!
//! When a probe fails, either the target is at fault or the one who probes: slow, starved, or cut
//! off. SWIM always blames the target. Lifeguard keeps a score of signs that it is oneself (0 is
//! well), and stretches the own patience by it: a member that is slow takes longer to accuse.
//!
//! ```text
//!     a probe is answered         -1        I must defend myself against an accusation   +1
//!     a probe is not answered     +1        one whom I asked to try says nothing at all  +1
//!                                           I was not run for a while                    +1
//! ```

/// The worst score (Lifeguard's S).
const SCORE_MAX: u64 = 8;

/// A score between 0 and [`SCORE_MAX`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Health {
    score: u64,
}

impl Health {
    pub(crate) fn worse(&mut self, by: u64) {
        self.score = (self.score + by).min(SCORE_MAX);
    }

    pub(crate) fn better(&mut self) {
        self.score = self.score.saturating_sub(1);
    }

    pub(crate) fn score(&self) -> u64 {
        self.score
    }

    /// A patience stretched by the score.
    pub(crate) fn stretch(&self, time: u64) -> u64 {
        time * (1 + self.score)
    }
}
