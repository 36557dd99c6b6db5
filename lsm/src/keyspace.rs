//! The handle on one ordered map within a database.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;

use crate::compress::Compression;
use crate::config::{KeyspaceOptions, Policy};
use crate::memtable::KeyspaceId;
use crate::time::WallTime;

/// Bytes behind each value of a keyspace whose entries expire: when, in milliseconds since 1970,
/// little end first.
pub(crate) const EXPIRY_BYTES: usize = 8;

/// A keyspace of an open database. Clones share it. Keyspaces have their own keys and options, and
/// share everything else: one batch can change several of them.
#[derive(Clone)]
pub struct Keyspace {
    pub(crate) shared: Arc<Shared>,
}

impl fmt::Debug for Keyspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyspace({:?})", self.shared.name)
    }
}

impl Keyspace {
    /// The name it was made under.
    pub fn name(&self) -> &str {
        &self.shared.name
    }
}

/// What the database and all handles know of a keyspace.
pub(crate) struct Shared {
    pub(crate) id: KeyspaceId,
    pub(crate) name: String,
    /// Of the database, so that a handle is not used with another one.
    pub(crate) owner: u64,
    /// Whether values carry their expiry.
    pub(crate) expires: bool,
    pub(crate) time: Arc<WallTime>,
    pub(crate) options: RwLock<Arc<KeyspaceOptions>>,
    pub(crate) dropped: AtomicBool,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, {:?}", self.id, self.name)
    }
}

impl Shared {
    pub(crate) fn options(&self) -> Arc<KeyspaceOptions> {
        Arc::clone(&self.options.read())
    }

    pub(crate) fn is_dropped(&self) -> bool {
        self.dropped.load(Ordering::Acquire)
    }

    /// When an entry written now expires.
    pub(crate) fn expiry(&self) -> u64 {
        let ttl = self
            .options
            .read()
            .ttl
            .map_or(u64::MAX, |ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        self.time.now().saturating_add(ttl)
    }
}

/// What of a keyspace's options is written to the manifest: what compactions need before anybody
/// has asked for the keyspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Traits {
    pub(crate) compression: Compression,
    pub(crate) policy: Policy,
    pub(crate) expires: bool,
}

impl Traits {
    pub(crate) fn of(options: &KeyspaceOptions) -> Traits {
        Traits {
            compression: options.compression,
            policy: options.policy,
            expires: options.ttl.is_some(),
        }
    }

    pub(crate) fn options(self) -> KeyspaceOptions {
        KeyspaceOptions::default().compression(self.compression).policy(self.policy)
    }
}
