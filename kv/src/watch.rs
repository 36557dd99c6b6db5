//! Watches: how changes reach those who wait for them.

use crate::engine::Batch;
use crate::types::Revision;

/// Tells watchers what happens. The watch room is still being built: nobody can watch yet.
pub struct Hub;

/// A change to tell about.
pub struct Change;

impl Hub {
    /// A hub of a store at `_revision`.
    pub fn new(_revision: u64) -> Hub {
        Hub
    }

    /// What there is to tell.
    pub fn changes(&self, _batch: &Batch, _written: &[(Revision, usize)]) -> Vec<Change> {
        Vec::new()
    }

    /// Tells.
    pub fn notify(&self, _changes: Vec<Change>, _revision: u64) {}
}
