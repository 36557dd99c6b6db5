//! Members called dead that are alive, counted as in the Lifeguard paper (§V).

use super::Watch;
use crate::gossiper::What;
use crate::truth::{Sighting, Standing, Truth};

/// One event is one observer reporting one live member down (or gone for good).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Falsehood {
    /// Reports about healthy members, by anybody: FP.
    pub about_healthy: u64,
    /// Those of them that were made by healthy members: FP-.
    pub at_healthy: u64,
    /// Reports about members in trouble, which are alive but may be taken for dead.
    pub about_troubled: u64,
    /// Reports about members that are gone, which are right.
    pub about_gone: u64,
}

impl Watch for Falsehood {
    fn saw(&mut self, truth: &Truth, sighting: &Sighting) {
        if !matches!(sighting.what, What::Down | What::Left) {
            return;
        }
        match truth.of(sighting.about) {
            Standing::Healthy => {
                self.about_healthy += 1;
                self.at_healthy += u64::from(truth.of(sighting.observer) == Standing::Healthy);
            }
            Standing::Troubled => self.about_troubled += 1,
            Standing::Gone => self.about_gone += 1,
        }
    }
}
