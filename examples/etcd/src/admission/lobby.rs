//! Commands that wait for room before they go to the log.
//!
//! **The problem.** Whoever is refused asks again, and does so at once: a burst that could have
//! been done within half a second costs all its clients a failure, and the server their second
//! attempts. And what is let in on trust stands in the log, where nothing can be taken back from.
//!
//! **The idea.** Two lines, one for small commands and one for large. Room that comes free goes to
//! the small ones first, in the order in which they came, then to the large ones, which have a part
//! of the room only:
//!
//! ```text
//!             ┌─ small [ oldest … newest ] ─┐
//!   no room ──┤                             ├── room comes free ──► under way
//!             └─ large [ oldest … newest ] ─┘
//!                 └── waited for too long, went away, or the line is full ──► nothing is left
//! ```
//!
//! How much room there is says the [window](super::window), how long anybody may wait says whoever
//! waits: there is no clock here. While nobody waits, to know that costs one load.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::task::Waker;

use parking_lot::Mutex;

use super::Class;

/// What may wait, bytes; and how much of it may be large.
const BYTES_MAX: u64 = 64 << 20;
const LARGE_BYTES_MAX: u64 = BYTES_MAX / 4 * 3;
/// How many may wait.
const COUNT_MAX: usize = 50_000;

/// Commands that wait for room.
#[derive(Default)]
pub(super) struct Lobby {
    lines: Mutex<Lines>,
    /// How many wait, in each line.
    counts: [AtomicUsize; 2],
    /// Bytes of them.
    bytes: [AtomicU64; 2],
}

/// * Who came first has the least number.
#[derive(Default)]
struct Lines {
    lines: [BTreeMap<u64, Waiting>; 2],
    next: u64,
}

struct Waiting {
    cost: u64,
    waker: Option<Waker>,
}

/// Somebody's place in a line.
pub(super) struct Place {
    line: usize,
    number: u64,
}

/// The classes that wait, each in a line of its own, in the order in which they are let in.
const LINES: [Class; 2] = [Class::Small, Class::Large];

fn line_of(class: Class) -> usize {
    usize::from(class == Class::Large)
}

impl Lobby {
    /// How many wait.
    pub(super) fn count(&self) -> usize {
        self.counts.iter().map(|count| count.load(SeqCst)).sum()
    }

    /// Whether anybody waits who is let in before one of this class that comes now.
    pub(super) fn is_before(&self, class: Class) -> bool {
        let waits = |line: usize| self.counts[line].load(SeqCst) > 0;
        match class {
            Class::Vital => false,
            Class::Small => waits(0),
            Class::Large => waits(0) || waits(1),
        }
    }

    /// Whether nobody more of this class may wait.
    pub(super) fn is_full(&self, class: Class) -> bool {
        let [small, large] = [0, 1].map(|line: usize| self.bytes[line].load(Relaxed));
        let is_full = small + large >= BYTES_MAX || self.count() >= COUNT_MAX;
        is_full || class == Class::Large && large >= LARGE_BYTES_MAX
    }

    /// Joins the line; `None` if it is full.
    pub(super) fn join(&self, class: Class, cost: u64) -> Option<Place> {
        let mut lines = self.lines.lock();
        if self.is_full(class) {
            return None;
        }
        let (line, number) = (line_of(class), lines.next);
        lines.next += 1;
        lines.lines[line].insert(number, Waiting { cost, waker: None });
        self.bytes[line].fetch_add(cost, Relaxed);
        self.counts[line].fetch_add(1, SeqCst);
        Some(Place { line, number })
    }

    /// Whether it still waits. Then it is woken when it is let in.
    pub(super) fn still_waits(&self, place: &Place, waker: &Waker) -> bool {
        let mut lines = self.lines.lock();
        let Some(waiting) = lines.lines[place.line].get_mut(&place.number) else { return false };
        match &mut waiting.waker {
            Some(old) => old.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        true
    }

    /// Leaves the line; `false` if it was let in before.
    pub(super) fn leave(&self, place: &Place) -> bool {
        let left = self.lines.lock().lines[place.line].remove(&place.number);
        let left = left.inspect(|waiting| self.forget(place.line, waiting.cost));
        left.is_some()
    }

    fn forget(&self, line: usize, cost: u64) {
        self.bytes[line].fetch_sub(cost, Relaxed);
        self.counts[line].fetch_sub(1, SeqCst);
    }

    /// Lets in those for whom `take` finds room: the small ones in order, then the large ones, each
    /// line up to the first for whom there is none.
    pub(super) fn call(&self, mut take: impl FnMut(Class, u64) -> bool) {
        let mut called = Vec::new();
        let mut lines = self.lines.lock();
        for (number, class) in LINES.into_iter().enumerate() {
            let line = &mut lines.lines[number];
            while let Some(first) = line.first_entry() {
                let cost = first.get().cost;
                if !take(class, cost) {
                    break;
                }
                called.extend(first.remove().waker);
                self.forget(number, cost);
            }
        }
        drop(lines);
        called.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who is let in when there is room for so many bytes.
    fn let_in(lobby: &Lobby, mut room: u64) -> Vec<u64> {
        let mut costs = Vec::new();
        lobby.call(|_, cost| {
            let fits = cost <= room;
            if fits {
                room -= cost;
                costs.push(cost);
            }
            fits
        });
        costs
    }

    // A large one that came early must not keep a hundred small ones waiting.
    #[test]
    fn small_ones_are_before_large_ones_and_each_in_its_order() {
        let lobby = Lobby::default();
        for (class, cost) in
            [(Class::Large, 50), (Class::Small, 1), (Class::Large, 20), (Class::Small, 2)]
        {
            lobby.join(class, cost).expect("there is room");
        }
        assert!(lobby.is_before(Class::Small) && lobby.is_before(Class::Large));
        assert!(!lobby.is_before(Class::Vital));
        assert_eq!(let_in(&lobby, 1), [1]);
        assert_eq!(let_in(&lobby, 40), [2], "nobody is served before who came first");
        assert!(!lobby.is_before(Class::Small) && lobby.is_before(Class::Large));
        assert_eq!(let_in(&lobby, 70), [50, 20]);
        assert_eq!(lobby.count(), 0);
    }

    // A line without an end is memory without a bound.
    #[test]
    fn the_line_is_bounded_and_room_in_it_comes_back() {
        let lobby = Lobby::default();
        let large = 1 << 20;
        let places: Vec<_> = (0..LARGE_BYTES_MAX / large)
            .map(|_| lobby.join(Class::Large, large).expect("there is room"))
            .collect();
        assert!(lobby.is_full(Class::Large) && lobby.join(Class::Large, 1).is_none());
        let rest = lobby.join(Class::Small, BYTES_MAX - LARGE_BYTES_MAX).expect("kept for these");
        assert!(lobby.is_full(Class::Small) && lobby.join(Class::Small, 1).is_none());
        assert!(lobby.leave(&rest) && !lobby.leave(&rest), "it leaves once");
        assert!(!lobby.is_full(Class::Small));
        assert!(places.iter().all(|place| lobby.leave(place)));
        assert!(!lobby.is_full(Class::Large));
        let many: Vec<_> = (0..COUNT_MAX).map(|_| lobby.join(Class::Small, 1)).collect();
        assert!(many.iter().all(Option::is_some) && lobby.join(Class::Small, 1).is_none());
    }
}
