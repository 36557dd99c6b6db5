//! Giving space back while everyone works.
//!
//! **The problem.** A file that has shrunk inside does not get shorter: its last page is in use. To
//! rewrite it from scratch stops everyone, and needs room for two.
//!
//! **The idea.** The file should be as long as what is used, and a little more: the *target*. Pages
//! beyond it are given new places below it, a few in each of many ordinary transactions. When none
//! is left, the free tail is cut off.
//!
//! ```text
//!             target
//!   ██░█░░██░░█│░█░░░░█      the pages above it are copied, as if they had been changed
//!   █████░███░█│░░░░░░░      and leave free ones behind
//!   █████░███░█│             which are cut: first a record that says so, then the file
//! ```
//!
//! A step visits [`STEP_VISITS`] pages and lets the next writer in. How far it has come is kept
//! between calls, as a key: whatever others change meanwhile, the walk goes on from there. A page
//! that a reader holds cannot be cut, nor those below it: another pass will find it free. A large
//! value has to lie in one piece, for which there may be no room below the target before all else
//! has moved, or none at all: so a pass that was in vain is tried again, [`VAIN_MAX`] times.

use std::sync::Arc;
use std::time::Duration;

use crate::db::Db;
use crate::error::Result;
use crate::space::FIRST_PAGE;
use crate::store::Store;
use crate::types::{PageId, TreeId};
use crate::write::WriteTxn;

/// Pages looked at in one transaction: some 20 µs each if they are in memory, and a few
/// milliseconds in all if they are not.
const STEP_VISITS: usize = 64;

/// Free pages that a file may have beside a sixteenth of those in use.
const SPARE_PAGES: u32 = 16;

/// Passes without an effect, after which the file is as short as it gets.
const VAIN_MAX: u32 = 2;

/// Whether there is more to do; see [`Db::compact`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The file is as short as it can be for now.
    Done,
    /// The time was up.
    More,
}

/// How far compaction has come.
#[derive(Debug, Default)]
pub(crate) struct Compaction {
    pass: Option<Pass>,
    /// Passes since the file got shorter than it ever was meanwhile.
    vain: u32,
    shortest: Option<u32>,
}

/// A pass over all trees.
#[derive(Debug)]
struct Pass {
    target: u32,
    /// The end of the file when it began.
    end: u32,
    from: Option<(TreeId, Vec<u8>)>,
}

impl Db {
    /// Gives space that is free inside of the file back to the file system, for about as long as
    /// `budget`; call it again while there is [`More`](Progress::More). Others are held up no
    /// longer than by a small transaction. What was committed is made durable by it.
    ///
    /// # Errors
    /// Those of [`write`](Db::write), [`WriteTxn::commit`] and [`persist`](Db::persist).
    pub fn compact(&self, budget: Duration) -> Result<Progress> {
        self.check_writable()?;
        let store = self.store();
        let clock = &store.body.clock;
        let until = clock.monotonic().saturating_add(budget);
        let mut compaction = store.compaction.lock();
        loop {
            let pass = match compaction.pass.take() {
                Some(pass) => pass,
                None => match self.begin_pass()? {
                    Some(pass) if compaction.vain < VAIN_MAX => pass,
                    _ => {
                        (compaction.vain, compaction.shortest) = (0, None);
                        return Ok(Progress::Done);
                    }
                },
            };
            let end = pass.end;
            compaction.pass = step(store, pass)?;
            if compaction.pass.is_none() {
                // What a pass has moved may be held by readers, and its new place lie above the old
                // one: only what it has come to counts, and not that it took back what the pass
                // before had made longer, or a large value would go to and fro for ever.
                let end_now = self.end_pass()?;
                let is_shorter = end_now < compaction.shortest.unwrap_or(end);
                compaction.shortest = Some(end_now.min(compaction.shortest.unwrap_or(end)));
                compaction.vain = if is_shorter { 0 } else { compaction.vain + 1 };
                // A call makes one pass at most, whatever the clock says.
                return Ok(Progress::More);
            }
            if clock.monotonic() >= until {
                return Ok(Progress::More);
            }
        }
    }

    /// What a pass would aim at; `None` if it is not worth one.
    fn begin_pass(&self) -> Result<Option<Pass>> {
        let store = self.store();
        // What waits for the disk alone is free after this.
        store.flush_pages()?;
        store.reclaim();
        let space = store.body.space.lock();
        let used = space.used_count() as u32;
        let target = FIRST_PAGE + used + used / 16 + SPARE_PAGES;
        let pending = space.pending_count() as u32;
        // To move pages for the sake of a few is not worth it.
        if space.end() <= target + target / 16 + pending {
            drop(space);
            // The tail may be free for all that.
            self.cut(target)?;
            return Ok(None);
        }
        Ok(Some(Pass { target, end: space.end(), from: None }))
    }

    /// Cuts off what a pass has freed. Returns the end of the file.
    fn end_pass(&self) -> Result<u32> {
        let store = self.store();
        store.flush_pages()?;
        store.reclaim();
        let target = {
            let space = store.body.space.lock();
            FIRST_PAGE + space.used_count() as u32 + SPARE_PAGES
        };
        self.cut(target)?;
        Ok(store.body.space.lock().end())
    }

    fn cut(&self, target: u32) -> Result<()> {
        let store = self.store();
        let mut flusher = store.core.flusher.lock();
        store.body.space.lock().set_ceiling(target);
        let outcome = flusher.shrink(&store.core.queue, target, || store.reclaim());
        store.body.space.lock().set_ceiling(u32::MAX);
        outcome
    }
}

/// One small transaction. `None` at the end of the pass.
fn step(store: &Arc<Store>, pass: Pass) -> Result<Option<Pass>> {
    store.body.space.lock().set_ceiling(pass.target);
    let outcome = relocate(store, pass);
    store.body.space.lock().set_ceiling(u32::MAX);
    outcome
}

fn relocate(store: &Arc<Store>, pass: Pass) -> Result<Option<Pass>> {
    let mut w = WriteTxn::begin(store);
    let (draft, snapshot) = w.parts();
    let above = PageId(pass.target);
    let from = draft.relocate(snapshot, above, pass.from, STEP_VISITS)?;
    let commit = w.commit()?;
    if store.options.sync.is_eager() {
        // The pages it came from are free when it is durable: the next steps can use them.
        commit.wait()?;
    }
    Ok(from.map(|from| Pass { from: Some(from), ..pass }))
}
