//! How many members are right about who is there, over time.

/// Samples of the share of healthy members whose view is the truth. It asks the cluster and not
/// sightings, so whoever runs the cluster takes the samples.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Convergence {
    samples: Vec<(u64, f64)>,
}

impl Convergence {
    /// Takes a sample: at this time, so many of so many were right.
    pub fn sample(&mut self, at: u64, right: usize, of: usize) {
        self.samples.push((at, right as f64 / of.max(1) as f64));
    }

    /// Times and shares.
    #[must_use]
    pub fn samples(&self) -> &[(u64, f64)] {
        &self.samples
    }

    /// The first sample from which on everybody was right until the end.
    #[must_use]
    pub fn reached(&self) -> Option<u64> {
        let right = self.samples.iter().rev().take_while(|(_, share)| *share >= 1.0);
        right.last().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // A cluster that was right once and is wrong again has not converged.
    #[test]
    fn who_is_wrong_again_has_not_converged() {
        let mut convergence = Convergence::default();
        convergence.sample(1, 3, 3);
        convergence.sample(2, 2, 3);
        assert_eq!(convergence.reached(), None);
        convergence.sample(3, 3, 3);
        convergence.sample(4, 3, 3);
        assert_eq!(convergence.reached(), Some(3));
    }
}
