//! Who reads which state: sixteen small rooms.
//!
//! **The problem.** A reader takes the newest state and reads on in it for as long as it likes,
//! while others commit. The pages of that state must not be used again meanwhile, so it has to be
//! known which states are being read. A list under one lock would be passed by every reader twice;
//! a list without a lock needs a dance of fences.
//!
//! **The idea.** A reader enters a room: a list of its own under a lock of its own, which others
//! pass only now and then. Each room has the newest state and the one before it on the wall; what
//! counts is the number over the door of the house.
//!
//! ```text
//!                        newest: 8
//!     ┌──────────────┬──────────────┬──────────────┐    1. pin 9 up beside 8, room by room
//!     │ 7, 8         │ 7, 8         │ 8, 9         │    2. then set the number to 9
//!     │ ann: 8       │ ben: 5       │ eve: 8       │
//!     └──────────────┴──────────────┴──────────────┘    oldest reader: 5
//! ```
//!
//! Nobody in any room sees 9 before all can, so a state that was seen once is never missed later,
//! whatever room one comes through. Both entering and leaving are constant-time. Nobody waits
//! but for somebody in the same room, for some ten instructions.
//!
//! Who looks around (to see which pages nobody needs) passes through all the rooms. A reader that
//! comes in behind its back takes a state that was newest when the look began, or a newer one.
//!
//! A reader that never leaves (`mem::forget`) keeps its state for as long as the database is open.
//! It is visible with its age in [`Stats`](crate::Stats).

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::root::Root;
use crate::sync::{AtomicU64, Mutex};
use crate::types::TxnId;

const ROOMS: usize = if cfg!(loom) { 2 } else { 16 };

/// Every reader of one database.
#[derive(Debug)]
pub(crate) struct Readers {
    /// The newest state that may be seen.
    newest: AtomicU64,
    rooms: Vec<Room>,
    /// The newest state that is on disk.
    durable: Mutex<Root>,
}

/// Alone on its cache lines.
#[derive(Debug)]
#[repr(align(128))]
struct Room(Mutex<Inside>);

/// Invariants:
/// * `before.txn <= newest.txn`, but for a database whose last commits were aborted.
/// * `places[i]` is `None` exactly if `i` is in `vacant`.
#[derive(Debug)]
struct Inside {
    before: Root,
    newest: Root,
    places: Vec<Option<Guest>>,
    vacant: Vec<usize>,
}

#[derive(Debug, Clone, Copy)]
struct Guest {
    txn: TxnId,
    since: Duration,
}

/// As long as it lives, the pages of one state stay as they are.
#[derive(Debug)]
pub(crate) struct Pin {
    readers: Arc<Readers>,
    room: usize,
    place: usize,
}

/// One reader, for the statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reader {
    /// The state it reads.
    pub txn: TxnId,
    /// How long it has been reading.
    pub age: Duration,
}

impl Readers {
    pub(crate) fn new(root: &Root) -> Readers {
        let room = || Inside {
            before: root.clone(),
            newest: root.clone(),
            places: Vec::new(),
            vacant: Vec::new(),
        };
        Readers {
            newest: AtomicU64::new(root.txn.0),
            rooms: (0..ROOMS).map(|_| Room(Mutex::new(room()))).collect(),
            durable: Mutex::new(root.clone()),
        }
    }

    /// Enters, to read the newest state.
    pub(crate) fn enter(self: &Arc<Self>, now: Duration) -> (Pin, Root) {
        self.enter_room(own_room(), now)
    }

    pub(crate) fn enter_room(self: &Arc<Self>, room: usize, now: Duration) -> (Pin, Root) {
        let mut inside = self.rooms[room].0.lock();
        let newest = TxnId(self.newest.load(Ordering::Acquire));
        let root = if inside.newest.txn <= newest { &inside.newest } else { &inside.before };
        let root = root.clone();
        let place = inside.seat(Guest { txn: root.txn, since: now });
        drop(inside);
        (Pin { readers: Arc::clone(self), room, place }, root)
    }

    /// Enters, to read the newest state that is on disk.
    pub(crate) fn enter_durable(self: &Arc<Self>, now: Duration) -> (Pin, Root) {
        // Held until the reader is seated: who gives pages away has looked at this lock before.
        let durable = self.durable.lock();
        let room = own_room();
        let place = self.rooms[room].0.lock().seat(Guest { txn: durable.txn, since: now });
        (Pin { readers: Arc::clone(self), room, place }, durable.clone())
    }

    /// Enters, to read a state whose pages the caller knows to be there until this returns.
    pub(crate) fn enter_at(self: &Arc<Self>, txn: TxnId, now: Duration) -> Pin {
        let room = own_room();
        let place = self.rooms[room].0.lock().seat(Guest { txn, since: now });
        Pin { readers: Arc::clone(self), room, place }
    }

    /// Makes `root` the newest state. One at a time.
    pub(crate) fn publish(&self, root: &Root) {
        for room in &self.rooms {
            let mut inside = room.0.lock();
            let old = std::mem::replace(&mut inside.newest, root.clone());
            let older = std::mem::replace(&mut inside.before, old);
            drop(inside);
            // The last reference to a list of trees is freed outside of the lock.
            drop(older);
        }
        self.newest.store(root.txn.0, Ordering::Release);
    }

    /// Makes `root` the newest state that is on disk.
    pub(crate) fn settle(&self, root: &Root) {
        *self.durable.lock() = root.clone();
    }

    /// What came after the newest state on disk is not to be: nobody sees it from now on.
    pub(crate) fn retreat(&self) {
        let durable = self.durable.lock().clone();
        for room in &self.rooms {
            let mut inside = room.0.lock();
            inside.before = durable.clone();
            inside.newest = durable.clone();
        }
    }

    /// The newest state that is on disk.
    pub(crate) fn durable(&self) -> Root {
        self.durable.lock().clone()
    }

    /// The newest state.
    pub(crate) fn newest(&self) -> Root {
        let inside = self.rooms[0].0.lock();
        let newest = TxnId(self.newest.load(Ordering::Acquire));
        if inside.newest.txn <= newest { inside.newest.clone() } else { inside.before.clone() }
    }

    /// The states that are being read, sorted, each once.
    pub(crate) fn states(&self) -> Vec<TxnId> {
        let mut states = Vec::new();
        // Whoever read the durable state without being seated yet is seated after this.
        drop(self.durable.lock());
        for room in &self.rooms {
            states.extend(room.0.lock().places.iter().flatten().map(|guest| guest.txn));
        }
        states.sort_unstable();
        states.dedup();
        states
    }

    /// Every reader, the one that came first first.
    pub(crate) fn list(&self, now: Duration) -> Vec<Reader> {
        let mut readers = Vec::new();
        for room in &self.rooms {
            let inside = room.0.lock();
            let reader =
                |guest: &Guest| Reader { txn: guest.txn, age: now.saturating_sub(guest.since) };
            readers.extend(inside.places.iter().flatten().map(reader));
        }
        readers.sort_unstable_by_key(|reader| std::cmp::Reverse(reader.age));
        readers
    }
}

impl Inside {
    fn seat(&mut self, guest: Guest) -> usize {
        if let Some(place) = self.vacant.pop() {
            assert!(self.places[place].is_none(), "a vacant place is empty");
            self.places[place] = Some(guest);
            return place;
        }
        self.places.push(Some(guest));
        self.places.len() - 1
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut inside = self.readers.rooms[self.room].0.lock();
        let guest = inside.places[self.place].take();
        assert!(guest.is_some(), "who leaves was there");
        inside.vacant.push(self.place);
    }
}

/// The room that a thread always takes.
fn own_room() -> usize {
    thread_local! {
        static ROOM: usize = {
            let id = std::thread::current().id();
            RandomState::new().hash_one(id) as usize % ROOMS
        };
    }
    ROOM.with(|room| *room)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn root(txn: u64) -> Root {
        Root { txn: TxnId(txn), ..Root::default() }
    }

    // What a reader is counted as decides which pages are overwritten.
    #[test]
    fn readers_are_counted_with_the_state_they_read() {
        let readers = Arc::new(Readers::new(&root(3)));
        let now = Duration::from_secs;
        let (a, seen) = readers.enter(now(1));
        assert_eq!(seen.txn, TxnId(3));
        readers.publish(&root(4));
        readers.publish(&root(5));
        let (b, seen) = readers.enter(now(2));
        assert_eq!(seen.txn, TxnId(5));
        let (c, seen) = readers.enter_durable(now(3));
        assert_eq!(seen.txn, TxnId(3), "4 and 5 are not on disk");
        readers.settle(&root(5));
        assert_eq!(readers.enter_durable(now(3)).1.txn, TxnId(5));
        assert_eq!(readers.states(), [TxnId(3), TxnId(5)]);
        let oldest = readers.list(now(11))[0];
        assert_eq!((oldest.txn, oldest.age), (TxnId(3), now(10)));
        drop((a, c));
        assert_eq!(readers.states(), [TxnId(5)]);
        drop(b);
        assert!(readers.states().is_empty());
        readers.publish(&root(6));
        readers.retreat();
        assert_eq!(readers.enter(now(9)).1.txn, TxnId(5), "6 was aborted");
    }
}

#[cfg(all(test, loom))]
mod model {
    use loom::sync::atomic::AtomicU64 as Cell;
    use loom::thread;

    use super::*;

    fn root(txn: u64) -> Root {
        Root { txn: TxnId(txn), ..Root::default() }
    }

    // A writer that saw no reader of a state uses its pages again. If a reader could slip in behind
    // its back, it would read another state's bytes.
    #[test]
    fn nobody_enters_a_state_whose_pages_were_given_away() {
        loom::model(|| {
            let readers = Arc::new(Readers::new(&root(1)));
            // The oldest state whose pages are still there.
            let kept = Arc::new(Cell::new(1));
            let reader = {
                let (readers, kept) = (Arc::clone(&readers), Arc::clone(&kept));
                thread::spawn(move || {
                    let (pin, seen) = readers.enter_room(1, Duration::ZERO);
                    assert!(kept.load(Ordering::SeqCst) <= seen.txn.0, "its pages are there");
                    drop(pin);
                })
            };
            readers.publish(&root(2));
            if readers.states().is_empty() {
                kept.store(2, Ordering::SeqCst);
            }
            reader.join().unwrap();
        });
    }

    // One who is told of a commit finds it, whatever room each of them uses.
    #[test]
    fn a_state_that_was_seen_in_one_room_is_seen_in_the_others() {
        loom::model(|| {
            let readers = Arc::new(Readers::new(&root(1)));
            let writer = {
                let readers = Arc::clone(&readers);
                thread::spawn(move || readers.publish(&root(2)))
            };
            let (_first, seen) = readers.enter_room(0, Duration::ZERO);
            let (_second, later) = readers.enter_room(1, Duration::ZERO);
            assert!(seen.txn <= later.txn, "time does not go back");
            writer.join().unwrap();
        });
    }
}
