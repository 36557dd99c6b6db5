//! The room for those who have not shaken hands yet: when it is full, the oldest has to go.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Handshakes under way at one endpoint.
#[derive(Debug)]
pub(super) struct Room {
    max: usize,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    entered: u64,
    /// Oldest first.
    guests: VecDeque<(u64, Arc<Notify>)>,
}

/// A place in it, left when dropped.
#[derive(Debug)]
pub(super) struct Guest<'r> {
    room: &'r Room,
    id: u64,
    /// Told when it has to go for somebody else.
    pub(super) kick: Arc<Notify>,
}

impl Room {
    /// For so many.
    pub(super) fn new(max: usize) -> Room {
        assert!(max > 0, "somebody must be able to come in");
        Room { max, waiting: Mutex::default() }
    }

    /// Takes a place; if there is none left, that of whoever has waited longest.
    pub(super) fn enter(&self) -> Guest<'_> {
        let mut waiting = self.waiting.lock();
        waiting.entered += 1;
        let (id, kick) = (waiting.entered, Arc::new(Notify::new()));
        waiting.guests.push_back((id, kick.clone()));
        if waiting.guests.len() > self.max
            && let Some((_, oldest)) = waiting.guests.pop_front()
        {
            oldest.notify_one();
        }
        Guest { room: self, id, kick }
    }
}

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        self.room.waiting.lock().guests.retain(|(id, _)| *id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // A flood of half-open connections must push out its own, and never the one that comes now.
    #[test]
    fn oldest_goes_when_the_room_is_full() {
        let room = Room::new(2);
        let (one, two) = (room.enter(), room.enter());
        drop(one);
        let three = room.enter();
        let has_to_go = |guest: &Guest<'_>| {
            let mut told = tokio_test_poll(&guest.kick);
            std::mem::take(&mut told)
        };
        assert!(!has_to_go(&two) && !has_to_go(&three));
        let four = room.enter();
        assert!(has_to_go(&two) && !has_to_go(&three) && !has_to_go(&four));
        assert_eq!(room.waiting.lock().guests.len(), 2);
    }

    /// Whether somebody was told, without waiting for it.
    fn tokio_test_poll(kick: &Notify) -> bool {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        std::pin::pin!(kick.notified()).as_mut().poll(&mut cx).is_ready()
    }
}
