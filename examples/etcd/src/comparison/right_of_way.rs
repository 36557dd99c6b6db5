//! Who goes first where both cannot: Defragment, before the scrub.
//!
//! **The problem.** The scrub reads slowly, and a file as it was when it began. As long as it
//! reads, what has been deleted since cannot be given back; and of a large file it reads nearly all
//! the time. Whoever asks for a Defragment then would be told that all is done, and have nothing.
//!
//! **The idea.** Who wants space takes the right of way: the scrub leaves what it reads, and begins
//! over when nobody wants any more.
//!
//! ```text
//!   Defragment   take ┄┄┄ waits ┄┄┄┤ gives space back ├ drop
//!                  │ wanted        │ let go           │
//!   scrub        ──reads a piece───┘                  └── some seconds later: from its beginning
//! ```
//!
//! Several may have it at once. A scrub that is resting hears of it at once, and one that is
//! reading after the block in its hand.

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::watch;

/// The right to go before the scrub.
#[derive(Debug, Default)]
pub(crate) struct RightOfWay {
    /// How many have taken it, or are about to.
    wanted: watch::Sender<usize>,
    /// The scrub holds it alone, as long as it holds on to a file.
    file: RwLock<()>,
}

/// The right, taken. The scrub holds on to nothing until it is dropped.
pub(crate) struct Taken<'a> {
    way: &'a RightOfWay,
    _file: RwLockReadGuard<'a, ()>,
}

impl RightOfWay {
    /// Takes it. Blocks until the scrub has let go, which is soon.
    pub(crate) fn take(&self) -> Taken<'_> {
        self.wanted.send_modify(|count| *count += 1);
        Taken { way: self, _file: self.file.read() }
    }

    /// Whether anybody wants it.
    pub(super) fn is_wanted(&self) -> bool {
        *self.wanted.borrow() > 0
    }

    /// Resolves when somebody wants it.
    pub(super) async fn wanted(&self) {
        let mut wanted = self.wanted.subscribe();
        // The sender is here.
        drop(wanted.wait_for(|count| *count > 0).await);
    }

    /// For the scrub, before it reads; nothing if somebody else goes first.
    pub(super) fn yielded(&self) -> Option<RwLockWriteGuard<'_, ()>> {
        self.file.try_write().filter(|_| !self.is_wanted())
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.way.wanted.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The scrub must neither begin beside somebody who has the right, nor be kept waiting by one
    // who has had it.
    #[test]
    fn scrub_reads_when_nobody_wants_the_way() {
        let way = RightOfWay::default();
        assert!(way.yielded().is_some());
        let (one, other) = (way.take(), way.take());
        assert!(way.is_wanted() && way.yielded().is_none());
        drop(one);
        assert!(way.is_wanted() && way.yielded().is_none(), "the other still has it");
        drop(other);
        assert!(!way.is_wanted() && way.yielded().is_some());
    }

    // Who takes it finds nobody reading, whoever was first.
    #[test]
    fn who_takes_it_waits_until_the_scrub_has_let_go() {
        let way = RightOfWay::default();
        std::thread::scope(|scope| {
            let reads = way.yielded().expect("nobody wants it");
            let taken = scope.spawn(|| drop(way.take()));
            while !way.is_wanted() {
                std::thread::yield_now();
            }
            assert!(!taken.is_finished(), "it waits");
            drop(reads);
            taken.join().expect("and then goes on");
        });
    }
}
