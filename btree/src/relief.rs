//! Keeping what waits for the disk within bounds, where commits and flushes meet.
//!
//! A writer that is faster than the disk would fill the memory, with pages that are not flushed,
//! and the file, with the places of those that they replace: these are free only when the disk has
//! got the others. So a commit that is too far ahead waits, for the flush that is under way.

use crate::config::{Sync, Writer};
use crate::error::Result;
use crate::queue::Ticket;
use crate::store::Store;
use crate::types::Extent;

impl Store {
    /// Keeps what waits to be flushed within its limit. With a journal above, a commit is held up
    /// at twice the limit only, and what a flush is writing just now counts as well.
    pub(crate) fn relieve(&self, ticket: Ticket) {
        let page_bytes = self.body.page_bytes as u64;
        let (unflushed, backlog, is_crowded) = {
            let space = self.body.space.lock();
            let pages = (space.unflushed_pages(), space.backlog_pages());
            (pages.0 * page_bytes, pages.1 * page_bytes, space.is_crowded())
        };
        let limit = self.options.unflushed_bytes.min(self.options.memory_bytes / 4) as u64;
        if backlog <= limit && !is_crowded {
            return;
        }
        let has_thread = self.core.mode == Writer::Thread;
        if self.options.sync == Sync::OnRequest && has_thread && backlog <= 2 * limit {
            if unflushed > limit || is_crowded {
                self.core.queue.call(ticket);
            }
        } else if backlog > limit {
            // The outcome is the commit's to tell.
            drop(self.core.wait(ticket));
        }
    }

    /// Pages for one commit, in few runs. If the file would grow though the disk alone keeps pages
    /// from being free, they are waited for. Whether that flush fails is for others to tell.
    pub(crate) fn allocate(&self, pages: u32) -> Result<Vec<Extent>> {
        let should_wait = |store: &Store| store.body.space.lock().should_wait(pages);
        if should_wait(self) {
            self.reclaim();
            if should_wait(self) {
                drop(self.core.wait(self.core.queue.ticket()));
                self.reclaim();
            }
        }
        self.body.space.lock().allocate_many(pages)
    }
}
