//! How long it takes to apply what was agreed on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use drystone_kv::runtime::Observer;

use super::Counter;

/// How long it takes to apply what was agreed on. Commands are applied in batches; every command of
/// a batch that took long was answered late.
#[derive(Debug)]
pub(crate) struct Applies {
    slow_after: Duration,
    /// Commands in batches that took longer.
    pub(crate) slow: Counter,
    restoring: AtomicBool,
}

impl Applies {
    /// Counts as slow what takes longer than `slow_after`.
    pub(crate) fn new(slow_after: Duration) -> Applies {
        Applies { slow_after, slow: Counter::default(), restoring: AtomicBool::new(false) }
    }

    /// Whether the state of another member is taking the place of this one's.
    pub(crate) fn is_restoring(&self) -> bool {
        self.restoring.load(Ordering::Relaxed)
    }
}

impl Observer for Applies {
    fn applied(&self, commands: usize, took: Duration) {
        if took > self.slow_after {
            self.slow.add(commands as u64);
            let (took, expected_duration) = (format!("{took:?}"), format!("{:?}", self.slow_after));
            tracing::warn!(took, expected_duration, commands, "apply request took too long");
        }
    }

    fn restoring(&self, under_way: bool) {
        self.restoring.store(under_way, Ordering::Relaxed);
    }
}
