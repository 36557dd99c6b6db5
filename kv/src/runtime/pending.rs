//! Commands under way, and who waits for those that were handed on.
//!
//! There are never more than so many, and so many bytes. An eighth more is kept for those that keep
//! the store and its leases going ([`Command::is_urgent`](crate::command::Command::is_urgent)): a
//! flood of others must not keep an operator from compacting, nor a client from its lease.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::error::Error;
use crate::reply::Reply;

type Answer = oneshot::Sender<Result<Reply, Error>>;

/// Commands under way.
pub(crate) struct Pending {
    count_max: usize,
    bytes_max: usize,
    count: AtomicUsize,
    bytes: AtomicUsize,
    serial: AtomicU64,
    handed_on: Mutex<HashMap<u64, Answer>>,
}

/// A place among the commands under way.
pub(crate) struct Place<'a> {
    pending: &'a Pending,
    bytes: usize,
}

/// Somebody who waits for a command that was handed on. Dropped, nobody does.
pub(crate) struct Waiter<'a> {
    pending: &'a Pending,
    pub(crate) serial: u64,
    pub(crate) reply: oneshot::Receiver<Result<Reply, Error>>,
}

impl Pending {
    pub(crate) fn new(count_max: usize, bytes_max: usize) -> Pending {
        Pending {
            count_max,
            bytes_max,
            count: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            // What an earlier life of this member has handed on may be applied in this one.
            serial: AtomicU64::new(RandomState::new().hash_one(count_max)),
            handed_on: Mutex::default(),
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Takes a place, if there is room.
    pub(crate) fn enter(&self, bytes: usize, urgent: bool) -> Result<Place<'_>, Error> {
        let place = Place { pending: self, bytes };
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let within = |most: usize| if urgent { with_reserve(most) } else { most };
        if count > within(self.count_max) || bytes > within(self.bytes_max) {
            return Err(Error::Busy);
        }
        Ok(place)
    }

    /// Waits for a command that is about to be handed on.
    pub(crate) fn wait(&self) -> Waiter<'_> {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let (answer, reply) = oneshot::channel();
        self.handed_on.lock().insert(serial, answer);
        Waiter { pending: self, serial, reply }
    }

    /// A command that was handed on is applied.
    pub(crate) fn answer(&self, serial: u64, outcome: Result<Reply, Error>) {
        let waiting = self.handed_on.lock().remove(&serial);
        if let Some(answer) = waiting {
            // Whoever went away does not want to know.
            drop(answer.send(outcome));
        }
    }
}

/// A bound, and what is kept beyond it for what is urgent.
pub(crate) fn with_reserve(most: usize) -> usize {
    most.saturating_add(most / 8 + 1)
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.pending.count.fetch_sub(1, Ordering::Relaxed);
        self.pending.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.pending.handed_on.lock().remove(&self.serial);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // A lease that cannot be granted, or a compaction that cannot be asked for, because others
    // write: that is what the reserve is against.
    #[test]
    fn what_is_urgent_finds_room_when_there_is_none_for_others() {
        let pending = Pending::new(8, 1000);
        let full: Vec<_> = (0..8).map(|_| pending.enter(10, false).unwrap()).collect();
        assert!(matches!(pending.enter(10, false), Err(Error::Busy)));
        let urgent = pending.enter(10, true).expect("room is kept for it");
        let more = pending.enter(10, true).expect("for two");
        assert!(matches!(pending.enter(10, true), Err(Error::Busy)), "it has a bound too");
        drop((full, urgent, more));
        let _large = pending.enter(1000, false).unwrap();
        assert!(matches!(pending.enter(1, false), Err(Error::Busy)));
        assert!(pending.enter(100, true).is_ok());
        assert_eq!(pending.count(), 1, "who was refused, or is done, has left nothing");
    }
}
