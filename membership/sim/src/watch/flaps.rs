//! How often members change their mind about each other.

use std::collections::BTreeMap;

use drystone_sim::NodeId;

use super::Watch;
use crate::gossiper::What;
use crate::truth::{Sighting, Standing, Truth};

/// Counts transitions (up, down, left) as healthy members report them, by whom they are about.
#[derive(Debug, Clone, Default)]
pub struct Flaps {
    /// By observer and subject.
    pairs: BTreeMap<(NodeId, NodeId), u64>,
}

impl Flaps {
    /// Transitions that one observer reports of one of `subjects`, on average over all pairs that
    /// could (`observers` healthy members), in each of so many minutes.
    #[must_use]
    pub fn per_minute(&self, subjects: &[NodeId], observers: usize, minutes: f64) -> f64 {
        let among = self.pairs.iter().filter(|((_, about), _)| subjects.contains(about));
        let sum: u64 = among.map(|(_, count)| count).sum();
        sum as f64 / (subjects.len() * observers).max(1) as f64 / minutes
    }

    /// The most transitions that any observer reports of any of `subjects`.
    #[must_use]
    pub fn most(&self, subjects: &[NodeId]) -> u64 {
        let among = self.pairs.iter().filter(|((_, about), _)| subjects.contains(about));
        among.map(|(_, count)| *count).max().unwrap_or(0)
    }
}

impl Watch for Flaps {
    fn saw(&mut self, truth: &Truth, sighting: &Sighting) {
        let counts = matches!(sighting.what, What::Up | What::Down | What::Left);
        if counts && truth.of(sighting.observer) == Standing::Healthy {
            *self.pairs.entry((sighting.observer, sighting.about)).or_default() += 1;
        }
    }
}
