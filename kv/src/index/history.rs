//! How many keys were live under each child of a branch, now and at every earlier revision.
//!
//! A count at revision `r` needs, at each branch on its way down, the live counts of the children
//! as they stood at `r`. Keeping a list of changes for each child would mean a search for each
//! child. Instead a branch keeps one log of *turns* (a key of that child was created, or deleted)
//! in the order in which they happened, cut into runs. A run begins with the counts of all children
//! just before it, so one binary search and at most [`RUN_TURNS_MAX`] additions give them all:
//!
//! ```text
//!   runs   [ counts | 7:+2 7:+0 8:-2 ... ] [ counts | 95:+1 96:+2 ... ] [ counts | ... ]   live
//!            before   └ main : ± slot       before                                          now
//!
//!   counts at 96 = counts of the second run, +1 for slot 1, +1 for slot 2, stop at main > 96
//! ```
//!
//! Children are named by *slot*, a number that they keep while their position among their siblings
//! moves. When a child splits, only its own turns need a new name; when two merge, likewise.
//!
//! The turns under a child are, one for one and in the same order, the turns that the child's own
//! log (or the histories of the keys, in a leaf) holds after the floor. Splitting and merging lean
//! on that: the child's log says which half a turn belongs to.
//!
//! Cost: 6.2 bytes a turn and level (a run is 784 bytes and its place in the list 8, for 128
//! turns), nothing for overwrites. Up to 4 thousand keys have one level, up to 262 thousand two.

use std::collections::VecDeque;

/// Children of a branch at most, and one more than the keys of a leaf. A set of slots is one word.
pub(super) const SLOTS: usize = 64;
/// Turns in a run. Larger saves memory on counts, and costs additions in a search.
const RUN_TURNS_MAX: usize = 128;
const _: () = assert!(SLOTS <= u64::BITS as usize && SLOTS <= 1 << Entry::SLOT_BITS);

/// Live keys by slot.
pub(super) type Counts = [u32; SLOTS];

/// A change of a key between dead and live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Created.
    Birth,
    /// Deleted.
    Death,
}

impl Turn {
    /// The turn from one state to the other, if they differ.
    pub(super) fn between(was_live: bool, is_live: bool) -> Option<Turn> {
        match (was_live, is_live) {
            (false, true) => Some(Turn::Birth),
            (true, false) => Some(Turn::Death),
            _ => None,
        }
    }

    /// The count after it.
    pub(super) fn apply(self, count: u32) -> u32 {
        match self {
            Turn::Birth => count + 1,
            Turn::Death => count - 1,
        }
    }
}

/// A turn of some key under the child in `slot`, at main revision `main`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) main: u64,
    pub(super) slot: u8,
    pub(super) turn: Turn,
}

/// See the module. The counts of now are the owner's; methods that need them take them as `live`.
///
/// Invariants:
/// - every event is after `floor`, and mains never descend
/// - a closed run is not empty, and the open one only if there is none
/// - the counts of a run plus its events are the counts of the next, and those of the last `live`
#[derive(Debug)]
pub(super) struct History {
    floor: u64,
    closed: VecDeque<Box<Run>>,
    /// The last run, the only one that grows; inline, so that a write stays within the node.
    open: Run,
}

#[derive(Debug)]
struct Run {
    /// Main revision that the entries count from; not above the first of them.
    first: u64,
    len: usize,
    /// Before the first entry; of no meaning without one.
    counts: Counts,
    entries: [Entry; RUN_TURNS_MAX],
}

/// An event in four bytes: main revision less `Run::first`, one bit for a death, slot.
#[derive(Clone, Copy, Debug, Default)]
struct Entry(u32);

impl History {
    /// No events yet; nothing at or below `floor` will be asked for.
    pub(super) fn new(floor: u64) -> History {
        History { floor, closed: VecDeque::new(), open: Run::new(0, &[0; SLOTS]) }
    }

    /// Logs an event and counts it in `live`. At or below the floor it is counted only.
    pub(super) fn record(&mut self, event: Event, live: &mut Counts) {
        let Event { main, slot, turn } = event;
        if self.floor < main {
            self.log(event, live);
        } else {
            assert_eq!(self.open.len, 0, "mains never descend");
        }
        live[usize::from(slot)] = turn.apply(live[usize::from(slot)]);
    }

    /// The counts when the store stood at main revision `main`, not below the floor.
    pub(super) fn at(&self, main: u64, live: &Counts) -> Counts {
        assert!(self.floor <= main, "a compacted revision has no counts");
        if self.open.last().is_none_or(|last| last <= main) {
            return *live;
        }
        let run = if self.open.first <= main {
            &self.open
        } else {
            let after = self.closed.partition_point(|run| run.first <= main);
            let Some(run) = after.checked_sub(1).map(|at| &self.closed[at]) else {
                return self.base(live);
            };
            run
        };
        let mut counts = run.counts;
        for event in run.events().take_while(|event| event.main <= main) {
            let count = &mut counts[usize::from(event.slot)];
            *count = event.turn.apply(*count);
        }
        counts
    }

    /// The counts at the floor.
    pub(super) fn base(&self, live: &Counts) -> Counts {
        self.runs().next().map_or(*live, |run| run.counts)
    }

    /// Every event after the floor, in order.
    pub(super) fn events(&self) -> impl Iterator<Item = Event> + '_ {
        self.runs().flat_map(Run::events)
    }

    /// The revision below which the log forgot.
    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    /// Forgets the events up to main revision `floor`.
    pub(super) fn trim(&mut self, floor: u64) {
        if floor <= self.floor {
            return;
        }
        self.floor = floor;
        let whole = self.closed.partition_point(|run| run.last().is_some_and(|last| last <= floor));
        self.closed.drain(..whole);
        let first = self.closed.front_mut().map_or(&mut self.open, |run| run);
        first.trim(floor);
        if self.closed.len() * 4 + 4 <= self.closed.capacity() {
            self.closed.shrink_to_fit();
        }
    }

    /// Divides the events of `slot` between it and the unused slot `new`. `sides` repeats each of
    /// them, in order, and tells whether it goes to `new`; `base` are the counts of both at the
    /// floor. Returns both counts of now.
    pub(super) fn split_slot(
        &mut self,
        slot: u8,
        new: u8,
        base: (u32, u32),
        mut sides: impl Iterator<Item = (Turn, bool)>,
    ) -> (u32, u32) {
        let (mut left_count, mut right_count) = base;
        for run in self.runs_mut() {
            run.counts[usize::from(slot)] = left_count;
            run.counts[usize::from(new)] = right_count;
            for entry in run.entries_of(slot) {
                let (turn, right) = sides.next().expect("a child logs what its parent does");
                debug_assert_eq!(turn, entry.turn(), "both log in the same order");
                if right {
                    *entry = entry.renamed(new);
                    right_count = turn.apply(right_count);
                } else {
                    left_count = turn.apply(left_count);
                }
            }
        }
        assert!(sides.next().is_none(), "a parent logs what its child does");
        (left_count, right_count)
    }

    /// Gives the events of `gone` to `slot`. Calls `order` for each event of either, in order, with
    /// whether it was of `gone`.
    pub(super) fn merge_slots(&mut self, slot: u8, gone: u8, mut order: impl FnMut(bool)) {
        for run in self.runs_mut() {
            let counts = &mut run.counts;
            let more = std::mem::take(&mut counts[usize::from(gone)]);
            let count = &mut counts[usize::from(slot)];
            *count += more;
            for entry in run.entries_mut() {
                if entry.slot() == gone {
                    *entry = entry.renamed(slot);
                    order(true);
                } else if entry.slot() == slot {
                    order(false);
                }
            }
        }
    }

    /// Asserts the invariants, as well as that only `used` slots occur.
    #[cfg(test)]
    pub(super) fn check(&self, used: u64, live: &Counts) {
        let mut counts = self.base(live);
        let mut main = self.floor + 1;
        assert!(self.closed.iter().all(|run| run.len > 0), "no closed run is empty");
        assert!(self.open.len > 0 || self.closed.is_empty(), "nor the open one after a closed one");
        for run in self.runs() {
            assert_eq!(run.counts, counts, "a run begins with the counts so far");
            for event in run.events() {
                assert!(main <= event.main, "events are after the floor and never descend");
                assert_ne!(used & 1 << event.slot, 0, "an event belongs to a child");
                main = event.main;
                let count = &mut counts[usize::from(event.slot)];
                *count = event.turn.apply(*count);
            }
        }
        assert_eq!(&counts, live, "the events lead up to the counts of now");
        let unused = (0..SLOTS).filter(|slot| used & 1 << slot == 0);
        assert!(unused.into_iter().all(|slot| live[slot] == 0), "an unused slot counts nothing");
    }

    /// Bytes on the heap.
    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        self.closed.capacity() * size_of::<Box<Run>>() + self.closed.len() * size_of::<Run>()
    }

    fn log(&mut self, event: Event, live: &Counts) {
        assert!(self.open.last().is_none_or(|last| last <= event.main), "mains never descend");
        let open = &self.open;
        if open.len == 0 {
            self.open = Run::new(event.main, live);
        } else if open.len == RUN_TURNS_MAX || event.main - open.first > Entry::MAIN_MAX {
            let full = std::mem::replace(&mut self.open, Run::new(event.main, live));
            self.closed.push_back(Box::new(full));
        }
        self.open.entries[self.open.len] = Entry::new(event, self.open.first);
        self.open.len += 1;
    }

    /// The runs that are not empty.
    fn runs(&self) -> impl Iterator<Item = &Run> {
        let open = (self.open.len > 0).then_some(&self.open);
        self.closed.iter().map(|run| &**run).chain(open)
    }

    fn runs_mut(&mut self) -> impl Iterator<Item = &mut Run> {
        let open = (self.open.len > 0).then_some(&mut self.open);
        self.closed.iter_mut().map(|run| &mut **run).chain(open)
    }
}

const _: () = assert!(size_of::<Run>() == 784);

impl Run {
    fn new(first: u64, counts: &Counts) -> Run {
        Run { first, len: 0, counts: *counts, entries: [Entry::default(); RUN_TURNS_MAX] }
    }

    /// Main revision of the last event, if there is one.
    fn last(&self) -> Option<u64> {
        let entry = self.entries[..self.len].last()?;
        Some(self.first + entry.main())
    }

    fn events(&self) -> impl Iterator<Item = Event> + '_ {
        self.entries[..self.len].iter().map(|entry| Event {
            main: self.first + entry.main(),
            slot: entry.slot(),
            turn: entry.turn(),
        })
    }

    fn entries_mut(&mut self) -> &mut [Entry] {
        &mut self.entries[..self.len]
    }

    /// The entries of one slot, in order.
    fn entries_of(&mut self, slot: u8) -> impl Iterator<Item = &mut Entry> {
        self.entries_mut().iter_mut().filter(move |entry| entry.slot() == slot)
    }

    /// Counts the events up to `floor` and forgets them.
    fn trim(&mut self, floor: u64) {
        let gone = self.events().take_while(|event| event.main <= floor).count();
        for &entry in &self.entries[..gone] {
            let count = &mut self.counts[usize::from(entry.slot())];
            *count = entry.turn().apply(*count);
        }
        self.entries.copy_within(gone.., 0);
        self.len -= gone;
    }
}

impl Entry {
    const SLOT_BITS: u32 = 6;
    const SLOT_MASK: u32 = (1 << Entry::SLOT_BITS) - 1;
    const DEATH: u32 = 1 << Entry::SLOT_BITS;
    const MAIN_SHIFT: u32 = Entry::SLOT_BITS + 1;
    /// The largest difference of main revisions; a run that would need a larger one ends.
    const MAIN_MAX: u64 = (u32::MAX >> Entry::MAIN_SHIFT) as u64;

    fn new(event: Event, first: u64) -> Entry {
        let main = u32::try_from(event.main - first).expect("a run spans less than 2^25");
        let death = if event.turn == Turn::Death { Entry::DEATH } else { 0 };
        Entry(main << Entry::MAIN_SHIFT | death | u32::from(event.slot))
    }

    fn main(self) -> u64 {
        u64::from(self.0 >> Entry::MAIN_SHIFT)
    }

    fn slot(self) -> u8 {
        (self.0 & Entry::SLOT_MASK) as u8
    }

    fn turn(self) -> Turn {
        if self.0 & Entry::DEATH == 0 { Turn::Birth } else { Turn::Death }
    }

    fn renamed(self, slot: u8) -> Entry {
        Entry(self.0 & !Entry::SLOT_MASK | u32::from(slot))
    }
}
