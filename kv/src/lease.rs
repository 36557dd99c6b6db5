//! Leases: promises to delete keys when their holder falls silent.
//!
//! A lease has a name, a time to live and a set of keys that hang on it. This room holds the part
//! that every copy of the store agrees on: which leases stand, and which keys hang on which. It
//! knows no clock. When a lease dies is for the expiry room to say, which then *proposes*
//! a revocation like any other client: the keys go because a journaled command says so, never
//! because a clock moved.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::types::LeaseId;

/// The longest time to live, seconds; etcd's.
pub const TTL_SECONDS_MAX: i64 = 9_000_000_000;

/// One lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    /// Time to live as granted, seconds.
    pub ttl: i64,
    /// The keys that die with it, sorted.
    pub keys: BTreeSet<Bytes>,
}

/// Every lease that stands.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leases {
    leases: BTreeMap<LeaseId, Lease>,
}

impl Leases {
    pub(crate) fn get(&self, id: LeaseId) -> Option<&Lease> {
        self.leases.get(&id)
    }

    pub(crate) fn contains(&self, id: LeaseId) -> bool {
        self.leases.contains_key(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (LeaseId, &Lease)> {
        self.leases.iter().map(|(&id, lease)| (id, lease))
    }

    pub(crate) fn len(&self) -> usize {
        self.leases.len()
    }

    /// Adds a lease without keys.
    pub(crate) fn grant(&mut self, id: LeaseId, ttl: i64) {
        let before = self.leases.insert(id, Lease { ttl, keys: BTreeSet::new() });
        assert!(before.is_none(), "a lease is granted once");
    }

    /// Removes a lease and returns it.
    pub(crate) fn revoke(&mut self, id: LeaseId) -> Option<Lease> {
        self.leases.remove(&id)
    }

    /// Moves `key` from one lease to another; either may be none.
    pub(crate) fn move_key(&mut self, key: &Bytes, from: LeaseId, to: LeaseId) {
        if from == to {
            return;
        }
        if let Some(lease) = self.leases.get_mut(&from) {
            lease.keys.remove(key);
        }
        if to.is_some() {
            let lease = self.leases.get_mut(&to).expect("the lease was looked up before the write");
            // A key often shares the memory of a whole request; the set must not keep that alive.
            lease.keys.insert(Bytes::copy_from_slice(key));
        }
    }
}
