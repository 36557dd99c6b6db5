//! Giving space back while everyone works.
//!
//! **The problem.** A file that has shrunk inside does not get shorter: its last page is in use. To
//! rewrite it from scratch stops everyone, and needs room for two.
//!
//! **The idea.** The file should be as long as what is used, and a little more: the *target*. Pages
//! beyond it are given new places below it, a few in each of many ordinary transactions, and what
//! others commit meanwhile goes there as well. When none is left, the free tail is cut off.
//!
//! ```text
//!             target
//!   ██░█░░██░░█│░█░░░░█      the pages above it are copied, as if they had been changed
//!   █████░███░█│░░░░░░░      and leave free ones behind
//!   █████░███░█│             which are cut: first a record that says so, then the file
//! ```
//!
//! **Sparse leaves.** If half of the records were removed here and there, all pages are in use and
//! half empty. A look at a few places ([`sample`]) tells; then the same pass puts neighbours
//! together ([`pack`](crate::draft)), wherever they lie, and the next one has a lower target.
//!
//! **Nobody waits.** What is to be moved is looked for, and read, by a reader
//! ([`find_high`]). Only then a transaction moves it: [`LEAVES_MAX`] leaves at most, all in memory,
//! and it ends early when [`HOLD_MAX`] is over. A flush follows when [`FLUSH_PAGES`] have been
//! moved, so that none is large; beside one who changes the whole file all the time, larger ones
//! would also take longer in all, as they write what he has changed meanwhile. One large value is
//! moved in one piece, at some 0.3 ms for a MiB.
//!
//! How far it has come is kept between calls, as a key: whatever others change meanwhile, the
//! search goes on from there. Large values are looked for when all pages are below the target and
//! something is left above it. A page that a reader holds cannot be cut, nor those below it:
//! another pass will find it free. A large value has to lie in one piece, for which there may be no
//! room below the target before all else has moved, or none at all: so a pass that was in vain is
//! tried again, [`VAIN_MAX`] times.

mod sample;

use std::sync::Arc;
use std::time::Duration;

use crate::db::Db;
use crate::draft::{CATALOG, Found, Search, WINDOW, find_high};
use crate::error::Result;
use crate::snapshot::Snapshot;
use crate::space::FIRST_PAGE;
use crate::store::Store;
use crate::types::{PageId, TreeId};
use crate::write::WriteTxn;

/// Leaves that are moved in one transaction: some 10 µs each.
const LEAVES_MAX: usize = 64;

/// A step is not worth while with less room than this for the pages it moves.
const ROOM_MIN: usize = 8;

/// Pages that are read in one search, beside those of the leaves found.
const READS_MAX: usize = 128;

/// How long a transaction moves leaves.
const HOLD_MAX: Duration = Duration::from_millis(2);

/// Pages that are moved between two flushes.
const FLUSH_PAGES: u64 = 512;

/// Free pages that a file may have beside a thirty-second of those in use, and what waits for the
/// disk.
const SPARE_PAGES: u32 = 16;

/// Passes without an effect, after which the file is as short as it gets.
const VAIN_MAX: u32 = 2;

/// Flushes that a cut may take: the pages of the free map move, and are free after the next one.
const CUTS_MAX: u32 = 3;

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
    /// Where the pages ended when it began.
    end: u32,
    stage: Stage,
    /// Pages that were moved and not flushed.
    moved: u64,
}

/// What a pass is doing.
#[derive(Debug)]
enum Stage {
    /// Packs leaves and moves pages, from the leaf of a key on.
    Move { what: What, from: Mark },
    /// Cuts the file, and has done so some times.
    Cut(u32),
}

/// What is moved: pages that lie too high.
#[derive(Debug, Clone, Copy)]
enum What {
    Pages,
    /// And leaves that should be packed, wherever they lie.
    PagesPacked,
    /// And large values that lie too high.
    PagesAndValues,
}

/// A key of a tree.
type Mark = (TreeId, Vec<u8>);

impl Db {
    /// Gives space that is free inside of the file back to the file system, for about as long as
    /// `budget`; call it again while there is [`More`](Progress::More). Others are held up no
    /// longer than by a small transaction. What was committed is made durable by it, and until it
    /// is [`Done`](Progress::Done) what others commit is flushed unasked when much of it waits.
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
                Some(pass) => Some(pass),
                None if compaction.vain < VAIN_MAX => begin_pass(store)?,
                None => None,
            };
            let Some(mut pass) = pass else {
                *compaction = Compaction::default();
                store.body.space.lock().set_ceiling(u32::MAX);
                return Ok(Progress::Done);
            };
            if pass.go_on(store)? {
                compaction.judge(pass.end, store.body.space.lock().end());
                // A call makes one pass at most, whatever the clock says.
                return Ok(Progress::More);
            }
            compaction.pass = Some(pass);
            if clock.monotonic() >= until {
                return Ok(Progress::More);
            }
        }
    }
}

impl Compaction {
    /// What a pass has moved may be held by readers, and its new place lie above the old one: only
    /// what it has come to counts, and not that it took back what the pass before had made longer,
    /// or a large value would go to and fro for ever.
    fn judge(&mut self, before: u32, after: u32) {
        let shortest = self.shortest.unwrap_or(before);
        self.vain = if after < shortest { 0 } else { self.vain + 1 };
        self.shortest = Some(after.min(shortest));
    }
}

/// The pass that comes next; `None` if it is not worth one.
fn begin_pass(store: &Arc<Store>) -> Result<Option<Pass>> {
    // What waits for the disk alone is free after this.
    store.flush_pages()?;
    store.reclaim_all();
    let is_file_long = store.core.flusher.lock().is_long();
    let is_sparse = sample::is_sparse(&Snapshot::newest(&store.body), store.body.page_bytes)?;
    let mut space = store.body.space.lock();
    let end = space.end();
    let used = space.used_count() as u32;
    // What others change takes new places before the old ones are free. So does what is moved, but
    // that comes to an end.
    let waiting = space.waiting_peak().saturating_sub(FLUSH_PAGES + 2 * LEAVES_MAX as u64);
    let waiting = waiting.min(u64::from(used / 8)) as u32;
    let target = FIRST_PAGE + used + used / 32 + waiting + SPARE_PAGES;
    // What readers hold stays where it is.
    let held = (space.pending_count() - space.waiting_count()) as u32;
    // To move pages for the sake of a few is not worth it; the tail may be free for all that.
    let stage = if is_sparse {
        Stage::Move { what: What::PagesPacked, from: Mark::default() }
    } else if end > target + target / 32 + held {
        Stage::Move { what: What::Pages, from: Mark::default() }
    } else if is_file_long || space.free_tail() > target / 64 + SPARE_PAGES {
        Stage::Cut(0)
    } else {
        return Ok(None);
    };
    space.set_ceiling(target);
    Ok(Some(Pass { target, end, stage, moved: 0 }))
}

impl Pass {
    /// A small part of the pass; whether it was the last one.
    fn go_on(&mut self, store: &Arc<Store>) -> Result<bool> {
        let (what, from) = match &mut self.stage {
            Stage::Cut(times) => {
                *times += 1;
                let times = *times;
                return self.cut(store, times);
            }
            Stage::Move { what, from } => (*what, std::mem::take(from)),
        };
        let Some(room) = self.room(store)? else {
            self.stage = Stage::Cut(0);
            return Ok(false);
        };
        let search = Search {
            above: PageId(self.target),
            values: matches!(what, What::PagesAndValues),
            pack: matches!(what, What::PagesPacked),
            page_bytes: store.body.page_bytes,
        };
        // A leaf goes with its way; as many as are packed, into three quarters as many.
        let each = if search.pack { WINDOW } else { 4 };
        let (marks, rest) = find(store, search, from, (room / each).min(LEAVES_MAX))?;
        let rest = self.relocate(store, search, marks)?.or(rest);
        self.stage = match rest {
            Some(from) => Stage::Move { what, from },
            None if !search.values && self.is_anything_left(store)? => {
                Stage::Move { what: What::PagesAndValues, from: Mark::default() }
            }
            None => Stage::Cut(0),
        };
        Ok(false)
    }

    /// Whether something lies above the target that is not the free map's.
    fn is_anything_left(&self, store: &Store) -> Result<bool> {
        store.flush_pages()?;
        store.reclaim_all();
        let of_map = store.core.flusher.lock().map().pages_from(self.target);
        Ok(store.body.space.lock().used_from(self.target) > of_map)
    }

    /// Cuts the file, for the `times`-th time; whether that is all.
    fn cut(&self, store: &Store, times: u32) -> Result<bool> {
        let (is_long, is_map_high) = {
            let mut flusher = store.core.flusher.lock();
            flusher.cut(&store.core.queue, self.target)?;
            (flusher.is_long(), flusher.map().pages_from(self.target) > 0)
        };
        store.reclaim_all();
        let has_more = is_map_high || store.body.space.lock().free_tail() > 0;
        Ok(!is_long && (!has_more || times >= CUTS_MAX))
    }

    /// How many pages can be moved below the target just now; `None` if there is no room.
    fn room(&mut self, store: &Store) -> Result<Option<usize>> {
        let target = self.target;
        let room = || {
            let space = store.body.space.lock();
            space.free_below(target) as usize + target.saturating_sub(space.end()) as usize
        };
        if room() < ROOM_MIN {
            self.flush(store)?;
        }
        Ok(Some(room()).filter(|room| *room >= ROOM_MIN))
    }

    /// The places that pages were moved away from are free when it is durable, and can be used and
    /// cut.
    fn flush(&mut self, store: &Store) -> Result<()> {
        self.moved = 0;
        store.flush_pages()?;
        store.reclaim_all();
        Ok(())
    }

    /// Moves the leaves of these keys in one transaction. Returns the first for which the time did
    /// not suffice.
    fn relocate(
        &mut self,
        store: &Arc<Store>,
        search: Search,
        marks: Vec<Mark>,
    ) -> Result<Option<Mark>> {
        if marks.is_empty() {
            return Ok(None);
        }
        let mut w = WriteTxn::begin(store);
        let until = store.body.clock.monotonic().saturating_add(HOLD_MAX);
        let (draft, snapshot) = w.parts();
        let mut rest = None;
        for (tree, key) in marks {
            if store.body.clock.monotonic() >= until && draft.bytes() > 0 {
                rest = Some((tree, key));
                break;
            }
            draft.relocate(snapshot, search, tree, &key)?;
        }
        self.moved += (draft.bytes() / store.body.page_bytes) as u64;
        drop(w.commit()?);
        if self.moved >= FLUSH_PAGES {
            self.flush(store)?;
        }
        Ok(rest)
    }
}

/// Leaves that are to be moved, from that of a key on, by keys that belong to them, and where to go
/// on. Holds up nobody: it reads, as everybody does.
fn find(
    store: &Store,
    search: Search,
    from: Mark,
    marks_max: usize,
) -> Result<(Vec<Mark>, Option<Mark>)> {
    let snapshot = Snapshot::newest(&store.body);
    let forest = &snapshot.root.forest;
    let (mut tree, mut key) = from;
    let mut marks = Vec::new();
    let mut found = Found { keys: Vec::new(), keys_max: marks_max.max(1), reads: READS_MAX };
    loop {
        let entries = forest.entries();
        let at = entries.partition_point(|entry| entry.id < tree);
        let (id, root) =
            entries.get(at).map_or((CATALOG, forest.catalog()), |entry| (entry.id, entry.root));
        if id != tree {
            (tree, key) = (id, Vec::new());
        }
        let rest = find_high(&snapshot, root, search, key, &mut found)?;
        found.keys_max -= found.keys.len();
        marks.extend(found.keys.drain(..).map(|key| (tree, key)));
        if let Some(key) = rest {
            return Ok((marks, Some((tree, key))));
        }
        if tree == CATALOG {
            return Ok((marks, None));
        }
        (tree, key) = (TreeId(tree.0 + 1), Vec::new());
        if found.is_full() {
            return Ok((marks, Some((tree, key))));
        }
    }
}
