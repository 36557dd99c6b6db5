//! When each node is to be woken next.
//!
//! A follower moves its deadline with every message it hears, and is woken once in a hundred times.
//! So a deadline that moves away costs an assignment: the heap keeps the old, earlier entry, and
//! when that comes up it is put back at the later time. Only one that comes nearer is a push.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// One alarm for each node, by its place.
///
/// Invariants:
/// * `queued[i]` is the time of the one valid entry of node i in the heap, if it has one.
/// * If node i has an alarm, it has an entry, and that comes no later than the alarm.
#[derive(Debug, Clone, Default)]
pub(crate) struct Alarms {
    alarms: Vec<Option<u64>>,
    queued: Vec<Option<u64>>,
    heap: BinaryHeap<Reverse<(u64, usize)>>,
}

impl Alarms {
    /// Makes room for one node more.
    pub(crate) fn add(&mut self) {
        self.alarms.push(None);
        self.queued.push(None);
    }

    /// Sets or removes the alarm of `node`.
    #[inline]
    pub(crate) fn set(&mut self, node: usize, at: Option<u64>) {
        self.alarms[node] = at;
        let Some(at) = at else { return };
        if self.queued[node].is_none_or(|queued| at < queued) {
            self.queued[node] = Some(at);
            self.heap.push(Reverse((at, node)));
        }
    }

    /// The alarm that comes first, and whose it is; of two at once that of the lower node.
    #[inline]
    pub(crate) fn peek(&mut self) -> Option<(u64, usize)> {
        loop {
            let Reverse((at, node)) = *self.heap.peek()?;
            let valid = self.queued[node] == Some(at);
            if valid && self.alarms[node] == Some(at) {
                return Some((at, node));
            }
            self.heap.pop();
            if valid {
                self.queued[node] = None;
                self.set(node, self.alarms[node]);
            }
        }
    }

    /// The alarm of `node`.
    #[cfg(test)]
    pub(crate) fn of(&self, node: usize) -> Option<u64> {
        self.alarms[node]
    }

    /// Asserts the invariants above.
    #[cfg(test)]
    fn check(&self) {
        for node in 0..self.alarms.len() {
            let entry = self.queued[node].map(|at| Reverse((at, node)));
            let found = entry.is_none_or(|entry| self.heap.iter().any(|other| *other == entry));
            assert!(found, "what is queued is in the heap");
            let kept = self.alarms[node].is_none_or(|at| self.queued[node] <= Some(at));
            assert!(kept && self.queued[node].is_some() >= self.alarms[node].is_some());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    // An alarm that is missed is a leader that sends no heartbeat.
    #[test]
    fn the_first_alarm_is_always_the_earliest_that_stands() {
        let mut rng = Rng::new(1);
        let mut alarms = Alarms::default();
        let mut model: Vec<Option<u64>> = vec![None; 5];
        (0..5).for_each(|_| alarms.add());
        for _ in 0..20_000 {
            let node = rng.below(5) as usize;
            let at = (rng.below(10) > 0).then(|| rng.below(1000));
            alarms.set(node, at);
            model[node] = at;
            alarms.check();
            if rng.below(3) == 0 {
                let first = model.iter().zip(0..).filter_map(|(at, node)| Some(((*at)?, node)));
                assert_eq!(alarms.peek(), first.min());
                alarms.check();
            }
        }
    }
}
