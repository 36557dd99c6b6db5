//! What a replica is told of the disk that it lies on.
//!
//! Nobody here looks at a disk: a file system is not asked through `vfs` how much room it has, and
//! what lies beside the store is not the store's business. Whoever runs the replica looks, and
//! says it here; if nobody does, there is always room.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What a replica is told of the disk that it lies on.
#[derive(Debug)]
pub struct Disk {
    full: AtomicBool,
    free_bytes: AtomicU64,
    room_bytes: Arc<AtomicU64>,
}

impl Default for Disk {
    /// As large as anybody may wish.
    fn default() -> Disk {
        let [free_bytes, room_bytes] = [u64::MAX; 2].map(AtomicU64::new);
        Disk { full: AtomicBool::new(false), free_bytes, room_bytes: Arc::new(room_bytes) }
    }
}

impl Disk {
    /// Says whether it is full: while it is, what needs space is refused, as if the store had
    /// outgrown its quota.
    pub fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::Relaxed);
    }

    /// Whether it is full.
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Says how much is free: an engine that has less than it takes gives space back in small
    /// pieces, for the new ones lie beside the old ones for a while.
    pub fn set_free(&self, bytes: u64) {
        self.free_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Says how much the engine may take, what is kept back for it included: a save or a
    /// merge that needs more is not begun. Half of one takes what whoever makes room could use.
    pub fn set_room(&self, bytes: u64) {
        self.room_bytes.store(bytes, Ordering::Relaxed);
    }

    /// How much the engine may take, as far as anybody has said.
    pub(crate) fn room_bytes(&self) -> u64 {
        self.room_bytes.load(Ordering::Relaxed)
    }

    /// The same, kept up to date.
    pub(crate) fn room(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.room_bytes)
    }

    /// How much is free, as far as anybody has said.
    pub(crate) fn free_bytes(&self) -> u64 {
        self.free_bytes.load(Ordering::Relaxed)
    }
}
