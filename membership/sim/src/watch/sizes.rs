//! How many different sizes of a cluster its members have believed in.
//!
//! While a cluster grows every size between one and all is a state that somebody acts on: shards
//! are moved, leaders chosen. Rapid (§7.1) counts them, and so does this.

use std::collections::BTreeSet;

use super::Watch;
use crate::truth::{Sighting, Truth};

/// Collects the sizes of views, each as it is after a step of its member.
#[derive(Debug, Clone, Default)]
pub struct Sizes {
    seen: BTreeSet<usize>,
}

impl Sizes {
    /// How many different sizes there were.
    #[must_use]
    pub fn distinct(&self) -> usize {
        self.seen.len()
    }
}

impl Watch for Sizes {
    fn saw(&mut self, _: &Truth, sighting: &Sighting) {
        self.seen.insert(sighting.view);
    }
}
