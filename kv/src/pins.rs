//! Which old revisions are being read right now.
//!
//! A long read takes the store's lock in short turns and looks at one revision throughout. A
//! compaction may overtake it: new requests for that revision are refused at once, but the records
//! that the read still needs must stay until it is done. A [`Pin`] says so; the sweep that removes
//! garbage asks for the oldest pin first.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// The revisions in use, each with the number of its readers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pins(Arc<Mutex<BTreeMap<u64, usize>>>);

/// Keeps everything that is visible at one main revision from being swept, until dropped.
#[derive(Debug)]
pub(crate) struct Pin {
    pins: Pins,
    at: u64,
}

impl Pins {
    /// Pins a revision. Must be called under the store's lock, with a readable revision: then no
    /// sweep can have begun beyond it.
    pub(crate) fn pin(&self, at: u64) -> Pin {
        *self.0.lock().entry(at).or_default() += 1;
        Pin { pins: self.clone(), at }
    }

    /// The oldest revision in use.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.0.lock().first_key_value().map(|(&at, _)| at)
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pins = self.pins.0.lock();
        let readers = pins.get_mut(&self.at).expect("a pin is counted until it is dropped");
        *readers -= 1;
        if *readers == 0 {
            pins.remove(&self.at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // A sweep that passed a reader's revision would take records from under it.
    #[test]
    fn the_oldest_reader_holds_the_sweep() {
        let pins = Pins::default();
        assert_eq!(pins.oldest(), None);
        let late = pins.pin(9);
        let early = pins.pin(5);
        let early_too = pins.pin(5);
        drop(early);
        assert_eq!(pins.oldest(), Some(5));
        drop(early_too);
        assert_eq!(pins.oldest(), Some(9));
        drop(late);
        assert_eq!(pins.oldest(), None);
    }
}
