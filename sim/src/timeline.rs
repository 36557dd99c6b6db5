//! What is to come, in the order in which it comes.
//!
//! ```text
//!     heap of (time, number, slot)          slots
//!     ┌────────┬────────┬────────┐     ┌───┬───┬───┬───┐
//!     │ 7,12,2 │ 9,10,0 │ 9,11,3 │     │ m │   │ m │ m │   free: 1
//!     └────────┴────────┴────────┘     └───┴───┴───┴───┘
//! ```
//!
//! The heap sorts small keys and the things themselves stay where they are, however large; a slot
//! that falls free is used again. So the cost of a message does not depend on its size, and once
//! the heap has grown to its largest nothing is allocated. Of things due at the same time the one
//! that was put in first comes first.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// Numbers count up from here for things put in, and down for those put in front.
const FIRST: u64 = 1 << 63;

/// A queue by time.
///
/// Invariants:
/// * Every key of the heap names a full slot, and every full slot is named once.
/// * Every empty slot is in `free`.
#[derive(Debug, Clone)]
pub(crate) struct Timeline<T> {
    heap: BinaryHeap<Reverse<Key>>,
    slots: Vec<Option<T>>,
    free: Vec<u32>,
    /// The number of the last thing that was put in, and of the last put in front.
    pushed: u64,
    front: u64,
}

/// When something comes, and where it is.
#[derive(Debug, Clone, Copy)]
struct Key {
    at: u64,
    /// No two keys have the same.
    number: u64,
    slot: u32,
}

impl<T> Timeline<T> {
    pub(crate) fn new() -> Timeline<T> {
        Timeline {
            heap: BinaryHeap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            pushed: FIRST,
            front: FIRST,
        }
    }

    /// How many things are to come.
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    /// When the next one comes.
    #[inline]
    pub(crate) fn next_at(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse(key)| key.at)
    }

    /// Puts `thing` in, due at `at`, behind all that are due then.
    #[inline]
    pub(crate) fn push(&mut self, at: u64, thing: T) {
        self.pushed += 1;
        self.put(at, self.pushed, thing);
    }

    /// Puts `thing` in, due at `at`, before all that are due then.
    pub(crate) fn push_front(&mut self, at: u64, thing: T) {
        self.front -= 1;
        self.put(at, self.front, thing);
    }

    #[inline]
    fn put(&mut self, at: u64, number: u64, thing: T) {
        let slot = if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = Some(thing);
            slot
        } else {
            self.slots.push(Some(thing));
            u32::try_from(self.slots.len() - 1).expect("the users of a timeline bound it")
        };
        self.heap.push(Reverse(Key { at, number, slot }));
    }

    /// Takes out the next one.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<(u64, T)> {
        let Reverse(Key { at, slot, .. }) = self.heap.pop()?;
        let thing = self.slots[slot as usize].take().expect("a key names a full slot");
        self.free.push(slot);
        Some((at, thing))
    }

    /// Takes out all things of which `which` says yes, in the order in which they would have come.
    pub(crate) fn extract(&mut self, mut which: impl FnMut(&T) -> bool) -> Vec<T> {
        let mut keys = std::mem::take(&mut self.heap).into_vec();
        // The first to come is the largest, as the keys stand reversed.
        keys.sort_unstable_by(|one, other| other.cmp(one));
        let mut out = Vec::new();
        keys.retain(|Reverse(Key { slot, .. })| {
            let place = &mut self.slots[*slot as usize];
            let taken = place.take_if(|thing| which(thing));
            let kept = taken.is_none();
            if !kept {
                self.free.push(*slot);
            }
            out.extend(taken);
            kept
        });
        self.heap = keys.into();
        out
    }

    /// All that is to come, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().flatten()
    }

    /// Asserts the invariants above.
    #[cfg(test)]
    fn check(&self) {
        let mut named: Vec<u32> = self.heap.iter().map(|Reverse(key)| key.slot).collect();
        named.sort_unstable();
        let full = (0..self.slots.len()).filter(|slot| self.slots[*slot].is_some());
        assert!(full.map(|slot| slot as u32).eq(named), "full slots are named once");
        assert_eq!(self.free.len() + self.heap.len(), self.slots.len(), "empty slots are free");
    }
}

impl Key {
    /// Both words as one number, which the processor compares without a jump.
    #[inline]
    fn order(self) -> u128 {
        u128::from(self.at) << 64 | u128::from(self.number)
    }
}

impl Ord for Key {
    #[inline]
    fn cmp(&self, other: &Key) -> Ordering {
        self.order().cmp(&other.order())
    }
}

impl PartialOrd for Key {
    #[inline]
    fn partial_cmp(&self, other: &Key) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key {
    #[inline]
    fn eq(&self, other: &Key) -> bool {
        self.order() == other.order()
    }
}

impl Eq for Key {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    // What was there before the others must not fall behind them when it is put back.
    #[test]
    fn what_is_put_in_front_comes_first_of_its_time() {
        let mut timeline = Timeline::new();
        timeline.push(5, 'c');
        timeline.push_front(5, 'b');
        timeline.push_front(6, 'e');
        timeline.push_front(5, 'a');
        timeline.push(5, 'd');
        timeline.check();
        assert!(std::iter::from_fn(|| timeline.pop()).map(|(_, thing)| thing).eq("abcde".chars()));
    }

    // The order is what "same seed, same run" rests on.
    #[test]
    fn things_come_by_time_and_then_as_they_were_put_in() {
        let mut rng = Rng::new(1);
        let mut timeline = Timeline::new();
        let mut expected = Vec::new();
        for number in 0..2000_u64 {
            let at = rng.below(50);
            timeline.push(at, number);
            expected.push((at, number));
            if number % 3 == 0 {
                expected.sort_unstable();
                assert_eq!(timeline.next_at(), Some(expected[0].0));
                assert_eq!(timeline.pop(), Some(expected.remove(0)));
            }
            timeline.check();
        }
        expected.sort_unstable();
        let odd = timeline.extract(|number| number % 2 == 1);
        timeline.check();
        assert!(odd.iter().eq(expected.iter().map(|(_, number)| number).filter(|n| *n % 2 == 1)));
        expected.retain(|(_, number)| number % 2 == 0);
        assert_eq!(timeline.iter().count(), expected.len());
        assert!(std::iter::from_fn(|| timeline.pop()).eq(expected));
        timeline.check();
    }
}
