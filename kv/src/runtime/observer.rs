//! Somebody who wants to know how long things take.

use std::fmt;
use std::time::Duration;

use crate::reply::Alarm;
use crate::runtime::tally::Tally;

/// Told by a replica how long things took, where no status can tell it. It is called on the way, by
/// the task that did the work: a few atomics, and nothing that waits.
pub trait Observer: fmt::Debug + Send + Sync + 'static {
    /// A batch of these commands was applied to the store.
    fn applied(&self, commands: &Tally, took: Duration);

    /// This member, which leads, has ended a lease whose time was up.
    fn lease_expired(&self) {}

    /// These alarms are raised: at a start, and whenever they may have changed.
    fn alarms(&self, _: &[Alarm]) {}

    /// The garbage of a compaction at this revision is gone here, so long after the first of it.
    fn swept(&self, _revision: u64, _took: Duration) {}

    /// The state of another member begins to take the place of this one's, or that has ended.
    fn restoring(&self, under_way: bool);
}

/// Wants to know nothing.
impl Observer for () {
    fn applied(&self, _: &Tally, _: Duration) {}

    fn restoring(&self, _: bool) {}
}
