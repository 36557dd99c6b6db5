//! Things that are kept once, however many mean the same: each has a small number, and is counted.

use std::collections::HashMap;
use std::hash::Hash;

/// Values by number, each under a key that no other has.
#[derive(Debug)]
pub(crate) struct Pool<K, V> {
    by_key: HashMap<K, u32>,
    slots: Vec<Option<Held<K, V>>>,
    free: Vec<u32>,
    inserted: u64,
}

#[derive(Debug)]
struct Held<K, V> {
    key: K,
    value: V,
    holders: u32,
    serial: u64,
}

impl<K, V> Default for Pool<K, V> {
    fn default() -> Pool<K, V> {
        Pool { by_key: HashMap::new(), slots: Vec::new(), free: Vec::new(), inserted: 0 }
    }
}

impl<K: Hash + Eq + Clone, V> Pool<K, V> {
    pub(crate) fn find(&self, key: &K) -> Option<u32> {
        self.by_key.get(key).copied()
    }

    /// Takes in what nobody holds yet. The lowest free number would need a search; the last freed
    /// one is as good, and the same for all who did the same.
    pub(crate) fn insert(&mut self, key: K, value: V) -> u32 {
        let id = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 things are kept")
        });
        let old = self.by_key.insert(key.clone(), id);
        assert!(old.is_none(), "a key is kept once");
        self.inserted += 1;
        self.slots[id as usize] = Some(Held { key, value, holders: 0, serial: self.inserted });
        id
    }

    /// Counts one who needs it.
    pub(crate) fn hold(&mut self, id: u32) {
        self.held_mut(id).holders += 1;
    }

    /// Counts one less; says whether that was the last.
    pub(crate) fn let_go(&mut self, id: u32) -> bool {
        let held = self.held_mut(id);
        assert!(held.holders > 0, "who lets go has held");
        held.holders -= 1;
        held.holders == 0
    }

    pub(crate) fn holders(&self, id: u32) -> u32 {
        self.held(id).holders
    }

    /// Tells a thing from an earlier one that had its number.
    pub(crate) fn serial(&self, id: u32) -> u64 {
        self.held(id).serial
    }

    pub(crate) fn remove(&mut self, id: u32) -> V {
        let held = self.slots[id as usize].take().expect("a number in use");
        self.by_key.remove(&held.key);
        self.free.push(id);
        held.value
    }

    pub(crate) fn key(&self, id: u32) -> &K {
        &self.held(id).key
    }

    /// The numbers in use, in order.
    pub(crate) fn ids(&self) -> impl Iterator<Item = u32> + '_ {
        (0..).zip(&self.slots).filter_map(|(id, slot)| slot.as_ref().map(|_| id))
    }

    fn held(&self, id: u32) -> &Held<K, V> {
        self.slots[id as usize].as_ref().expect("a number in use")
    }

    fn held_mut(&mut self, id: u32) -> &mut Held<K, V> {
        self.slots[id as usize].as_mut().expect("a number in use")
    }
}

impl<K: Hash + Eq + Clone, V> std::ops::Index<u32> for Pool<K, V> {
    type Output = V;

    fn index(&self, id: u32) -> &V {
        &self.held(id).value
    }
}

impl<K: Hash + Eq + Clone, V> std::ops::IndexMut<u32> for Pool<K, V> {
    fn index_mut(&mut self, id: u32) -> &mut V {
        &mut self.held_mut(id).value
    }
}
