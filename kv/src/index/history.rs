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
//! Cost: 6.2 bytes a turn and level (a run is 792 bytes with its entry in the list, for 128 turns),
//! nothing for overwrites. Up to 4 thousand keys have one level, up to 262 thousand two.

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
/// - a run is never empty, and only the last may grow
/// - the counts of a run plus its events are the counts of the next, and those of the last `live`
#[derive(Debug)]
pub(super) struct History {
    floor: u64,
    runs: VecDeque<Run>,
}

#[derive(Debug)]
struct Run {
    /// Main revision that the entries count from; not above the first of them.
    first: u64,
    len: usize,
    block: Box<Block>,
}

#[derive(Debug)]
struct Block {
    /// Before the first entry.
    counts: Counts,
    entries: [Entry; RUN_TURNS_MAX],
}

/// An event in four bytes: main revision less `Run::first`, one bit for a death, slot.
#[derive(Clone, Copy, Debug, Default)]
struct Entry(u32);

impl History {
    /// No events yet; nothing at or below `floor` will be asked for.
    pub(super) fn new(floor: u64) -> History {
        History { floor, runs: VecDeque::new() }
    }

    /// Logs an event and counts it in `live`. At or below the floor it is counted only.
    pub(super) fn record(&mut self, event: Event, live: &mut Counts) {
        let Event { main, slot, turn } = event;
        if self.floor < main {
            self.log(event, live);
        } else {
            assert!(self.runs.is_empty(), "mains never descend");
        }
        live[usize::from(slot)] = turn.apply(live[usize::from(slot)]);
    }

    /// The counts when the store stood at main revision `main`, not below the floor.
    pub(super) fn at(&self, main: u64, live: &Counts) -> Counts {
        assert!(self.floor <= main, "a compacted revision has no counts");
        if self.runs.back().is_none_or(|run| run.last() <= main) {
            return *live;
        }
        let after = self.runs.partition_point(|run| run.first <= main);
        let Some(run) = after.checked_sub(1).map(|at| &self.runs[at]) else {
            return self.base(live);
        };
        let mut counts = run.block.counts;
        for event in run.events().take_while(|event| event.main <= main) {
            let count = &mut counts[usize::from(event.slot)];
            *count = event.turn.apply(*count);
        }
        counts
    }

    /// The counts at the floor.
    pub(super) fn base(&self, live: &Counts) -> Counts {
        self.runs.front().map_or(*live, |run| run.block.counts)
    }

    /// Every event after the floor, in order.
    pub(super) fn events(&self) -> impl Iterator<Item = Event> + '_ {
        self.runs.iter().flat_map(Run::events)
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
        // The whole runs first: those that end where the next begins, at or below the floor.
        let whole = self.runs.partition_point(|run| run.last() <= floor);
        self.runs.drain(..whole);
        if let Some(run) = self.runs.front_mut() {
            run.trim(floor);
        }
        if self.runs.len() * 4 + 4 <= self.runs.capacity() {
            self.runs.shrink_to_fit();
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
        for run in &mut self.runs {
            run.block.counts[usize::from(slot)] = left_count;
            run.block.counts[usize::from(new)] = right_count;
            for entry in run.entries_mut().iter_mut().filter(|entry| entry.slot() == slot) {
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
        for run in &mut self.runs {
            let counts = &mut run.block.counts;
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
    pub(super) fn check(&self, used: u64, live: &Counts) {
        let mut counts = self.base(live);
        let mut main = self.floor + 1;
        for run in &self.runs {
            assert_eq!(run.block.counts, counts, "a run begins with the counts so far");
            assert_ne!(run.len, 0, "no run is empty");
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
        self.runs.capacity() * size_of::<Run>() + self.runs.len() * size_of::<Block>()
    }

    fn log(&mut self, event: Event, live: &Counts) {
        let room = self.runs.back().is_some_and(|run| {
            assert!(run.last() <= event.main, "mains never descend");
            run.len < RUN_TURNS_MAX && event.main - run.first <= Entry::MAIN_MAX
        });
        if !room {
            let block = Block { counts: *live, entries: [Entry::default(); RUN_TURNS_MAX] };
            self.runs.push_back(Run { first: event.main, len: 0, block: Box::new(block) });
        }
        let run = self.runs.back_mut().expect("there is room in the last run");
        run.block.entries[run.len] = Entry::new(event, run.first);
        run.len += 1;
    }
}

impl Run {
    /// Main revision of the last event.
    fn last(&self) -> u64 {
        self.first + self.block.entries[self.len - 1].main()
    }

    fn events(&self) -> impl Iterator<Item = Event> + '_ {
        self.block.entries[..self.len].iter().map(|entry| Event {
            main: self.first + entry.main(),
            slot: entry.slot(),
            turn: entry.turn(),
        })
    }

    fn entries_mut(&mut self) -> &mut [Entry] {
        &mut self.block.entries[..self.len]
    }

    /// Counts the events up to `floor` and forgets them; at least one is later.
    fn trim(&mut self, floor: u64) {
        let gone = self.events().take_while(|event| event.main <= floor).count();
        let block = &mut *self.block;
        for &entry in &block.entries[..gone] {
            let count = &mut block.counts[usize::from(entry.slot())];
            *count = entry.turn().apply(*count);
        }
        block.entries.copy_within(gone.., 0);
        self.len -= gone;
        assert_ne!(self.len, 0, "a run with nothing after the floor is dropped whole");
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
