//! Which process of which member is running, for those who talk to it.
//!
//! What one process tells never goes back, while a member may forget at a restart what it had not
//! been told to keep. So clients write down with whom they spoke. The count of a member goes up at
//! each start and at each end; if it is odd and the same before a call and after it, one process
//! was there all the time.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::history::Life;

/// The counts of all members.
#[derive(Debug)]
pub(crate) struct Lives {
    counts: Vec<AtomicU32>,
}

impl Lives {
    /// Nobody runs.
    pub(crate) fn new(members: usize) -> Lives {
        Lives { counts: (0..members).map(|_| AtomicU32::new(0)).collect() }
    }

    /// A process is started, or one has ended.
    pub(crate) fn set(&self, slot: usize, runs: bool) {
        let count = &self.counts[slot];
        if (count.load(Ordering::Acquire) % 2 == 1) != runs {
            count.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Who runs there now, if anybody.
    pub(crate) fn now(&self, slot: usize) -> Option<Life> {
        let count = self.counts[slot].load(Ordering::Acquire);
        (count % 2 == 1).then_some(Life { slot, count })
    }

    /// Who ran there since it was `before`.
    pub(crate) fn since(&self, before: Option<Life>) -> Option<Life> {
        before.filter(|life| self.now(life.slot) == Some(*life))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A restart between call and return must not pass for one process.
    #[test]
    fn a_restart_is_another_life() {
        let lives = Lives::new(2);
        assert_eq!(lives.now(1), None);
        lives.set(1, true);
        let first = lives.now(1);
        assert_eq!(lives.since(first), first);
        lives.set(1, false);
        assert_eq!(lives.since(first), None);
        lives.set(1, true);
        assert_eq!(lives.since(first), None);
        assert_ne!(lives.now(1), first);
    }
}
