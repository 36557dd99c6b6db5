//! Somebody who wants to know how long things take.

use std::fmt;
use std::time::Duration;

/// Told by a replica how long things took, where no status can tell it. It is called on the way, by
/// the task that did the work: a few atomics, no lock, no waiting.
pub trait Observer: fmt::Debug + Send + Sync + 'static {
    /// A batch of `commands` was applied to the store.
    fn applied(&self, commands: usize, took: Duration);

    /// The state of another member begins to take the place of this one's, or that has ended.
    fn restoring(&self, under_way: bool);
}

/// Wants to know nothing.
impl Observer for () {
    fn applied(&self, _: usize, _: Duration) {}

    fn restoring(&self, _: bool) {}
}
