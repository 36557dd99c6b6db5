//! The range deletes that a memtable has of one keyspace, while they come one by one.
//!
//! **The problem.** Readers want range deletes cut into fragments, and come between any two writes.
//! To cut all of them anew for the first reader after each write costs the square of their number.
//!
//! **The idea.** *Tiers*: fragments made of some of the deletes. A new delete is a tier by itself,
//! and whenever the last two are of like size they are merged. Each delete is in a tier of twice
//! the size after a merge, so that it is merged log2(n) times; and a reader asks as many tiers at
//! most. Nothing is made for a reader but a list of the tiers.
//!
//! ```text
//!   deletes so far   1    2     3      4     5      6        7          8
//!   tiers of         1    2     2 1    4     4 1    4 2      4 2 1      8
//! ```
//!
//! **Absent.** A bound for deletes that are nested in one another: where n of them overlap, the
//! fragment there names all n, and as many fragments may do so as there are deletes.
//!
//! The paper: Bentley and Saxe, *Decomposable Searching Problems I: Static-to-Dynamic
//! Transformation*, 1980.

use std::sync::Arc;

use crate::key::SeqNo;
use crate::range_del::{Cover, Fragments, RangeDelete};

/// See the module.
///
/// Invariant: each tier is of more deletes than the next.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    tiers: Vec<Tier>,
    /// The list that readers get, once one has asked since the last delete.
    shown: Option<Tiers>,
    /// Fragments made so far: what adding has cost.
    #[cfg(test)]
    pub(super) cut: usize,
}

#[derive(Debug)]
struct Tier {
    deletes: usize,
    fragments: Arc<Fragments>,
}

impl Ranges {
    pub(super) fn add(&mut self, delete: RangeDelete) {
        self.shown = None;
        let mut newest = Tier { deletes: 1, fragments: Arc::new(Fragments::build([delete])) };
        while let Some(last) = self.tiers.pop_if(|last| last.deletes <= newest.deletes) {
            let fragments = last.fragments.union(&newest.fragments);
            #[cfg(test)]
            {
                self.cut += fragments.len();
            }
            let deletes = last.deletes + newest.deletes;
            newest = Tier { deletes, fragments: Arc::new(fragments) };
        }
        self.tiers.push(newest);
    }

    /// What there is, for a reader to keep.
    pub(super) fn show(&mut self) -> Tiers {
        let tiers = &self.tiers;
        let list = || Tiers(tiers.iter().map(|tier| Arc::clone(&tier.fragments)).collect());
        self.shown.get_or_insert_with(list).clone()
    }
}

/// The range deletes that there were when a reader asked.
#[derive(Debug, Clone)]
pub(crate) struct Tiers(Arc<[Arc<Fragments>]>);

impl Tiers {
    /// The highest range delete up to `seq` that covers `user_key`; see [`Fragments::covering`].
    pub(crate) fn covering(&self, user_key: &[u8], seq: SeqNo) -> Option<Cover<'_>> {
        let covers = self.0.iter().filter_map(|tier| tier.covering(user_key, seq));
        covers.max_by_key(|cover| cover.seq)
    }

    /// All of them together.
    pub(crate) fn gather(&self) -> Fragments {
        // From the smallest: each merge costs what both sides have.
        self.0.iter().rev().fold(Fragments::default(), |all, tier| all.union(tier))
    }
}
