//! Cuts a history into parts that have no key in common.

use std::collections::BTreeMap;

use super::{Model, Op};
use crate::history::Outcome;

/// The parts, in the order of their first operations. What has failed is in none: it did nothing.
pub(super) fn parts<M: Model>(operations: &[Op<M>]) -> Vec<Vec<&Op<M>>> {
    let alive = operations.iter().filter(|operation| !matches!(operation.outcome, Outcome::Failed));
    let alive: Vec<&Op<M>> = alive.collect();
    let keys: Vec<Option<Vec<M::Key>>> = alive.iter().map(|one| M::keys(&one.op)).collect();
    if keys.iter().any(Option::is_none) {
        return vec![alive];
    }
    // Operations that share a key belong together: each names an earlier one, or itself.
    let mut earlier: Vec<usize> = (0..alive.len()).collect();
    let mut first: BTreeMap<&M::Key, usize> = BTreeMap::new();
    for (place, keys) in keys.iter().enumerate() {
        for key in keys.iter().flatten() {
            let other = *first.entry(key).or_insert(place);
            let (one, other) = (root(&mut earlier, place), root(&mut earlier, other));
            earlier[one.max(other)] = one.min(other);
        }
    }
    let mut parts: BTreeMap<usize, Vec<&Op<M>>> = BTreeMap::new();
    for (place, operation) in alive.into_iter().enumerate() {
        parts.entry(root(&mut earlier, place)).or_default().push(operation);
    }
    parts.into_values().collect()
}

/// The earliest operation that `place` is tied to. The way there is made shorter.
fn root(earlier: &mut [usize], mut place: usize) -> usize {
    while earlier[place] != place {
        earlier[place] = earlier[earlier[place]];
        place = earlier[place];
    }
    place
}
