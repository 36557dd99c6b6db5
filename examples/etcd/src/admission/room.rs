//! How many bytes of large messages are held.
//!
//! A request is held from its first byte until it is answered, an answer until the client takes it.
//! Clients decide how many of both there are. Small ones are bounded well enough by what a call
//! costs a client; those above [`SMALL_BYTES_MAX`] have a share of a room, and when it is full, the
//! next is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Messages up to this are not counted.
const SMALL_BYTES_MAX: usize = 64 << 10;

/// Whether a message of so many bytes is not counted.
pub(super) fn is_small(bytes: usize) -> bool {
    bytes <= SMALL_BYTES_MAX
}

/// Room for so many bytes.
#[derive(Clone)]
pub(crate) struct Room {
    held: Arc<AtomicUsize>,
    bytes_max: usize,
}

/// Bytes that are held, until this is dropped.
#[derive(Default)]
pub(crate) struct Held(Option<(Arc<AtomicUsize>, usize)>);

impl Room {
    pub(super) fn new(bytes_max: usize) -> Room {
        Room { held: Arc::default(), bytes_max }
    }

    /// Makes room for a message; `None` if there is none.
    pub(crate) fn take(&self, bytes: usize) -> Option<Held> {
        if is_small(bytes) {
            return Some(Held(None));
        }
        let before = self.held.fetch_add(bytes, Ordering::Relaxed);
        let held = Held(Some((self.held.clone(), bytes)));
        (before + bytes <= self.bytes_max).then_some(held)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some((held, bytes)) = self.0.take() {
            held.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Room that is not given back is a server that refuses for ever.
    #[test]
    fn room_is_given_back() {
        let room = Room::new(1 << 20);
        let half = room.take(512 << 10).expect("there is room");
        assert!(room.take(513 << 10).is_none());
        let rest = room.take(512 << 10).expect("who was refused has left nothing");
        assert!(room.take(65 << 10).is_none());
        assert!(room.take(64 << 10).is_some(), "small ones are not counted");
        drop((half, rest));
        assert!(room.take(1 << 20).is_some());
    }
}
