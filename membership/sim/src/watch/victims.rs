//! Who was called dead and is alive, each once.
//!
//! One that is convicted in error and believed to be dead by all others is as many false downs as
//! there are others, so a few seeds with one such case drown what is to be seen in the rest.

use std::collections::BTreeSet;

use drystone_sim::NodeId;

use super::Watch;
use crate::gossiper::What;
use crate::truth::{Sighting, Standing, Truth};

/// The healthy members of whom anybody has said that they are down.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Victims(BTreeSet<NodeId>);

impl Victims {
    /// How many they are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len() as u64
    }
}

impl Watch for Victims {
    fn saw(&mut self, truth: &Truth, sighting: &Sighting) {
        let down = matches!(sighting.what, What::Down | What::Left);
        if down && truth.of(sighting.about) == Standing::Healthy {
            self.0.insert(sighting.about);
        }
    }
}
