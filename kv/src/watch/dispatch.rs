//! Who is to hear of a change?
//!
//! The table of *synced* watchers: those that have everything up to the hub's revision and take
//! what comes next as it happens. Watchers of one key stand in a hash map, watchers of ranges in an
//! [`IntervalMap`]; finding those of a key costs one hash and one search, however many others there
//! are, and then only what is found.
//!
//! A watcher's events of one revision are gathered in its slot, so that they can leave together.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::history::Change;
use super::interval::IntervalMap;
use super::outbox::Changes;
use super::stream_state::Stream;
use super::watcher::Watcher;

/// The number of a slot in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotId(pub(crate) u32);

/// A synced watcher.
pub(crate) struct Slot {
    pub(crate) stream: Arc<Stream>,
    pub(crate) watcher: Arc<Watcher>,
    /// The first main revision that it is to see.
    pub(crate) next: u64,
    /// Its events of the present revision.
    gathered: Changes,
    /// Its place among the watchers of the same key or range.
    place: usize,
}

/// The synced watchers of a hub.
#[derive(Default)]
pub(crate) struct Dispatch {
    slots: Vec<Option<Slot>>,
    free: Vec<SlotId>,
    keys: HashMap<Bytes, SmallVec<[SlotId; 2]>>,
    ranges: IntervalMap<SlotId>,
}

impl Dispatch {
    /// How many watchers are synced.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Adds a watcher that has everything below `next`.
    pub(crate) fn add(&mut self, stream: Arc<Stream>, watcher: Arc<Watcher>, next: u64) -> SlotId {
        let id = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            SlotId(u32::try_from(self.slots.len() - 1).expect("watchers are counted in 32 bits"))
        });
        let place = match watcher.request.range.as_single() {
            Some(key) => {
                let ids = self.keys.entry(key.clone()).or_default();
                ids.push(id);
                ids.len() - 1
            }
            None => self.ranges.insert(&watcher.request.range, id),
        };
        let slot = Slot { stream, watcher, next, gathered: Changes::new(), place };
        self.slots[id.0 as usize] = Some(slot);
        id
    }

    /// Removes a watcher.
    pub(crate) fn remove(&mut self, id: SlotId) -> Slot {
        let slot = self.slots[id.0 as usize].take().expect("only a filled slot is removed");
        let range = &slot.watcher.request.range;
        let moved = match range.as_single() {
            Some(key) => {
                let ids = self.keys.get_mut(key).expect("a slot's key is in the map");
                ids.swap_remove(slot.place);
                let moved = ids.get(slot.place).copied();
                if ids.is_empty() {
                    self.keys.remove(key);
                }
                moved
            }
            None => self.ranges.remove(range, slot.place),
        };
        if let Some(moved) = moved {
            self.slot_mut(moved).place = slot.place;
        }
        self.free.push(id);
        slot
    }

    pub(crate) fn slot(&self, id: SlotId) -> &Slot {
        self.slots[id.0 as usize].as_ref().expect("only a filled slot is looked at")
    }

    fn slot_mut(&mut self, id: SlotId) -> &mut Slot {
        self.slots[id.0 as usize].as_mut().expect("only a filled slot is looked at")
    }

    /// Gathers `change` in the slot of everyone who is to hear of it. A slot that had gathered
    /// nothing before is added to `touched`. The change is copied once, if anyone wants it.
    pub(crate) fn gather(&mut self, change: &Change, touched: &mut Vec<SlotId>) {
        let Dispatch { slots, keys, ranges, .. } = self;
        let mut shared: Option<Arc<Change>> = None;
        let mut visit = |id: SlotId| {
            let slot = slots[id.0 as usize].as_mut().expect("the indexes name filled slots");
            if change.revision.main < slot.next || !slot.watcher.request.passes(change) {
                return;
            }
            if slot.gathered.is_empty() {
                touched.push(id);
            }
            let shared = shared.get_or_insert_with(|| Arc::new(change.clone()));
            slot.gathered.push(Arc::clone(shared));
        };
        if let Some(ids) = keys.get(change.key().as_ref()) {
            ids.iter().copied().for_each(&mut visit);
        }
        ranges.stab(change.key(), &mut visit);
    }

    /// What a touched slot has gathered.
    pub(crate) fn take_gathered(&mut self, id: SlotId) -> Changes {
        std::mem::take(&mut self.slot_mut(id).gathered)
    }

    /// The slots whose watcher is still to see main revision `main`.
    pub(crate) fn awaiting(&self, main: u64) -> Vec<SlotId> {
        let filled = (0..).map(SlotId).zip(&self.slots);
        filled
            .filter(|(_, slot)| slot.as_ref().is_some_and(|slot| slot.next <= main))
            .map(|(id, _)| id)
            .collect()
    }

    /// Asserts that slots and indexes agree, and that nothing is left gathered.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        let singles: usize = self.keys.values().map(SmallVec::len).sum();
        assert_eq!(singles + self.ranges.check(), self.len(), "each slot is indexed once");
        for (index, slot) in self.slots.iter().enumerate() {
            let Some(slot) = slot else { continue };
            assert!(slot.gathered.is_empty(), "gathered events leave with their revision");
            if let Some(key) = slot.watcher.request.range.as_single() {
                assert_eq!(self.keys[key][slot.place].0 as usize, index, "a slot is at its place");
            }
            slot.stream.check_synced(&slot.watcher, SlotId(u32::try_from(index).unwrap()));
        }
    }
}
