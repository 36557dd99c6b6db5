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
/// * `queued` is the time of the one valid entry of a node in the heap, if it has one.
/// * If a node has an alarm, it has an entry, and that comes no later than the alarm.
#[derive(Debug, Clone, Default)]
pub(crate) struct Alarms {
    nodes: Vec<Alarm>,
    heap: BinaryHeap<Reverse<(u64, usize)>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Alarm {
    at: Option<u64>,
    queued: Option<u64>,
}

impl Alarms {
    /// Makes room for one node more.
    pub(crate) fn add(&mut self) {
        self.nodes.push(Alarm::default());
    }

    /// Sets or removes the alarm of `node`.
    #[inline]
    pub(crate) fn set(&mut self, node: usize, at: Option<u64>) {
        let alarm = &mut self.nodes[node];
        alarm.at = at;
        let Some(at) = at else { return };
        if alarm.queued.is_none_or(|queued| at < queued) {
            alarm.queued = Some(at);
            self.heap.push(Reverse((at, node)));
        }
    }

    /// The alarm that comes first, and whose it is, if it comes no later than `limit`; of two at
    /// once that of the lower node.
    #[inline]
    pub(crate) fn peek(&mut self, limit: u64) -> Option<(u64, usize)> {
        let Reverse((at, _)) = self.heap.peek()?;
        if *at > limit { None } else { self.find(limit) }
    }

    /// The same, once there is an entry that comes no later.
    fn find(&mut self, limit: u64) -> Option<(u64, usize)> {
        loop {
            let Reverse((at, node)) = *self.heap.peek()?;
            if at > limit {
                return None;
            }
            let alarm = &mut self.nodes[node];
            let valid = alarm.queued == Some(at);
            if valid && alarm.at == Some(at) {
                return Some((at, node));
            }
            self.heap.pop();
            if valid {
                alarm.queued = None;
                let later = alarm.at;
                self.set(node, later);
            }
        }
    }

    /// The alarm of `node`.
    #[cfg(test)]
    pub(crate) fn of(&self, node: usize) -> Option<u64> {
        self.nodes[node].at
    }

    /// Asserts the invariants above.
    #[cfg(test)]
    fn check(&self) {
        for (alarm, node) in self.nodes.iter().zip(0..) {
            let entry = alarm.queued.map(|at| Reverse((at, node)));
            let found = entry.is_none_or(|entry| self.heap.iter().any(|other| *other == entry));
            assert!(found, "what is queued is in the heap");
            let kept = alarm.at.is_none_or(|at| alarm.queued <= Some(at));
            assert!(kept && alarm.queued.is_some() >= alarm.at.is_some());
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
                let first = first.min();
                assert_eq!(alarms.peek(u64::MAX), first);
                alarms.check();
                if let Some((at, node)) = first {
                    assert_eq!(alarms.peek(at), first);
                    let before = at.checked_sub(1).and_then(|before| alarms.peek(before));
                    assert_eq!(before, None, "before {node}'s at {at} there is none");
                }
            }
        }
    }
}
