//! Revisions, leases and key-values: the nouns that every other room of this crate speaks in.
//!
//! A store has one clock, its *main revision*. A fresh store stands at 1; every request that
//! changes something moves it by exactly one, however many keys the request touches. The changes
//! inside one request are told apart by their *sub-revision*, counted from 0 in the order in which
//! they were made. A pair of both names one change for ever:
//!
//! ```text
//!   put a        txn { put b; del a }         put a
//!   (2,0)        (3,0) put b  (3,1) del a     (4,0)        <- main.sub
//!   a: created 2, version 1                   a: created 4, version 1   <- a new generation
//! ```
//!
//! A key's *generation* begins with the put that creates it and ends with a delete. Within it,
//! `version` counts puts from 1 and `create_revision` stays.

use std::fmt;

use bytes::Bytes;

/// The main revision of a store that nothing has been written to.
pub const REVISION_FRESH: u64 = 1;

/// The name of one change: the main revision of the request that made it, and its place within.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision {
    /// Which request: 2 is the first that changed a store; 1 names none.
    pub main: u64,
    /// Which change of that request, from 0.
    pub sub: u32,
}

impl Revision {
    /// Width of [`Revision::to_bytes`].
    pub const BYTES: usize = 12;

    /// The change `sub` of the request `main`.
    pub const fn new(main: u64, sub: u32) -> Revision {
        Revision { main, sub }
    }

    /// Main (8 bytes), then sub (4 bytes), both big-endian: bytes sort as revisions do.
    pub fn to_bytes(self) -> [u8; Revision::BYTES] {
        let mut bytes = [0; Revision::BYTES];
        bytes[..8].copy_from_slice(&self.main.to_be_bytes());
        bytes[8..].copy_from_slice(&self.sub.to_be_bytes());
        bytes
    }

    /// The inverse of [`Revision::to_bytes`]; `None` when the width is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Option<Revision> {
        let main = u64::from_be_bytes(bytes.get(..8)?.try_into().ok()?);
        let sub = u32::from_be_bytes(bytes.get(8..)?.try_into().ok()?);
        Some(Revision { main, sub })
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.main, self.sub)
    }
}

/// The name of a lease. Zero means "no lease"; any other number, negative ones included, is valid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub i64);

impl LeaseId {
    /// No lease at all.
    pub const NONE: LeaseId = LeaseId(0);

    /// Whether this names a lease.
    pub const fn is_some(self) -> bool {
        self.0 != 0
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One key as it stood at some revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyValue {
    /// The key; never empty.
    pub key: Bytes,
    /// The value; empty when the request asked for keys only.
    pub value: Bytes,
    /// Main revision of the put that began this generation.
    pub create_revision: u64,
    /// Main revision of the last put.
    pub mod_revision: u64,
    /// How many puts this generation has seen, from 1.
    pub version: u64,
    /// The lease that the key dies with, or [`LeaseId::NONE`].
    pub lease: LeaseId,
}
