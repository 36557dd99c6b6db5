//! How news travels: who was the first to know it, and who the last.

use std::collections::BTreeMap;

use drystone_sim::NodeId;

use super::Watch;
use crate::gossiper::What;
use crate::truth::{Sighting, Truth};

/// Waits for one piece of news about one member.
#[derive(Debug, Clone)]
pub struct Spread {
    about: NodeId,
    news: Vec<What>,
    /// When each observer first knew.
    knew: BTreeMap<NodeId, u64>,
}

impl Spread {
    /// Waits for any of `news`: protocols have more than one word for gone.
    #[must_use]
    pub fn of(about: NodeId, news: &[What]) -> Spread {
        Spread { about, news: news.to_vec(), knew: BTreeMap::new() }
    }

    /// How many know.
    #[must_use]
    pub fn count(&self) -> usize {
        self.knew.len()
    }

    /// When the first knew.
    #[must_use]
    pub fn first(&self) -> Option<u64> {
        self.knew.values().min().copied()
    }

    /// When the last knew of `expected` that had to; `None` while some do not.
    #[must_use]
    pub fn last(&self, expected: usize) -> Option<u64> {
        self.knew.values().max().copied().filter(|_| self.knew.len() >= expected)
    }
}

impl Watch for Spread {
    fn saw(&mut self, _: &Truth, sighting: &Sighting) {
        let own = sighting.observer == self.about;
        if sighting.about == self.about && !own && self.news.contains(&sighting.what) {
            self.knew.entry(sighting.observer).or_insert(sighting.at);
        }
    }
}
