//! Makes writes visible in the order of their numbers, whoever is done first.
//!
//! **The problem.** Threads insert their batches side by side. A reader must see batches whole, and
//! never one without those before it; yet nobody should hold a lock while inserting.
//!
//! **The idea.** A batch enters when it gets its numbers, and reports when its entries are in the
//! memtable. One number says how far everything has been reported: readers see entries up to it,
//! and nothing beyond. Whoever reports last for a gap moves the number over all that had already
//! reported behind it, so that nobody has to be woken in order to make way.
//!
//! ```text
//!   entered     [1 2 3]   [4]   [5 6]   [7]
//!   reported       ✓       ✓      -      ✓
//!   visible                ▲
//!                          4    once [5 6] reports: 7
//! ```

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use crate::key::SeqNo;
use crate::sync::{AtomicU64, Condvar, Guard, Mutex};

/// See the module.
#[derive(Debug)]
pub(crate) struct Ratchet {
    visible: AtomicU64,
    state: Mutex<State>,
    moved: Condvar,
}

/// Invariants:
/// * `pending` holds the batches entered and not yet visible, in order.
/// * The first of them has not reported.
#[derive(Debug)]
struct State {
    pending: VecDeque<Pending>,
    /// The ticket of the first pending batch.
    front: u64,
    waiting: usize,
}

#[derive(Debug)]
struct Pending {
    last: SeqNo,
    reported: bool,
}

/// A batch's place in the order.
#[derive(Debug, Clone, Copy)]
#[must_use = "a batch that never reports holds up all that come after"]
pub(crate) struct Ticket {
    number: u64,
    last: SeqNo,
}

impl Ratchet {
    /// Everything up to `visible` is to be seen.
    pub(crate) fn new(visible: SeqNo) -> Ratchet {
        let state = State { pending: VecDeque::new(), front: 0, waiting: 0 };
        Ratchet {
            visible: AtomicU64::new(visible.0),
            state: Mutex::new(state),
            moved: Condvar::new(),
        }
    }

    /// The last write that readers see.
    pub(crate) fn visible(&self) -> SeqNo {
        // Acquire: entries up to this number are in the memtable for whoever has read it.
        SeqNo(self.visible.load(Ordering::Acquire))
    }

    /// A batch enters whose last number is `last`. Called in the order of the numbers.
    pub(crate) fn enter(&self, last: SeqNo) -> Ticket {
        let mut state = self.state.lock();
        let before = state.pending.back().map(|batch| batch.last);
        assert!(before.is_none_or(|before| before < last), "batches enter in order");
        state.pending.push_back(Pending { last, reported: false });
        Ticket { number: state.front + state.pending.len() as u64 - 1, last }
    }

    /// The batch is in the memtable. Returns once it is visible: as soon as every batch that
    /// entered before it has reported.
    pub(crate) fn report(&self, ticket: Ticket) {
        let mut state = self.state.lock();
        let at = (ticket.number - state.front) as usize;
        assert!(!state.pending[at].reported, "a batch reports once");
        state.pending[at].reported = true;
        if at > 0 {
            self.wait_in(state, ticket.last);
            return;
        }
        let mut visible = ticket.last;
        while let Some(batch) = state.pending.front()
            && batch.reported
        {
            visible = batch.last;
            state.pending.pop_front();
            state.front += 1;
        }
        // Release: with this number go the entries of every batch it covers; those of other threads
        // came to us with the lock.
        self.visible.store(visible.0, Ordering::Release);
        let anybody = state.waiting > 0;
        drop(state);
        if anybody {
            self.moved.notify_all();
        }
    }

    /// Returns once everything up to `seq`, which has entered, is visible.
    pub(crate) fn wait(&self, seq: SeqNo) {
        if self.visible() < seq {
            self.wait_in(self.state.lock(), seq);
        }
    }

    /// How many are waiting.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn waiting(&self) -> usize {
        self.state.lock().waiting
    }

    fn wait_in(&self, mut state: Guard<'_, State>, seq: SeqNo) {
        state.waiting += 1;
        while self.visible() < seq {
            self.moved.wait(&mut state);
        }
        state.waiting -= 1;
    }
}

#[cfg(all(loom, test))]
mod model;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    // The last of a row publishes all that reported behind it, once.
    #[test]
    fn reports_out_of_order_are_published_in_order() {
        let ratchet = Ratchet::new(SeqNo(10));
        let (first, second) = (ratchet.enter(SeqNo(11)), ratchet.enter(SeqNo(14)));
        std::thread::scope(|scope| {
            let later = scope.spawn(|| ratchet.report(second));
            assert_eq!(ratchet.visible(), SeqNo(10));
            ratchet.report(first);
            later.join().unwrap();
        });
        ratchet.wait(SeqNo(14));
        assert_eq!(ratchet.visible(), SeqNo(14));
    }
}
