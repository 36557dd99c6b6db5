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
//! **Nobody waits.** What is to be moved is looked for, and read, by a reader
//! ([`find_high`]). Only then a transaction moves it: [`LEAVES_MAX`] leaves at most, all in memory,
//! and it ends early when [`HOLD_MAX`] is over. A flush follows when [`FLUSH_PAGES`] have been
//! moved, so that none is large. One large value is moved in one piece, at some 0.3 ms for a MiB.
//!
//! How far it has come is kept between calls, as a key: whatever others change meanwhile, the
//! search goes on from there. Large values are looked for when all pages are below the target and
//! something is left above it. A page that a reader holds cannot be cut, nor those below it:
//! another pass will find it free. A large value has to lie in one piece, for which there may be no
//! room below the target before all else has moved, or none at all: so a pass that was in vain is
//! tried again, [`VAIN_MAX`] times.

use std::sync::Arc;
use std::time::Duration;

use crate::db::Db;
use crate::draft::{CATALOG, Found, Search, find_high};
use crate::error::Result;
use crate::snapshot::Snapshot;
use crate::space::FIRST_PAGE;
use crate::store::Store;
use crate::types::{PageId, TreeId};
use crate::write::WriteTxn;

/// Leaves that are moved in one transaction: some 10 us each.
const LEAVES_MAX: usize = 64;

/// A step is not worth while with less room than this for the pages it moves.
const ROOM_MIN: usize = 8;

/// Pages that are read in one search, beside those of the leaves found.
const READS_MAX: usize = 128;

/// How long a transaction moves leaves.
const HOLD_MAX: Duration = Duration::from_millis(2);

/// Pages that are moved between two flushes.
const FLUSH_PAGES: u64 = 512;

/// Free pages that a file may have beside a thirty-second of those in use, and what
/// waits for the disk.
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
    /// Passes since the file got shorter.
    vain: u32,
}

/// A pass over all trees.
#[derive(Debug)]
struct Pass {
    target: u32,
    /// The end of the file when it began.
    end: u32,
    stage: Stage,
    /// Pages that were moved and not flushed.
    moved: u64,
}

/// What a pass is doing.
#[derive(Debug)]
enum Stage {
    /// Moves pages, from the leaf of a key on; `values` too, or not yet.
    Move { values: bool, from: (TreeId, Vec<u8>) },
    /// Cuts the file, and has done so some times.
    Cut(u32),
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
            let mut pass = match compaction.pass.take() {
                Some(pass) => pass,
                None => match self.begin_pass(compaction.vain)? {
                    Some(pass) => pass,
                    None => {
                        compaction.vain = 0;
                        store.body.space.lock().set_ceiling(u32::MAX);
                        return Ok(Progress::Done);
                    }
                },
            };
            if self.go_on(&mut pass)? {
                // What a pass has moved may be held by readers, and its new place lie above the old
                // one: only what it has come to counts.
                let is_shorter = store.body.space.lock().end() < pass.end;
                compaction.vain = if is_shorter { 0 } else { compaction.vain + 1 };
                // A call makes one pass at most, whatever the clock says.
                return Ok(Progress::More);
            }
            compaction.pass = Some(pass);
            if clock.monotonic() >= until {
                return Ok(Progress::More);
            }
        }
    }

    /// The pass that comes next; `None` if it is not worth one.
    fn begin_pass(&self, vain: u32) -> Result<Option<Pass>> {
        let store = self.store();
        // What waits for the disk alone is free after this.
        self.persist()?;
        store.reclaim();
        let is_file_long = store.core.flusher.lock().is_long();
        let mut space = store.body.space.lock();
        let end = space.end();
        let used = space.used_count() as u32;
        // What others change takes new places before the old ones are free.
        let waiting = space.waiting_peak().min(u64::from(used / 8)) as u32;
        let target = FIRST_PAGE + used + used / 32 + waiting + SPARE_PAGES;
        let pending = space.pending_count() as u32;
        // To move pages for the sake of a few is not worth it; the tail may be free for all that.
        let is_long = end > target + target / 32 + pending;
        let is_loose = is_file_long || space.free_tail() > target / 64 + SPARE_PAGES;
        if vain >= VAIN_MAX || !(is_long || is_loose) {
            return Ok(None);
        }
        let from = (TreeId::default(), Vec::new());
        let stage = if is_long { Stage::Move { values: false, from } } else { Stage::Cut(0) };
        space.set_ceiling(target);
        Ok(Some(Pass { target, end, stage, moved: 0 }))
    }

    /// A small part of a pass; whether it was the last one.
    fn go_on(&self, pass: &mut Pass) -> Result<bool> {
        let store = self.store();
        if let Stage::Cut(times) = &mut pass.stage {
            *times += 1;
            let (has_trimmed, has_more) = {
                let mut flusher = store.core.flusher.lock();
                let has_trimmed = flusher.cut(&store.core.queue, pass.target)?;
                let is_map_high = flusher.map().pages_from(pass.target) > 0;
                (has_trimmed && flusher.is_long(), is_map_high)
            };
            store.reclaim();
            let has_more = has_more || store.body.space.lock().free_tail() > 0;
            return Ok(!has_trimmed && (!has_more || *times >= CUTS_MAX));
        }
        let Some(room) = self.room(pass)? else {
            pass.stage = Stage::Cut(0);
            return Ok(false);
        };
        let Stage::Move { values, from } = &mut pass.stage else { return Ok(false) };
        let search = Search {
            above: PageId(pass.target),
            values: *values,
            page_bytes: store.body.page_bytes,
        };
        let (keys, rest) = find(store, search, std::mem::take(from), (room / 4).min(LEAVES_MAX))?;
        let rest = self.relocate(search, keys, &mut pass.moved)?.or(rest);
        if let Some(rest) = rest {
            *from = rest;
            return Ok(false);
        }
        self.persist()?;
        store.reclaim();
        let of_map = store.core.flusher.lock().map().pages_from(pass.target);
        let left = store.body.space.lock().used_from(pass.target);
        pass.stage = if left > of_map && !*values {
            Stage::Move { values: true, from: (TreeId::default(), Vec::new()) }
        } else {
            Stage::Cut(0)
        };
        Ok(false)
    }

    /// How many pages can be moved below the target just now; `None` if there is no room.
    fn room(&self, pass: &Pass) -> Result<Option<usize>> {
        let store = self.store();
        let room = || store.body.space.lock().free_below(pass.target) as usize;
        if room() < ROOM_MIN {
            self.persist()?;
            store.reclaim();
        }
        Ok(Some(room()).filter(|room| *room >= ROOM_MIN))
    }

    /// Moves the leaves of these keys in one transaction. Returns the first for which the time did
    /// not suffice.
    fn relocate(
        &self,
        search: Search,
        keys: Vec<(TreeId, Vec<u8>)>,
        moved: &mut u64,
    ) -> Result<Option<(TreeId, Vec<u8>)>> {
        let store = self.store();
        if keys.is_empty() {
            return Ok(None);
        }
        let mut w = WriteTxn::begin(store);
        let until = store.body.clock.monotonic().saturating_add(HOLD_MAX);
        let (draft, snapshot) = w.parts();
        let mut rest = None;
        for (tree, key) in keys {
            if store.body.clock.monotonic() >= until && draft.bytes() > 0 {
                rest = Some((tree, key));
                break;
            }
            draft.relocate(snapshot, search, tree, &key)?;
        }
        *moved += (draft.bytes() / store.body.page_bytes) as u64;
        let commit = w.commit()?;
        if *moved >= FLUSH_PAGES {
            *moved = 0;
            // The pages it came from are free when it is durable, and can be cut.
            commit.wait()?;
            store.reclaim();
        }
        Ok(rest)
    }
}

/// Leaves that are to be moved, from that of a key on, by keys that belong to them, and where to go
/// on. Holds up nobody: it reads, as everybody does.
#[expect(clippy::type_complexity, reason = "a key of a tree, twice")]
fn find(
    store: &Arc<Store>,
    search: Search,
    from: (TreeId, Vec<u8>),
    keys_max: usize,
) -> Result<(Vec<(TreeId, Vec<u8>)>, Option<(TreeId, Vec<u8>)>)> {
    let snapshot = Snapshot::newest(&store.body);
    let forest = &snapshot.root.forest;
    let (mut tree, mut key) = from;
    let mut keys = Vec::new();
    let mut found = Found { keys: Vec::new(), keys_max: keys_max.max(1), reads: READS_MAX };
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
        keys.extend(found.keys.drain(..).map(|key| (tree, key)));
        if let Some(key) = rest {
            return Ok((keys, Some((tree, key))));
        }
        if tree == CATALOG {
            return Ok((keys, None));
        }
        (tree, key) = (TreeId(tree.0 + 1), Vec::new());
        if found.is_full() {
            return Ok((keys, Some((tree, key))));
        }
    }
}
